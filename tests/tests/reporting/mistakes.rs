//! Mistakes in rules, files and arguments, each reported with place, reason and exit code.

use std::process::Command;

use anyhow::{Context as _, ensure};
use interceptor_tests::run;
use rstest::rstest;
use testbed::Daemon;

use crate::{interceptor, told};

#[test]
fn the_rule_command_shows_what_was_understood() {
    run(|f| {
        let told = interceptor(&f, &["rule", "8080,  9090->10.20.0.7:3000 with proxy-v2"], |_| {})?;
        assert_eq!(told.exit, Some(0), "{told:?}");
        assert_eq!(told.out.lines().next(), Some("8080,9090 -> 10.20.0.7:3000 with proxy-v2"));
        Ok(())
    });
}

#[test]
fn the_rule_command_puts_a_caret_under_the_mistake() {
    run(|f| {
        let told = interceptor(&f, &["rule", "8080 => 10.20.0.7:3000"], |_| {})?;
        assert_eq!(told.exit, Some(2), "{told:?}");
        ensure!(told.err.contains("8080 => 10.20.0.7:3000\n     ^^\n"), "{}", told.err);
        ensure!(told.err.contains("did you mean `->`?"), "{}", told.err);
        Ok(())
    });
}

#[test]
fn the_rule_command_tries_a_request() {
    let rule = "8080 -> 10.20.0.7:3000 when request.headers[\"x-user\"] == \"debug\" && source.port > 1024";
    run(|f| {
        for (options, exit, line) in [
            (&["-H", "x-user: debug", "--source", "10.1.2.3:40000"][..], 0, "match"),
            (&["-H", "x-user: debug", "--source", "10.1.2.3:80"][..], 1, "no match"),
            (&[][..], 1, "the request has no such header"),
        ] {
            let told =
                interceptor(&f, &[&["rule", "--try", "GET /x", rule], options].concat(), |_| {})?;
            assert_eq!(told.exit, Some(exit), "{told:?}");
            ensure!(told.out.ends_with(&format!(": {line}\n")), "{told:?}");
        }
        let told = interceptor(
            &f,
            &["rule", "--try", "GET /x", &rule.replace("x-user", "X-User")],
            |_| {},
        )?;
        assert_eq!(told.exit, Some(2), "{told:?}");
        ensure!(told.err.starts_with("error: line 1, column 45: "), "{told:?}");
        ensure!(told.err.contains("did you mean `\"x-user\"`?"), "{told:?}");
        Ok(())
    });
}

#[rstest]
#[case("8080 -> alice", "a session name as target is not supported yet")]
fn what_is_not_built_yet_is_refused_and_never_ignored(#[case] rule: &str, #[case] message: &str) {
    run(|f| {
        let told = interceptor(&f, &["rule", rule], |_| {})?;
        assert_eq!(told.exit, Some(2), "{told:?}");
        ensure!(told.err.contains(message), "{told:?}");

        let daemon = Daemon::start(f.t, &f.web(&rule.replace('"', "\\\"")), &[])?;
        let (reason, told) = self::told(&daemon, "refused")?;
        assert_eq!(reason, "NotSupported");
        ensure!(told.contains(message), "{told}");
        assert_eq!(f.served_by()?, "app");
        Ok(())
    });
}

#[test]
fn mirroring_is_refused_until_it_is_built() {
    run(|f| {
        let file = f.web(&f.rule()).replace("debug.redirect", "debug.mirror");
        let daemon = Daemon::start(f.t, &file, &[])?;
        let (reason, message) = told(&daemon, "refused")?;
        assert_eq!(reason, "NotSupported");
        ensure!(message.contains("`debug.mirror` is not supported yet"), "{message}");
        Ok(())
    });
}

#[rstest]
#[case(&["run"], 2, "--workloads FILE")]
#[case(&["run", "--kubernetes"], 2, "--node-name <NAME>")]
#[case(&["run", "--kubernetes", "--node-name", "n", "--netns", "/run/netns/x"], 2, "cannot be used with")]
#[case(&["run", "--kubernetes", "--node-name", "n"], 66, "reach the API server of Kubernetes")]
#[case(&["run", "--workloads", "w.yaml", "--metrics", "9469"], 2, "expected IP:PORT")]
#[case(&["run", "--workloads", "/nowhere/workloads.yaml"], 66, "/nowhere/workloads.yaml")]
#[case(&["run", "--workloads", "/", "--policy", "/nowhere/policy.yaml"], 66, "/nowhere/policy.yaml")]
#[case(&["run", "--workloads", "/"], 66, "can't read /")]
#[case(&["run", "--netns", "/run/netns/x", "--redirect", "8080 => x:1"], 2, "did you mean `->`?")]
#[case(&["run", "--redirect", "8080 -> 10.0.0.1:1", "--netns", "/run/netns/x"], 2, "stands before any --netns")]
#[case(&["status", "--admin", "127.0.0.1:1"], 1, "127.0.0.1:1")]
fn a_start_that_can_not_work_says_why_and_exits_with_its_code(
    #[case] args: &[&str],
    #[case] exit: i32,
    #[case] message: &str,
) {
    run(|f| {
        // Whoever runs the tests may have a cluster.
        let no_cluster = |command: &mut Command| {
            command.env("KUBECONFIG", "/nowhere/kubeconfig").env_remove("NODE_NAME");
        };
        let told = interceptor(&f, args, no_cluster)?;
        assert_eq!(told.exit, Some(exit), "{told:?}");
        ensure!(told.err.contains(message), "{told:?}");
        Ok(())
    });
}

#[test]
fn files_with_mistakes_are_told_by_line_and_column() {
    run(|f| {
        let file = f.t.dir().join("broken.yaml");
        std::fs::write(&file, "workloads:\n  - name: web\n    nets: /run/netns/web\n")?;
        let path = file.to_str().context("a path")?;
        let told = interceptor(&f, &["run", "--workloads", path], |_| {})?;
        assert_eq!(told.exit, Some(65), "{told:?}");
        ensure!(told.err.contains("broken.yaml:3:5"), "{told:?}");

        std::fs::write(&file, "targets:\n  deny: [10.0.0.0/33]\n")?;
        let told = interceptor(
            &f,
            &["run", "--policy", path, "--netns", "/x/y", "--redirect", "1 -> 192.0.2.1:1"],
            |_| {},
        )?;
        assert_eq!(told.exit, Some(65), "{told:?}");
        ensure!(told.err.contains("broken.yaml:2:10"), "{told:?}");
        Ok(())
    });
}
