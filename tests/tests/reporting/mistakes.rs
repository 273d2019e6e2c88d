//! Mistakes in rules, files and arguments, each reported with place, reason and exit code.

use std::process::Command;

use anyhow::{Context as _, ensure};
use interceptor_tests::run;
use rstest::rstest;
use testbed::Daemon;

use crate::{first_condition, interceptor};

#[test]
fn the_rule_command_prints_the_rule_in_its_normal_form() {
    run(|f| {
        let output =
            interceptor(&f, &["rule", "8080,  9090->10.20.0.7:3000 with proxy-v2"], |_| {})?;
        assert_eq!(output.exit, Some(0), "{output:?}");
        assert_eq!(output.stdout.lines().next(), Some("8080,9090 -> 10.20.0.7:3000 with proxy-v2"));
        Ok(())
    });
}

#[test]
fn the_rule_command_puts_a_caret_under_the_mistake() {
    run(|f| {
        let output = interceptor(&f, &["rule", "8080 => 10.20.0.7:3000"], |_| {})?;
        assert_eq!(output.exit, Some(2), "{output:?}");
        ensure!(output.stderr.contains("8080 => 10.20.0.7:3000\n     ^^\n"), "{}", output.stderr);
        ensure!(output.stderr.contains("did you mean `->`?"), "{}", output.stderr);
        Ok(())
    });
}

#[test]
fn the_rule_command_evaluates_a_request() {
    let rule = "8080 -> 10.20.0.7:3000 when request.headers[\"x-user\"] == \"debug\" \
                && source.port > 1024";
    run(|f| {
        for (options, exit, line) in [
            (&["-H", "x-user: debug", "--source", "10.1.2.3:40000"][..], 0, "match"),
            (&["-H", "x-user: debug", "--source", "10.1.2.3:80"][..], 1, "no match"),
            (&[][..], 1, "the request has no such header"),
        ] {
            let output =
                interceptor(&f, &[&["rule", "--try", "GET /x", rule], options].concat(), |_| {})?;
            assert_eq!(output.exit, Some(exit), "{output:?}");
            ensure!(output.stdout.ends_with(&format!(": {line}\n")), "{output:?}");
        }
        let output = interceptor(
            &f,
            &["rule", "--try", "GET /x", &rule.replace("x-user", "X-User")],
            |_| {},
        )?;
        assert_eq!(output.exit, Some(2), "{output:?}");
        ensure!(output.stderr.starts_with("error: line 1, column 45: "), "{output:?}");
        ensure!(output.stderr.contains("did you mean `\"x-user\"`?"), "{output:?}");
        Ok(())
    });
}

#[rstest]
#[case("8080 -> alice", "a session name as target is not supported yet")]
fn a_rule_that_is_not_supported_yet_is_refused(#[case] rule: &str, #[case] message: &str) {
    run(|f| {
        let output = interceptor(&f, &["rule", rule], |_| {})?;
        assert_eq!(output.exit, Some(2), "{output:?}");
        ensure!(output.stderr.contains(message), "{output:?}");

        let daemon = Daemon::start(f.t, &f.web(&rule.replace('"', "\\\"")), &[])?;
        let (reason, reported) = first_condition(&daemon, "refused")?;
        assert_eq!(reason, "NotSupported");
        ensure!(reported.contains(message), "{reported}");
        assert_eq!(f.served_by()?, "app");
        Ok(())
    });
}

#[test]
fn a_mirror_annotation_is_refused_as_not_supported_yet() {
    run(|f| {
        let file = f.web(&f.rule()).replace("debug.redirect", "debug.mirror");
        let daemon = Daemon::start(f.t, &file, &[])?;
        let (reason, message) = first_condition(&daemon, "refused")?;
        assert_eq!(reason, "NotSupported");
        ensure!(message.contains("`debug.mirror` is not supported yet"), "{message}");
        Ok(())
    });
}

#[rstest]
#[case(&["run"], 2, "--workloads FILE")]
#[case(&["run", "--kubernetes"], 2, "--node-name <NAME>")]
#[case(
    &["run", "--kubernetes", "--node-name", "n", "--netns", "/run/netns/x"],
    2,
    "cannot be used with"
)]
#[case(&["run", "--kubernetes", "--node-name", "n"], 66, "reach the API server of Kubernetes")]
#[case(&["run", "--workloads", "w.yaml", "--metrics", "9469"], 2, "expected IP:PORT")]
#[case(&["run", "--workloads", "/nowhere/workloads.yaml"], 66, "/nowhere/workloads.yaml")]
#[case(
    &["run", "--workloads", "/", "--policy", "/nowhere/policy.yaml"],
    66,
    "/nowhere/policy.yaml"
)]
#[case(&["run", "--workloads", "/"], 66, "can't read /")]
#[case(&["run", "--netns", "/run/netns/x", "--redirect", "8080 => x:1"], 2, "did you mean `->`?")]
#[case(
    &["run", "--redirect", "8080 -> 10.0.0.1:1", "--netns", "/run/netns/x"],
    2,
    "stands before any --netns"
)]
#[case(&["status", "--admin", "127.0.0.1:1"], 1, "127.0.0.1:1")]
fn a_start_that_cannot_work_prints_the_reason_and_exits_with_its_code(
    #[case] args: &[&str],
    #[case] exit: i32,
    #[case] message: &str,
) {
    run(|f| {
        // The user who runs the tests may have a cluster.
        let no_cluster = |command: &mut Command| {
            command.env("KUBECONFIG", "/nowhere/kubeconfig").env_remove("NODE_NAME");
        };
        let output = interceptor(&f, args, no_cluster)?;
        assert_eq!(output.exit, Some(exit), "{output:?}");
        ensure!(output.stderr.contains(message), "{output:?}");
        Ok(())
    });
}

#[test]
fn a_mistake_in_a_file_is_reported_with_line_and_column() {
    run(|f| {
        let file = f.t.dir().join("broken.yaml");
        std::fs::write(&file, "workloads:\n  - name: web\n    nets: /run/netns/web\n")?;
        let path = file.to_str().context("a path")?;
        let output = interceptor(&f, &["run", "--workloads", path], |_| {})?;
        assert_eq!(output.exit, Some(65), "{output:?}");
        ensure!(output.stderr.contains("broken.yaml:3:5"), "{output:?}");

        std::fs::write(&file, "targets:\n  deny: [10.0.0.0/33]\n")?;
        let output = interceptor(
            &f,
            &["run", "--policy", path, "--netns", "/x/y", "--redirect", "1 -> 192.0.2.1:1"],
            |_| {},
        )?;
        assert_eq!(output.exit, Some(65), "{output:?}");
        ensure!(output.stderr.contains("broken.yaml:2:10"), "{output:?}");
        Ok(())
    });
}
