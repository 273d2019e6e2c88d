//! What people are told: mistakes with their place and remedy, refusals with who refused, counters that agree with what
//! callers saw, logs without payload. Each test is one promise.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    process::{Command, Output},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use interceptor_tests::{Frozen, SOON, Scene, counted, outcomes, play, threads};
use nix::sys::signal::Signal;
use rstest::rstest;
use serde_json::Value;
use testbed::{
    Capability, CommandExt as _, Connection, Daemon, Question, TcpService, binary, wait_until,
    workload,
};

/// Runs the binary in the node, with its first arguments and a say in how.
fn interceptor(s: &Scene<'_>, args: &[&str], adapt: impl FnOnce(&mut Command)) -> Result<Told> {
    let mut command = s.t.node().command(binary()?);
    command.args(args);
    adapt(&mut command);
    Ok(Told::from(command.output().context("run the binary")?))
}

/// What a command said.
#[derive(Debug)]
struct Told {
    exit: Option<i32>,
    out: String,
    err: String,
}

impl From<Output> for Told {
    fn from(output: Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self { exit: output.status.code(), out: text(&output.stdout), err: text(&output.stderr) }
    }
}

/// The first rule of the workload `web` in `/state`.
fn first_rule(daemon: &Daemon) -> Result<Value> {
    Ok(daemon.workload("web")?["rules"][0].clone())
}

/// The condition of the first rule, once it is in this state.
fn told(daemon: &Daemon, state: &str) -> Result<(String, String)> {
    let rule = wait_until(&format!("a rule that is {state}"), SOON, || {
        let rule = first_rule(daemon)?;
        ensure!(rule["state"] == state, "{rule}");
        Ok(rule)
    })?;
    let word = |key: &str| rule[key].as_str().unwrap_or_default().to_owned();
    Ok((word("reason"), word("message")))
}

// --- the admin endpoint ---------------------------------------------------------------------------------------------

#[test]
fn connections_that_only_wait_keep_nobody_from_asking() {
    play(|s| {
        let daemon = s.daemon()?;
        let node = s.t.node();
        let before = daemon.open_files()?;
        let idle = || Ok(node.run(|| TcpStream::connect(("127.0.0.1", 9469)))?);
        let waiting: Vec<TcpStream> = (0..100).map(|_| idle()).collect::<Result<_>>()?;
        assert_eq!(daemon.get("/livez")?, "ok\n");
        let now = daemon.open_files()?;
        ensure!(now <= before + 20, "{now} files are open, {before} before");
        // The oldest went.
        let mut oldest = &waiting[0];
        oldest.set_read_timeout(Some(SOON))?;
        assert_eq!(oldest.read(&mut [0])?, 0);
        Ok(())
    });
}

// --- rights ---------------------------------------------------------------------------------------------------------

const NEEDED: [Capability; 4] =
    [Capability::Bpf, Capability::NetAdmin, Capability::Perfmon, Capability::SysAdmin];

#[test]
fn a_host_that_is_able_passes_the_check() {
    play(|s| {
        let told = interceptor(&s, &["check"], |_| {})?;
        assert_eq!(told.exit, Some(0), "{told:?}");
        ensure!(told.out.lines().all(|line| !line.contains("MISSING")), "{told:?}");
        let told = interceptor(&s, &["check", "--output", "json"], |_| {})?;
        let report: Value = serde_json::from_str(&told.out)?;
        assert_eq!(report["able"], true, "{report}");
        Ok(())
    });
}

#[rstest]
#[case("CAP_BPF", Capability::Bpf)]
#[case("CAP_NET_ADMIN", Capability::NetAdmin)]
#[case("CAP_PERFMON", Capability::Perfmon)]
#[case("CAP_SYS_ADMIN", Capability::SysAdmin)]
fn a_missing_right_is_named_with_its_remedy(#[case] name: &str, #[case] capability: Capability) {
    play(|s| {
        // CAP_SYS_ADMIN stands in for CAP_BPF and CAP_PERFMON; the daemon asks for the smaller ones all the same.
        let told = interceptor(&s, &["check"], |command| {
            command.without(&[capability]);
        })?;
        assert_eq!(told.exit, Some(1), "{told:?}");
        let line = told.out.lines().find(|line| line.contains(name)).context("no line about it")?;
        ensure!(line.starts_with("MISSING"), "{line}");
        ensure!(told.out.contains("capabilities.add"), "{told:?}");

        let told = interceptor(
            &s,
            &["run", "--netns", "/run/netns/none", "--redirect", "1 -> 192.0.2.1:1"],
            |command| {
                command.without(&[capability]);
            },
        )?;
        assert_eq!(told.exit, Some(77), "{told:?}");
        ensure!(told.err.contains(name), "{told:?}");
        Ok(())
    });
}

#[test]
fn four_capabilities_are_enough() {
    play(|s| {
        let _daemon = s.daemon_adapted(&s.rule(), |command| {
            command.only(&NEEDED);
            Ok(())
        })?;
        assert_eq!(s.who()?, "laptop");
        Ok(())
    });
}

// --- mistakes -------------------------------------------------------------------------------------------------------

#[test]
fn the_rule_command_shows_what_was_understood() {
    play(|s| {
        let told = interceptor(&s, &["rule", "8080,  9090->10.20.0.7:3000 with proxy-v2"], |_| {})?;
        assert_eq!(told.exit, Some(0), "{told:?}");
        assert_eq!(told.out.lines().next(), Some("8080,9090 -> 10.20.0.7:3000 with proxy-v2"));
        Ok(())
    });
}

#[test]
fn the_rule_command_puts_a_caret_under_the_mistake() {
    play(|s| {
        let told = interceptor(&s, &["rule", "8080 => 10.20.0.7:3000"], |_| {})?;
        assert_eq!(told.exit, Some(2), "{told:?}");
        ensure!(told.err.contains("8080 => 10.20.0.7:3000\n     ^^\n"), "{}", told.err);
        ensure!(told.err.contains("did you mean `->`?"), "{}", told.err);
        Ok(())
    });
}

#[test]
fn the_rule_command_tries_a_request() {
    let rule = "8080 -> 10.20.0.7:3000 when request.headers[\"x-user\"] == \"debug\" && source.port > 1024";
    play(|s| {
        for (options, exit, line) in [
            (&["-H", "x-user: debug", "--source", "10.1.2.3:40000"][..], 0, "match"),
            (&["-H", "x-user: debug", "--source", "10.1.2.3:80"][..], 1, "no match"),
            (&[][..], 1, "the request has no such header"),
        ] {
            let told =
                interceptor(&s, &[&["rule", "--try", "GET /x", rule], options].concat(), |_| {})?;
            assert_eq!(told.exit, Some(exit), "{told:?}");
            ensure!(told.out.ends_with(&format!(": {line}\n")), "{told:?}");
        }
        let told = interceptor(
            &s,
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
    play(|s| {
        let told = interceptor(&s, &["rule", rule], |_| {})?;
        assert_eq!(told.exit, Some(2), "{told:?}");
        ensure!(told.err.contains(message), "{told:?}");

        let daemon = Daemon::start(s.t, &s.web(&rule.replace('"', "\\\"")), &[])?;
        let (reason, told) = self::told(&daemon, "refused")?;
        assert_eq!(reason, "NotSupported");
        ensure!(told.contains(message), "{told}");
        assert_eq!(s.who()?, "app");
        Ok(())
    });
}

#[test]
fn mirroring_is_refused_until_it_is_built() {
    play(|s| {
        let file = s.web(&s.rule()).replace("debug.redirect", "debug.mirror");
        let daemon = Daemon::start(s.t, &file, &[])?;
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
    play(|s| {
        // Whoever runs the tests may have a cluster.
        let no_cluster = |command: &mut Command| {
            command.env("KUBECONFIG", "/nowhere/kubeconfig").env_remove("NODE_NAME");
        };
        let told = interceptor(&s, args, no_cluster)?;
        assert_eq!(told.exit, Some(exit), "{told:?}");
        ensure!(told.err.contains(message), "{told:?}");
        Ok(())
    });
}

#[test]
fn files_with_mistakes_are_told_by_line_and_column() {
    play(|s| {
        let file = s.t.dir().join("broken.yaml");
        std::fs::write(&file, "workloads:\n  - name: web\n    nets: /run/netns/web\n")?;
        let path = file.to_str().context("a path")?;
        let told = interceptor(&s, &["run", "--workloads", path], |_| {})?;
        assert_eq!(told.exit, Some(65), "{told:?}");
        ensure!(told.err.contains("broken.yaml:3:5"), "{told:?}");

        std::fs::write(&file, "targets:\n  deny: [10.0.0.0/33]\n")?;
        let told = interceptor(
            &s,
            &["run", "--policy", path, "--netns", "/x/y", "--redirect", "1 -> 192.0.2.1:1"],
            |_| {},
        )?;
        assert_eq!(told.exit, Some(65), "{told:?}");
        ensure!(told.err.contains("broken.yaml:2:10"), "{told:?}");
        Ok(())
    });
}

#[test]
fn a_rule_that_found_no_room_takes_effect_when_there_is_some() {
    play(|s| {
        let cart = s.t.pod("cart")?;
        let policy = s.t.dir().join("policy.yaml");
        std::fs::write(&policy, "maxRulesPerNode: 1\n")?;
        let of_cart = workload(&cart, &format!("{} ttl 2s", s.rule()));
        let both = of_cart + s.web(&s.rule()).trim_start_matches("workloads:\n");
        let daemon = Daemon::start(s.t, &both, &["--policy", policy.to_str().context("a path")?])?;
        let (reason, _) = told(&daemon, "refused")?;
        assert_eq!(reason, "LimitExceeded");
        // Nothing else wakes the daemon when the other's time is over.
        daemon.wait_state("the second to have the place of the first", |state| {
            let first = |n: usize| &state["workloads"][n]["rules"][0];
            let [cart, web] = [first(0), first(1)];
            cart["state"] == "expired" && web["state"] == "active"
        })?;
        Ok(())
    });
}

#[test]
fn a_rule_that_goes_waits_for_no_other() {
    play(|s| {
        const PODS: usize = 6;
        let mut all = String::from("workloads:\n");
        for n in 0..PODS {
            let pod = s.t.pod(&format!("pod{n}"))?;
            all += workload(&pod, &s.rule()).trim_start_matches("workloads:\n");
        }
        let daemon = Daemon::start(s.t, "workloads: []\n", &[])?;
        // To put one in force takes as long as workers may take to answer.
        let _frozen = Frozen::new(&threads(daemon.pid(), "relay-")?)?;
        daemon.rewrite_workloads(&all)?;
        daemon.wait_state("them to be known", |state| {
            state["workloads"].as_array().is_some_and(|all| !all.is_empty())
        })?;
        let gone = std::time::Instant::now();
        daemon.rewrite_workloads("workloads: []\n")?;
        daemon
            .wait_state("none", |state| state["workloads"].as_array().is_none_or(Vec::is_empty))?;
        ensure!(gone.elapsed() < Duration::from_secs(4), "after {:?}", gone.elapsed());
        Ok(())
    });
}

/// What kube-proxy in its IPVS mode, and settings that let programs bind to anything, do to a node and to a pod.
#[test]
fn addresses_of_services_and_of_strangers_are_not_the_nodes_nor_the_pods() {
    play(|s| {
        let node = s.t.node();
        node.ip("link add kube-ipvs0 type bridge\naddr add 10.96.7.7/32 dev kube-ipvs0")?;
        let bind_to_anything = |netns: &testbed::Namespace| {
            netns.sysctl("net/ipv4/ip_nonlocal_bind", "1")?;
            netns.sysctl("net/ipv6/ip_nonlocal_bind", "1")
        };
        bind_to_anything(node)?;
        let service = TcpService::tagged(node, ([10, 96, 7, 7], 3000), "service")?;
        let to_service = s.web(&format!("8080 -> {}", service.addr()));
        let daemon = Daemon::start(s.t, &to_service, &[])?;
        daemon.wait_active("web")?;
        assert_eq!(s.who()?, "service");
        // The pod's own programs set it when they start.
        bind_to_anything(&s.pod)?;
        let laptop6 = TcpService::tagged(&s.laptop, (s.laptop.ip6(), 3006), "laptop6")?;
        for (target, tag) in
            [((s.laptop.ip4(), 3000).into(), "laptop"), (laptop6.addr(), "laptop6")]
        {
            daemon.rewrite_workloads(&s.web(&format!("8080 -> {target}")))?;
            wait_until(&format!("{tag} to have it"), SOON, || {
                let who = s.who()?;
                ensure!(who == tag, "{who}");
                Ok(())
            })?;
        }
        // What is the node's stays the node's.
        daemon.rewrite_workloads(&s.web(&format!("8080 -> {}:3000", s.pod.gateway4())))?;
        assert_eq!(told(&daemon, "refused")?.0, "TargetDenied");
        Ok(())
    });
}

#[rstest]
#[case("127.0.0.1:3000", "loopback")]
#[case("[::1]:3000", "loopback")]
#[case("169.254.169.254:80", "linkLocal")]
#[case("224.0.0.1:3000", "multicast")]
#[case("0.0.0.0:3000", "unspecified")]
#[case("10.99.0.1:3000", "node")]
fn reserved_targets_are_refused_with_the_word_that_allows_them(
    #[case] target: &str,
    #[case] kind: &str,
) {
    play(|s| {
        let daemon = Daemon::start(s.t, &s.web(&format!("8080 -> {target}")), &[])?;
        let (reason, message) = told(&daemon, "refused")?;
        assert_eq!(reason, "TargetDenied");
        ensure!(message.contains(kind) && message.contains("targets.allowReserved"), "{message}");
        assert_eq!(s.who()?, "app");
        Ok(())
    });
}

#[rstest]
#[case("targets:\n  deny: [LAPTOP/32]\n", "TargetDenied", "policy.yaml:2")]
#[case("targets:\n  allow: [192.0.2.0/24]\n", "TargetDenied", "policy.yaml:2")]
#[case("maxTtl: 1h\n", "LimitExceeded", "policy.yaml:1")]
fn the_policy_line_that_refused_is_named(
    #[case] policy: &str,
    #[case] word: &str,
    #[case] place: &str,
) {
    play(|s| {
        let file = s.t.dir().join("policy.yaml");
        std::fs::write(&file, policy.replace("LAPTOP", &s.laptop.ip4().to_string()))?;
        let daemon =
            Daemon::start(s.t, &s.web(&s.rule()), &["--policy", file.to_str().context("a path")?])?;
        let (reason, message) = told(&daemon, "refused")?;
        assert_eq!(reason, word);
        ensure!(message.contains(place), "{message}");
        assert_eq!(s.who()?, "app");
        Ok(())
    });
}

// --- counters -------------------------------------------------------------------------------------------------------

#[test]
fn status_and_metrics_agree_with_what_the_caller_counted() {
    play(|s| {
        let daemon = s.daemon()?;
        for _ in 0..7 {
            assert_eq!(s.who()?, "laptop");
        }
        let mut open = Connection::open(&s.client, s.port(), Question::Line)?;
        let answer = open.ask()?;
        assert_eq!(answer.tag, "laptop");
        let now = wait_until("the eighth connection", SOON, || {
            let rule = first_rule(&daemon)?;
            ensure!(rule["connections"]["active"] == 1, "{rule}");
            Ok(rule)
        })?;
        assert_eq!(outcomes(&daemon, "web")?, counted([("redirected", 8)]));
        let labels = [("workload", "web"), ("port", "8080")];
        assert_eq!(daemon.metric("interceptor_active_connections", &labels), 1.0);
        assert_eq!(daemon.metric("interceptor_connect_seconds_count", &labels), 8.0);
        let bytes = daemon.metric("interceptor_bytes_total", &[("direction", "to_target")]);
        assert_eq!(now["bytes_to_target"].as_f64(), Some(bytes));
        assert_eq!(bytes as u64 % 8, 0, "eight equal questions");

        let table = interceptor(&s, &["status"], |_| {})?;
        ensure!(
            table.out.contains("1 open, 8 redirected, 0 fell back, 0 passed, 0 refused"),
            "{}",
            table.out
        );
        Ok(())
    });
}

#[test]
fn labels_go_with_their_rules_and_never_name_a_caller() {
    play(|s| {
        let daemon = s.daemon()?;
        s.who()?;
        let text = daemon.get("/metrics")?;
        for name in [
            "interceptor_connections_total",
            "interceptor_bytes_total",
            "interceptor_active_connections",
            "interceptor_rules",
            "interceptor_arm_seconds",
            "interceptor_connect_seconds",
            "interceptor_heartbeat_age_seconds",
            "interceptor_build_info",
        ] {
            ensure!(text.contains(name), "{name} is missing");
        }
        ensure!(!text.contains(&s.client.ip4().to_string()), "{text}");
        assert_eq!(daemon.metric("interceptor_rules", &[("state", "active")]), 1.0);

        daemon.rewrite_workloads(&s.without_rule())?;
        wait_until("no label of the rule", SOON, || {
            let text = daemon.get("/metrics")?;
            ensure!(!text.contains("workload=\"web\""), "{text}");
            Ok(())
        })?;
        assert_eq!(daemon.metric("interceptor_rules", &[("state", "active")]), 0.0);
        Ok(())
    });
}

#[test]
fn a_daemon_that_hangs_is_not_live() {
    play(|s| {
        let daemon = s.daemon()?;
        daemon.get("/livez").context("live")?;
        daemon.get("/readyz").context("ready")?;
        let workers = threads(daemon.pid(), "relay-")?;
        let frozen = Frozen::new(&workers[..1])?;
        wait_until("/livez to fail", SOON, || daemon.get("/livez").is_err())?;
        drop(frozen);
        wait_until("/livez to recover", SOON, || daemon.get("/livez").is_ok())?;
        Ok(())
    });
}

// --- logs -----------------------------------------------------------------------------------------------------------

#[test]
fn the_log_has_a_line_for_each_change_of_state_and_none_for_connections() {
    play(|s| {
        let mut daemon = s.daemon_with(&s.rule(), &["--log", "info"])?;
        for _ in 0..5 {
            s.who()?;
        }
        daemon.rewrite_workloads(&s.without_rule())?;
        wait_until("the app", SOON, || s.who().is_ok_and(|who| who == "app"))?;
        daemon.signal(Signal::SIGTERM)?;
        daemon.wait()?;
        let logs = daemon.logs();
        let lines = |word: &str| logs.lines().filter(|line| line.contains(word)).count();
        assert_eq!(lines("started"), 1, "{logs}");
        assert_eq!(lines("state=active"), 1, "{logs}");
        assert_eq!(lines("removed"), 1, "{logs}");
        ensure!(!logs.contains(&s.client.ip4().to_string()), "{logs}");
        Ok(())
    });
}

#[test]
fn connections_are_logged_at_debug_and_payload_never() {
    play(|s| {
        let daemon = s.daemon_with(&s.rule(), &["--log", "trace"])?;
        let mut connection = Connection::open(&s.client, s.port(), Question::Line)?;
        connection.ask()?;
        connection.stream().write_all(b"password=correct-horse\n")?;
        connection.answer()?;
        let logs = wait_until("a line about the connection", SOON, || {
            let logs = daemon.logs();
            logs.contains("redirected").then_some(logs)
        })?;
        ensure!(logs.contains(&s.client.ip4().to_string()), "{logs}");
        ensure!(!logs.contains("correct-horse"), "{logs}");
        Ok(())
    });
}
