//! Taking connections and giving them back: each test is one promise.

use std::{
    fs,
    io::{self, Read as _, Write as _},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpStream},
    os::unix::fs::symlink,
    path::Path,
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use interceptor_tests::{
    Dns, SECOND, SOON, Scene, counted, delete_netns, make_netns_again, outcomes, play, sum, who,
};
use nix::sys::signal::Signal;
use rstest::rstest;
use testbed::{
    Caller, Checksum, CommandExt as _, Connection, Daemon, Namespace, Question, TcpService,
    bpf_inventory, call, netns_inventory, receive, send, wait_until, workload,
};

// --- who is taken ---------------------------------------------------------------------------------------------------

#[test]
fn new_connections_reach_the_target_by_ipv4_ipv6_and_ipv4_mapped() {
    play(|s| {
        let daemon = s.daemon()?;
        let mapped = s.pod.ip4().to_ipv6_mapped();
        for ip in [IpAddr::from(s.pod.ip4()), s.pod.ip6().into(), mapped.into()] {
            assert_eq!(who(&s.client, (ip, 8080))?, "laptop", "{ip}");
        }
        assert_eq!(outcomes(&daemon, "web")?, counted([("redirected", 3)]));
        assert_eq!((s.dev.connections(), s.app.connections()), (3, 0));
        Ok(())
    });
}

#[test]
fn a_target_may_be_an_ipv6_address_for_callers_of_either_family() {
    play(|s| {
        let _daemon = s.daemon_with(&format!("8080 -> [{}]:3000", s.laptop.ip6()), &[])?;
        for ip in [IpAddr::from(s.pod.ip4()), s.pod.ip6().into()] {
            let answer = call(&s.client, (ip, 8080), Question::Line)?;
            assert_eq!(answer.tag, "laptop");
            assert_eq!(answer.peer.map(|peer| peer.ip()), Some(s.pod.ip6().into()));
        }
        Ok(())
    });
}

#[rstest]
#[case::every_ipv4_address(|_: &Namespace| Some(Ipv4Addr::UNSPECIFIED.into()))]
#[case::every_address(|_: &Namespace| Some(Ipv6Addr::UNSPECIFIED.into()))]
#[case::one_address(|pod: &Namespace| Some(pod.ip4().into()))]
#[case::nowhere(|_: &Namespace| None)]
fn it_does_not_matter_where_the_app_listens(#[case] listen: fn(&Namespace) -> Option<IpAddr>) {
    play(|s| {
        let port = SocketAddr::from((s.pod.ip4(), 9090));
        let app =
            listen(&s.pod).map(|ip| TcpService::tagged(&s.pod, (ip, 9090), "app")).transpose()?;
        let before = who(&s.client, port).ok();
        assert_eq!(before.as_deref(), app.as_ref().map(|_| "app"));

        let daemon = s.daemon_with(&format!("9090 -> {}:3000", s.laptop.ip4()), &[])?;
        assert_eq!(who(&s.client, port)?, "laptop");

        daemon.rewrite_workloads(&s.without_rule())?;
        wait_until("what was before", SOON, || who(&s.client, port).ok() == before)
    });
}

#[test]
fn callers_inside_the_pod_are_taken_too() {
    play(|s| {
        let daemon = s.daemon()?;
        let inside: [IpAddr; 4] = [
            Ipv4Addr::LOCALHOST.into(),
            Ipv6Addr::LOCALHOST.into(),
            s.pod.ip4().into(),
            s.pod.ip6().into(),
        ];
        for ip in inside {
            assert_eq!(who(&s.pod, (ip, 8080))?, "laptop", "{ip}");
        }
        assert_eq!(outcomes(&daemon, "web")?, counted([("redirected", 4)]));
        Ok(())
    });
}

#[test]
fn several_ports_are_taken_and_the_others_are_not_touched() {
    play(|s| {
        let _other = TcpService::tagged(&s.laptop, (s.laptop.ip4(), 3001), "second")?;
        let _admin = TcpService::tagged(&s.pod, (s.pod.ip4(), 7070), "untouched")?;
        let laptop = s.laptop.ip4();
        let daemon =
            s.daemon_with(&format!("8080,8081 -> {laptop}:3000; 9090 -> {laptop}:3001"), &[])?;
        for (port, expected) in
            [(8080, "laptop"), (8081, "laptop"), (9090, "second"), (7070, "untouched")]
        {
            assert_eq!(who(&s.client, (s.pod.ip4(), port))?, expected, "{port}");
        }
        for (port, redirected) in [("8080", 1.0), ("8081", 1.0), ("9090", 1.0), ("7070", 0.0)] {
            let labels = [("port", port), ("outcome", "redirected")];
            assert_eq!(
                daemon.metric("interceptor_connections_total", &labels),
                redirected,
                "{port}"
            );
        }
        Ok(())
    });
}

#[test]
fn a_rule_without_ports_takes_those_that_the_workload_declares() {
    play(|s| {
        let file = format!(
            "workloads:\n- name: web\n  netns: {}\n  ports: [8080, 9090]\n  annotations: {{debug.redirect: '{}:3000'}}\n",
            s.pod.netns_path().display(),
            s.laptop.ip4(),
        );
        let daemon = Daemon::start(s.t, &file, &[])?;
        let state = daemon.wait_active("web")?;
        assert_eq!(state["workloads"][0]["rules"][0]["ports"], serde_json::json!([8080, 9090]));
        for port in [8080, 9090] {
            assert_eq!(who(&s.client, (s.pod.ip4(), port))?, "laptop", "{port}");
        }
        Ok(())
    });
}

#[test]
fn workloads_are_kept_apart() {
    play(|s| {
        let api = s.t.pod("api")?;
        let _api_app = TcpService::tagged(&api, (api.ip4(), 8080), "api-app")?;
        let _second = TcpService::tagged(&s.laptop, (s.laptop.ip4(), 3001), "second")?;
        let rule_of_api = format!("8080 -> {}:3001", s.laptop.ip4());
        let both =
            s.web(&s.rule()) + workload(&api, &rule_of_api).trim_start_matches("workloads:\n");
        let daemon = Daemon::start(s.t, &both, &[])?;
        daemon.wait_active("web")?;
        daemon.wait_active("api")?;
        for _ in 0..2 {
            assert_eq!(s.who()?, "laptop");
        }
        assert_eq!(who(&s.client, (api.ip4(), 8080))?, "second");
        assert_eq!(outcomes(&daemon, "web")?, counted([("redirected", 2)]));
        assert_eq!(outcomes(&daemon, "api")?, counted([("redirected", 1)]));

        daemon.rewrite_workloads(&workload(&api, &rule_of_api))?;
        wait_until("the app of web", SOON, || s.who().is_ok_and(|tag| tag == "app"))?;
        assert_eq!(who(&s.client, (api.ip4(), 8080))?, "second");
        assert_eq!(outcomes(&daemon, "api")?, counted([("redirected", 2)]));
        Ok(())
    });
}

#[test]
fn two_workloads_may_share_a_namespace() {
    play(|s| {
        let admin_app = TcpService::tagged(&s.pod, (s.pod.ip4(), 9090), "second-app")?;
        let second =
            s.web(&format!("9090 -> {}:3000", s.laptop.ip4())).replace("name: web", "name: second");
        let both = s.web(&s.rule()) + second.trim_start_matches("workloads:\n");
        let daemon = Daemon::start(s.t, &both, &[])?;
        daemon.wait_active("web")?;
        daemon.wait_active("second")?;
        for port in [8080, 9090] {
            assert_eq!(who(&s.client, (s.pod.ip4(), port))?, "laptop", "{port}");
        }
        // What one of them passes on to the app is none of the other's business.
        drop(s.dev);
        assert_eq!(who(&s.client, (s.pod.ip4(), 8080))?, "app");
        assert_eq!(who(&s.client, (s.pod.ip4(), 9090))?, "second-app");
        for workload in ["web", "second"] {
            let expected = counted([("redirected", 1), ("fell_back/target_refused", 1)]);
            assert_eq!(outcomes(&daemon, workload)?, expected, "{workload}");
        }
        assert_eq!(admin_app.connections(), 1);
        Ok(())
    });
}

#[rstest]
#[case::from_the_pod("pod")]
#[case::from_the_node("node")]
fn the_target_is_called_from_where_the_admin_says(#[case] dial: &str) {
    play(|s| {
        let policy = s.t.dir().join("policy.yaml");
        fs::write(&policy, format!("dial: {dial}\n"))?;
        let _daemon = s.daemon_with(&s.rule(), &["--policy", &policy.to_string_lossy()])?;
        let answer = call(&s.client, s.port(), Question::Line)?;
        let expected = if dial == "pod" { s.pod.ip4() } else { s.laptop.gateway4() };
        assert_eq!(answer.tag, "laptop");
        assert_eq!(answer.peer.map(|peer| peer.ip()), Some(expected.into()));
        Ok(())
    });
}

// --- taking ---------------------------------------------------------------------------------------------------------

#[test]
fn connections_opened_before_stay_with_the_app_byte_for_byte() {
    play(|s| {
        const BYTES: u64 = 20_000_000;
        let _sink = TcpService::sink(&s.pod, (s.pod.ip4(), 9001))?;
        let _source = TcpService::source(&s.pod, (s.pod.ip4(), 9002), BYTES)?;
        let mut asks = Connection::open(&s.client, s.port(), Question::Line)?;
        let upload = Connection::open(&s.client, (s.pod.ip4(), 9001), Question::Line)?;
        let download = Connection::open(&s.client, (s.pod.ip4(), 9002), Question::Line)?;
        assert_eq!(asks.ask()?.tag, "app");
        let mut halves = Vec::new();
        send(&mut halves, 2 * BYTES)?;
        let (first, second) = halves.split_at(halves.len() / 2);
        upload.stream().write_all(first)?;
        let mut received = vec![0; 100_000];
        download.stream().read_exact(&mut received)?;

        let daemon = s.daemon_with(&format!("8080,9001,9002 -> {}:3000", s.laptop.ip4()), &[])?;
        assert_eq!(s.who()?, "laptop");

        upload.stream().write_all(second)?;
        upload.stream().shutdown(Shutdown::Write)?;
        let mut sent = Checksum::default();
        sent.add(&halves);
        assert_eq!(io::read_to_string(upload.stream())?.trim(), sent.to_string());
        download.stream().read_to_end(&mut received)?;
        assert_eq!(receive(received.as_slice())?, send(io::sink(), BYTES)?);
        assert_eq!(asks.ask()?.tag, "app");
        assert_eq!(outcomes(&daemon, "web")?, counted([("redirected", 1)]));
        Ok(())
    });
}

#[test]
fn taking_and_giving_back_fails_no_call() {
    play(|s| {
        let daemon = Daemon::start(s.t, &s.without_rule(), &[])?;
        let caller =
            Caller::new(&s.client, s.port()).threads(4).interval(Duration::ZERO).start()?;
        caller.wait_for_tag("app", SOON)?;
        for _ in 0..5 {
            daemon.rewrite_workloads(&s.web(&s.rule()))?;
            caller.wait_for_tag("laptop", SOON)?;
            daemon.rewrite_workloads(&s.without_rule())?;
            caller.wait_for_tag("app", SOON)?;
        }
        let report = caller.stop();
        assert_eq!(report.failures().len(), 0, "{report}");
        assert_eq!(report.count("laptop") as u64, s.dev.requests());
        assert_eq!(report.count("app") as u64, s.app.requests());
        Ok(())
    });
}

#[test]
fn a_rule_is_active_only_after_a_probe_connection_arrived() {
    play(|s| {
        let daemon = s.daemon()?;
        // Without its loopback the pod can't be probed, though it can be called.
        s.pod.ip("link set lo down")?;
        daemon.rewrite_workloads(&s.web(&format!("8081 -> {}:3000", s.laptop.ip4())))?;
        let state = daemon.wait_rules("web", "pending")?;
        wait_until("the reason", SOON, || {
            let rule =
                daemon.workload("web").map_err(|error| error.to_string())?["rules"][0].clone();
            let said =
                rule["message"].as_str().is_some_and(|message| message.contains("127.0.0.1:8081"));
            if rule["reason"] == "ProbeFailed" && said { Ok(()) } else { Err(rule.to_string()) }
        })?;
        assert_eq!(daemon.metric("interceptor_rules", &[("state", "active")]), 0.0, "{state}");
        assert_eq!(daemon.metric("interceptor_rules", &[("state", "pending")]), 1.0);

        s.pod.ip("link set lo up")?;
        daemon.wait_active("web")?;
        assert_eq!(daemon.metric("interceptor_rules", &[("state", "active")]), 1.0);
        assert_eq!(who(&s.client, (s.pod.ip4(), 8081))?, "laptop");
        Ok(())
    });
}

#[test]
fn a_pod_that_is_not_set_up_yet_is_pending_until_it_is() {
    play(|s| {
        s.pod.ip("link set lo down")?;
        let daemon = Daemon::start(s.t, &s.web(&s.rule()), &[])?;
        let state = daemon.wait_state("a reason", |state| {
            let rule = &state["workloads"][0]["rules"][0];
            rule["state"] == "pending" && rule["reason"] != "Proving"
        })?;
        assert_ne!(state["workloads"][0]["rules"][0]["message"], "", "{state}");
        assert!(s.who().is_ok(), "whoever it is: callers are served");
        s.pod.ip("link set lo up")?;
        daemon.wait_active("web")?;
        assert_eq!(s.who()?, "laptop");
        Ok(())
    });
}

// --- giving back ----------------------------------------------------------------------------------------------------

#[rstest]
#[case::the_rule(|s: &Scene<'_>| s.without_rule())]
#[case::the_workload(|_: &Scene<'_>| "workloads: []\n".into())]
#[case::the_port(|s: &Scene<'_>| s.web(&format!("8081 -> {}:3000", s.laptop.ip4())))]
fn removal_gives_back_at_once_and_stolen_connections_finish(
    #[case] rest: fn(&Scene<'_>) -> String,
) {
    play(|s| {
        let daemon = s.daemon()?;
        let mut stolen = Connection::open(&s.client, s.port(), Question::Line)?;
        assert_eq!(stolen.ask()?.tag, "laptop");
        let caller = Caller::new(&s.client, s.port()).start()?;
        caller.wait_for_tag("laptop", SOON)?;

        let removed = Instant::now();
        daemon.rewrite_workloads(&rest(&s))?;
        let given_back = caller.wait_for_tag("app", SECOND)?;
        caller.wait_for_calls(100, SOON)?;
        let report = caller.stop();
        assert_eq!(report.failures().len(), 0, "{report}");
        assert_eq!(report.since(given_back).count("laptop"), 0, "{report}");
        assert!(given_back - removed < SECOND);

        assert_eq!(stolen.ask()?.tag, "laptop");
        // It outlives the relay's listeners, and the counters of its port.
        wait_until("the end of what was kept for latecomers", SOON, || -> Result<()> {
            let armed = !bpf_inventory()?.links_in(&s.pod)?.is_empty();
            ensure!(armed || listeners(&s.pod) == [s.app.addr()], "the relay listens");
            let metrics = daemon.metrics()?;
            let counted =
                metrics.matching("interceptor_active_connections", &[("port", "8080")]).count();
            ensure!(counted == 0, "the port is counted");
            Ok(())
        })?;
        assert_eq!(stolen.ask()?.tag, "laptop");
        stolen.stream().shutdown(Shutdown::Both)?;
        wait_until("the end of the last stolen connection", SOON, || s.dev.open() == 0)
    });
}

#[test]
fn a_changed_target_gets_the_new_connections_and_the_old_target_keeps_the_old_ones() {
    play(|s| {
        let _second = TcpService::tagged(&s.laptop, (s.laptop.ip4(), 3001), "second")?;
        let daemon = s.daemon()?;
        let mut old = Connection::open(&s.client, s.port(), Question::Line)?;
        assert_eq!(old.ask()?.tag, "laptop");
        let caller = Caller::new(&s.client, s.port()).threads(2).start()?;
        caller.wait_for_tag("laptop", SOON)?;

        daemon.rewrite_workloads(&s.web(&format!("8080 -> {}:3001", s.laptop.ip4())))?;
        let changed = caller.wait_for_tag("second", SOON)?;
        caller.wait_for_calls(50, SOON)?;
        let mut new = Connection::open(&s.client, s.port(), Question::Line)?;
        assert_eq!((old.ask()?.tag.as_str(), new.ask()?.tag.as_str()), ("laptop", "second"));
        daemon.wait_active("web")?;
        let report = caller.stop();

        assert_eq!(report.failures().len(), 0, "{report}");
        assert_eq!(report.count("app"), 0, "the port was never given back in between: {report}");
        // A call that began a moment before may have been taken by the old rule.
        assert_eq!(
            report.since(changed + Duration::from_millis(100)).count("laptop"),
            0,
            "{report}"
        );
        // Who follows on the same annotation goes on counting.
        let redirected = report.calls.len() as u64 + 2;
        assert_eq!(outcomes(&daemon, "web")?, counted([("redirected", redirected)]));
        Ok(())
    });
}

#[test]
fn the_ttl_of_a_rule_ends_it() {
    play(|s| {
        let launched = Instant::now();
        let daemon = s.daemon_with(&format!("{} ttl 2s", s.rule()), &[])?;
        let active = Instant::now();
        let mut stolen = Connection::open(&s.client, s.port(), Question::Line)?;
        assert_eq!(stolen.ask()?.tag, "laptop");
        let caller = Caller::new(&s.client, s.port()).start()?;
        caller.wait_for_tag("app", Duration::from_secs(3))?;
        // Its time begins when the daemon reads it.
        let (longest, shortest) = (launched.elapsed(), active.elapsed());
        assert!(longest >= Duration::from_secs(2), "ended after {longest:?}");
        assert!(shortest < Duration::from_millis(2500), "ended after {shortest:?}");
        let state = daemon.wait_rules("web", "expired")?;
        assert_eq!(state["workloads"][0]["rules"][0]["reason"], "TtlExpired", "{state}");
        assert_eq!(stolen.ask()?.tag, "laptop");
        let report = caller.stop();
        assert_eq!(report.failures().len(), 0, "{report}");
        Ok(())
    });
}

#[rstest]
#[case::in_order(Signal::SIGTERM)]
#[case::by_force(Signal::SIGKILL)]
fn nothing_is_added_while_it_runs_and_nothing_stays_after_its_end(#[case] signal: Signal) {
    play(|s| {
        let before = [netns_inventory(&s.pod)?, netns_inventory(s.t.node())?];
        let unchanged = || -> Result<()> {
            for (netns, before) in [&s.pod, s.t.node()].into_iter().zip(&before) {
                let diff = netns_inventory(netns)?.diff(before);
                ensure!(diff.is_empty(), "{}: {diff}", netns.label());
            }
            Ok(())
        };

        let mut daemon = s.daemon()?;
        assert_eq!(s.who()?, "laptop");
        unchanged().context("while it runs")?;
        let objects = daemon.bpf_objects()?;
        assert_eq!(bpf_inventory()?.links_in(&s.pod)?.len(), 1);
        assert!(objects.len() > 3, "{objects:?}");

        daemon.signal(signal)?;
        daemon.wait()?;
        unchanged().context("after its end")?;
        // The kernel lets go of programs and maps a moment after the process.
        wait_until("the end of all programs, maps and links", SOON, || {
            let bpf = bpf_inventory().map_err(|error| format!("{error:#}"))?;
            let mut left = bpf.still_here(&objects);
            left.extend(bpf.links_in(&s.pod).map_err(|error| format!("{error:#}"))?);
            if left.is_empty() { Ok(()) } else { Err(format!("{left:?}")) }
        })?;
        assert_eq!(listeners(&s.pod), [s.app.addr()]);
        assert_eq!(s.who()?, "app");
        Ok(())
    });
}

// --- loops ----------------------------------------------------------------------------------------------------------

#[test]
fn another_port_of_the_pod_is_a_target_that_does_not_loop() {
    play(|s| {
        let debug = TcpService::tagged(&s.pod, (Ipv6Addr::UNSPECIFIED, 9090), "debug-port")?;
        let daemon = s.daemon_with(&format!("8080 -> {}:9090", s.pod.ip4()), &[])?;
        assert_eq!(s.who()?, "debug-port");
        assert_eq!(who(&s.pod, (Ipv4Addr::LOCALHOST, 8080))?, "debug-port");
        assert_eq!(who(&s.client, (s.pod.ip6(), 8080))?, "debug-port");
        assert_eq!((debug.connections(), s.app.connections()), (3, 0));
        assert_eq!(outcomes(&daemon, "web")?, counted([("redirected", 3)]));
        Ok(())
    });
}

#[rstest]
#[case::itself_by_ipv4(|s: &Scene<'_>| format!("8080 -> {}:8080", s.pod.ip4()))]
#[case::itself_by_ipv6(|s: &Scene<'_>| format!("8080 -> [{}]:8080", s.pod.ip6()))]
#[case::itself_by_mapped_ipv4(|s: &Scene<'_>| format!("8080 -> [{}]:8080", s.pod.ip4().to_ipv6_mapped()))]
#[case::crosswise(|s: &Scene<'_>| format!("8080 -> {0}:9090; 9090 -> {0}:8080", s.pod.ip4()))]
fn a_redirected_port_of_the_same_workload_is_refused_as_a_loop(
    #[case] rule: fn(&Scene<'_>) -> String,
) {
    play(|s| {
        let daemon = Daemon::start(s.t, &s.web(&rule(&s)), &[])?;
        let state = daemon.wait_rules("web", "refused")?;
        for rule in state["workloads"][0]["rules"].as_array().into_iter().flatten() {
            assert_eq!(rule["reason"], "Loop", "{rule}");
        }
        assert_eq!(s.who()?, "app");
        Ok(())
    });
}

#[test]
fn two_workloads_that_point_at_each_other_end_at_an_app() {
    play(|s| {
        let api = s.t.pod("api")?;
        let api_app = TcpService::tagged(&api, (api.ip4(), 8080), "api-app")?;
        let to_api = s.web(&format!("8080 -> {}:8080", api.ip4()));
        let to_web = workload(&api, &format!("8080 -> {}:8080", s.pod.ip4()));
        let daemon =
            Daemon::start(s.t, &(to_api + to_web.trim_start_matches("workloads:\n")), &[])?;
        daemon.wait_active("web")?;
        daemon.wait_active("api")?;

        const CALLS: u64 = 50;
        for _ in 0..CALLS {
            assert_eq!(s.who()?, "app", "once round, back at web");
        }
        // Web sends on to api, api sends on to web, web sees its own connection and gives it to its app.
        assert_eq!(
            outcomes(&daemon, "web")?,
            counted([("redirected", CALLS), ("passed/loop", CALLS)])
        );
        assert_eq!(outcomes(&daemon, "api")?, counted([("redirected", CALLS)]));
        assert_eq!((s.app.connections(), api_app.connections()), (CALLS, 0));
        Ok(())
    });
}

#[test]
fn a_connection_straight_to_the_relays_listener_is_closed() {
    play(|s| {
        let before = listeners(&s.pod);
        let daemon = s.daemon()?;
        let relay: Vec<_> =
            listeners(&s.pod).into_iter().filter(|addr| !before.contains(addr)).collect();
        assert!(
            relay.iter().any(SocketAddr::is_ipv4) && relay.iter().any(SocketAddr::is_ipv6),
            "{relay:?}"
        );
        for addr in &relay {
            assert!(addr.ip().is_loopback(), "{addr} can be called from outside");
            // It may be closed before connecting is through.
            let spoke =
                s.pod.run(|| TcpStream::connect_timeout(addr, SECOND)).and_then(|mut stream| {
                    stream.set_read_timeout(Some(SECOND))?;
                    stream.read_exact(&mut [0])
                });
            let end = spoke.expect_err("the relay speaks to strangers").kind();
            let closed = [io::ErrorKind::ConnectionReset, io::ErrorKind::UnexpectedEof];
            assert!(closed.contains(&end), "{addr}: {end}");
        }
        let labels = [("workload", "web"), ("outcome", "refused"), ("reason", "relay_address")];
        assert_eq!(daemon.metric("interceptor_connections_total", &labels), relay.len() as f64);
        assert_eq!((s.app.connections(), s.dev.connections()), (0, 0));
        Ok(())
    });
}

// --- targets by name ------------------------------------------------------------------------------------------------

const NAME: &str = "laptop.test";

/// The daemon with port 8080 of `web` redirected to port 3000 of [`NAME`]; waits for nothing.
fn by_name(s: &Scene<'_>, dns: &Dns) -> Result<Daemon> {
    Daemon::start_with(s.t, &s.web(&format!("8080 -> {NAME}:3000")), |command| {
        command.resolv_conf(&dns.resolv_conf()?)?;
        Ok(())
    })
}

fn reason(daemon: &Daemon) -> Result<String> {
    let rule = &daemon.workload("web")?["rules"][0];
    Ok(format!(
        "{} {}",
        rule["reason"].as_str().unwrap_or_default(),
        rule["message"].as_str().unwrap_or_default()
    ))
}

#[test]
fn a_name_is_looked_up_when_its_ttl_is_over_and_not_for_every_connection() {
    play(|s| {
        let second = s.t.host("second")?;
        let _second = TcpService::tagged(&second, (second.ip4(), 3000), "second")?;
        let dns = Dns::start(s.t, 1)?;
        dns.set(NAME, &[s.laptop.ip4().into()]);
        let daemon = by_name(&s, &dns)?;
        daemon.wait_active("web")?;
        let caller = Caller::new(&s.client, s.port()).start()?;
        caller.wait_for_tag("laptop", SOON)?;

        dns.set(NAME, &[second.ip4().into()]);
        let (changed, asked) = (Instant::now(), dns.queries());
        let arrived = caller.wait_for_tag("second", SOON)?;
        assert!(arrived - changed < Duration::from_secs(2), "took {:?}", arrived - changed);
        caller.wait_for_calls(200, SOON)?;
        let report = caller.stop();
        assert_eq!(report.failures().len(), 0, "{report}");
        assert_eq!(report.count("app"), 0, "{report}");
        let look_ups = (dns.queries() - asked) / 2;
        assert!(
            look_ups <= changed.elapsed().as_secs() + 2,
            "{look_ups} look-ups in {:?}",
            changed.elapsed()
        );
        Ok(())
    });
}

#[test]
fn a_long_ttl_is_honoured() {
    play(|s| {
        let dns = Dns::start(s.t, 3600)?;
        dns.set(NAME, &[s.laptop.ip4().into()]);
        let daemon = by_name(&s, &dns)?;
        daemon.wait_active("web")?;
        let asked = dns.queries();
        let caller = Caller::new(&s.client, s.port()).start()?;
        caller.wait_for_calls(500, 3 * SOON)?;
        assert_eq!(caller.stop().count("app"), 0);
        assert_eq!(dns.queries(), asked);
        Ok(())
    });
}

#[test]
fn all_addresses_of_a_name_are_tried() {
    play(|s| {
        let (refuses, asleep) = (s.t.host("refuses")?, s.t.host("asleep")?);
        asleep.fall_asleep()?;
        let dns = Dns::start(s.t, 1)?;
        dns.set(NAME, &[refuses.ip4().into(), asleep.ip4().into(), s.laptop.ip4().into()]);
        let daemon = by_name(&s, &dns)?;
        daemon.wait_active("web")?;
        for _ in 0..5 {
            assert_eq!(s.who()?, "laptop");
        }
        // The IPv6 address is the only one left that answers.
        dns.set(NAME, &[refuses.ip4().into(), s.laptop.ip6().into()]);
        wait_until("a call by IPv6", SOON, || {
            let peer = call(&s.client, s.port(), Question::Line).ok()?.peer?;
            peer.is_ipv6().then_some(())
        })?;
        let outcomes = outcomes(&daemon, "web")?;
        assert_eq!(outcomes["redirected"], s.dev.connections(), "{outcomes:?}");
        assert_eq!(outcomes.len(), 1, "{outcomes:?}");
        Ok(())
    });
}

#[test]
fn a_name_without_an_address_leaves_the_app_alone_until_it_has_one() {
    play(|s| {
        let dns = Dns::start(s.t, 1)?;
        let daemon = by_name(&s, &dns)?;
        wait_until("the reason", SOON, || {
            reason(&daemon).is_ok_and(|why| why.starts_with("NameNotResolved"))
        })?;
        assert_eq!(s.who()?, "app");
        assert_eq!(outcomes(&daemon, "web")?, counted([]), "the port was not taken yet");

        dns.set(NAME, &[s.laptop.ip4().into()]);
        daemon.wait_active("web")?;
        assert_eq!(s.who()?, "laptop");

        dns.set(NAME, &[]);
        let pending = daemon.wait_rules("web", "pending")?;
        assert_eq!(s.who()?, "app", "{pending}");
        assert_eq!(
            outcomes(&daemon, "web")?,
            counted([("redirected", 1), ("fell_back/unresolved", 1)])
        );
        Ok(())
    });
}

#[rstest]
#[case::loopback(|_: &Scene<'_>| Ipv4Addr::LOCALHOST.into())]
#[case::the_metadata_service_of_a_cloud(|_: &Scene<'_>| Ipv4Addr::new(169, 254, 169, 254).into())]
#[case::the_node(|s: &Scene<'_>| s.t.node().ip4().into())]
#[case::the_node_on_the_link_to_the_pod(|s: &Scene<'_>| s.pod.gateway6().into())]
#[case::a_network_that_the_admin_denies(|s: &Scene<'_>| s.client.ip4().into())]
fn a_name_that_leads_to_a_denied_address_is_refused_at_every_look_up(
    #[case] denied: fn(&Scene<'_>) -> IpAddr,
) {
    play(|s| {
        let denied = denied(&s);
        let _trap = TcpService::tagged(s.t.node(), (Ipv6Addr::UNSPECIFIED, 3000), "trap")?;
        let dns = Dns::start(s.t, 1)?;
        dns.set(NAME, &[denied]);
        let policy = s.t.dir().join("policy.yaml");
        fs::write(&policy, format!("targets:\n  deny: [{}]\n", s.client.ip4()))?;
        let daemon = Daemon::start_with(s.t, &s.web(&format!("8080 -> {NAME}:3000")), |command| {
            command.arg("--policy").arg(&policy).resolv_conf(&dns.resolv_conf()?)?;
            Ok(())
        })?;
        daemon.wait_rules("web", "refused")?;
        let why = reason(&daemon)?;
        assert!(why.starts_with("TargetDenied") && why.contains(&denied.to_string()), "{why}");
        assert_eq!(s.who()?, "app");

        dns.set(NAME, &[denied, s.laptop.ip4().into()]);
        daemon.wait_active("web")?;
        assert_eq!(s.who()?, "laptop", "the other address is fine");

        dns.set(NAME, &[denied]);
        daemon.wait_rules("web", "refused")?;
        assert_eq!(s.who()?, "app");
        assert_eq!(
            outcomes(&daemon, "web")?,
            counted([("redirected", 1), ("fell_back/target_denied", 1)])
        );
        Ok(())
    });
}

#[test]
fn a_name_that_leads_back_to_the_port_itself_is_refused_as_a_loop() {
    play(|s| {
        let dns = Dns::start(s.t, 1)?;
        dns.set(NAME, &[s.pod.ip4().into()]);
        let daemon = Daemon::start_with(s.t, &s.web(&format!("8080 -> {NAME}:8080")), |command| {
            command.resolv_conf(&dns.resolv_conf()?)?;
            Ok(())
        })?;
        daemon.wait_rules("web", "refused")?;
        let why = reason(&daemon)?;
        assert!(why.contains("redirected port of this workload itself"), "{why}");
        assert_eq!(s.who()?, "app");
        Ok(())
    });
}

// --- namespaces -----------------------------------------------------------------------------------------------------

#[test]
fn a_namespace_that_comes_back_under_its_name_is_armed_again() {
    play(|s| {
        let daemon = s.daemon()?;
        let old = s.pod.inode()?;
        // Keeps something of the old namespace busy while that vanishes.
        let _stolen = Connection::open(&s.client, s.port(), Question::Line)?;
        let port = s.port();
        drop(s.app);
        delete_netns(s.t.node(), &s.pod).context("the daemon keeps the namespace alive")?;
        let state = daemon.wait_rules("web", "pending")?;
        assert_eq!(state["workloads"][0]["rules"][0]["reason"], "NetnsNotFound", "{state}");
        wait_until("the end of the link to it", SOON, || {
            let links = bpf_inventory().map_err(|error| format!("{error:#}"))?;
            let left = links.0.into_iter().find(|object| object.netns_inode == Some(old));
            left.map_or(Ok(()), |object| Err(object.to_string()))
        })?;

        make_netns_again(s.t.node(), &s.pod)?;
        let app = TcpService::tagged(&s.pod, (s.pod.ip4(), 8080), "app")?;
        daemon.wait_active("web")?;
        wait_until("the first packet over the new link", SOON, || {
            who(&s.client, port).is_ok_and(|tag| tag == "laptop")
        })?;
        assert_eq!(app.connections(), 0);

        let complaints: Vec<_> = daemon
            .logs()
            .lines()
            .filter(|line| line.contains(" WARN ") || line.contains(" ERROR "))
            .map(str::to_owned)
            .collect();
        assert!(complaints.len() <= 2, "one line for each change of state: {complaints:#?}");
        Ok(())
    });
}

#[test]
fn a_namespace_that_was_given_back_is_let_go_when_it_vanishes() {
    play(|s| {
        let daemon = s.daemon()?;
        let mut stolen = Connection::open(&s.client, s.port(), Question::Line)?;
        assert_eq!(stolen.ask()?.tag, "laptop");
        daemon.rewrite_workloads(&s.without_rule())?;
        wait_until("the app", SOON, || s.who().is_ok_and(|tag| tag == "app"))?;
        assert_eq!(stolen.ask()?.tag, "laptop", "stolen connections finish");
        drop(s.app);
        delete_netns(s.t.node(), &s.pod).context("the stolen connection keeps the namespace alive")
    });
}

#[test]
fn another_namespace_for_a_workload_leaves_stolen_connections_alone() {
    play(|s| {
        let other = s.t.pod("other")?;
        let daemon = s.daemon()?;
        let mut stolen = Connection::open(&s.client, s.port(), Question::Line)?;
        assert_eq!(stolen.ask()?.tag, "laptop");
        let file = s.web(&s.rule());
        let path = |pod: &Namespace| pod.netns_path().display().to_string();
        daemon.rewrite_workloads(&file.replace(&path(&s.pod), &path(&other)))?;
        wait_until("the laptop behind the other pod", SOON, || {
            who(&s.client, (other.ip4(), 8080)).is_ok_and(|tag| tag == "laptop")
        })?;
        assert_eq!(s.who()?, "app");
        assert_eq!(stolen.ask()?.tag, "laptop");
        Ok(())
    });
}

#[test]
fn a_rule_that_leads_to_a_port_which_is_taken_later_is_refused_as_a_loop_then() {
    play(|s| {
        let first = format!("8080 -> {}:9090", s.pod.ip4());
        let _second = TcpService::tagged(&s.pod, (s.pod.ip4(), 9090), "second")?;
        let daemon = s.daemon_with(&first, &[])?;
        assert_eq!(s.who()?, "second");
        daemon.rewrite_workloads(&s.web(&format!("{first}; 9090 -> {}:3000", s.laptop.ip4())))?;
        daemon.wait_state("a loop", |state| {
            let rules = state["workloads"][0]["rules"].as_array().into_iter().flatten();
            rules.into_iter().any(|rule| rule["reason"] == "Loop" && rule["state"] == "refused")
        })?;
        wait_until("the app", SOON, || s.who().is_ok_and(|tag| tag == "app"))
    });
}

#[test]
fn a_namespace_may_vanish_and_come_back_again_and_again() {
    play(|s| {
        let (daemon, port) = (s.daemon()?, s.port());
        drop(s.app);
        for _ in 0..10 {
            delete_netns(s.t.node(), &s.pod)?;
            make_netns_again(s.t.node(), &s.pod)?;
        }
        wait_until("the laptop", SOON, || who(&s.client, port).is_ok_and(|tag| tag == "laptop"))?;
        daemon.wait_active("web")?;
        assert_eq!(bpf_inventory()?.links_in(&s.pod)?.len(), 1);
        let links = bpf_inventory()?.still_here(&daemon.bpf_objects()?);
        let links: Vec<_> =
            links.iter().filter(|object| object.kind == testbed::BpfKind::Link).collect();
        assert_eq!(links.iter().filter(|link| link.netns_inode.is_some()).count(), 1, "{links:?}");
        // Those at the root of the cgroups, by which the app sees callers.
        assert!(links.len() <= 3, "{links:?}");
        Ok(())
    });
}

#[test]
fn a_namespace_that_appears_later_is_armed_then() {
    play(|s| {
        let path = s.pod.netns_path().to_string_lossy().replace("-web", "-late");
        let file = s
            .web(&s.rule())
            .replace("name: web", "name: late")
            .replace(&*s.pod.netns_path().to_string_lossy(), &path);
        let daemon = Daemon::start(s.t, &file, &[])?;
        let state = daemon.wait_rules("late", "pending")?;
        assert_eq!(state["workloads"][0]["rules"][0]["reason"], "NetnsNotFound", "{state}");
        assert!(
            daemon.get("/readyz").is_ok(),
            "waiting for somebody else's pod is no fault of ours"
        );

        let late = s.t.pod("late")?;
        let appeared = Instant::now();
        daemon.wait_active("late")?;
        assert!(appeared.elapsed() < SECOND, "took {:?}", appeared.elapsed());
        assert_eq!(who(&s.client, (late.ip4(), 8080))?, "laptop");
        Ok(())
    });
}

#[test]
fn a_port_of_a_namespace_belongs_to_one_workload_until_that_is_gone() {
    play(|mut s| {
        // Both would pass what nobody takes on to the app, and each would take that for a caller's.
        s.dev.stop_listening();
        let twin = |name: &str| s.web(&s.rule()).replace("name: web", &format!("name: {name}"));
        let both = twin("a") + twin("b").trim_start_matches("workloads:\n");
        let daemon = Daemon::start(s.t, &both, &[])?;
        daemon.wait_active("a")?;
        let state = daemon.wait_rules("b", "pending")?;
        let told = state["workloads"][1]["rules"][0].to_string();
        assert!(told.contains("PortTaken") && told.contains("workload a"), "{told}");
        for _ in 0..5 {
            assert_eq!(s.who()?, "app");
        }
        assert_eq!(outcomes(&daemon, "a")?, counted([("fell_back/target_refused", 5)]));

        daemon.rewrite_workloads(&twin("b"))?;
        daemon.wait_active("b")?;
        assert_eq!(s.who()?, "app");
        Ok(())
    });
}

#[test]
fn a_workload_may_be_given_by_the_pid_of_a_process() {
    play(|s| {
        // Not by `spawn`, whose log lies beside the workloads file: closing it would wake the daemon.
        let mut process = s.pod.command("sleep").arg("600").stdin(Stdio::null()).spawn()?;
        let file = s.web(&s.rule());
        let file = file.replace(
            &format!("netns: {}", s.pod.netns_path().display()),
            &format!("pid: {}", process.id()),
        );
        let daemon = Daemon::start(s.t, &file, &[])?;
        daemon.wait_active("web")?;
        assert_eq!(s.who()?, "laptop");

        process.kill()?;
        process.wait()?;
        wait_until("the app", SECOND, || s.who().is_ok_and(|tag| tag == "app"))?;
        let state = daemon.wait_rules("web", "pending")?;
        assert_eq!(state["workloads"][0]["rules"][0]["reason"], "NetnsNotFound", "{state}");
        Ok(())
    });
}

#[test]
fn the_namespace_of_the_node_is_never_touched() {
    play(|s| {
        let node = s.t.node();
        let _app = TcpService::tagged(node, (node.ip4(), 8080), "node-app")?;
        let file = workload(node, &s.rule());
        let daemon = Daemon::start(s.t, &file, &[])?;
        let state = daemon.wait_rules("node", "refused")?;
        assert_eq!(state["workloads"][0]["rules"][0]["reason"], "HostNetwork", "{state}");
        assert_eq!(who(&s.client, (node.ip4(), 8080))?, "node-app");
        assert!(bpf_inventory()?.links_in(node)?.is_empty());
        Ok(())
    });
}

// --- the workloads file ---------------------------------------------------------------------------------------------

/// What the file says is in force: who answers a call follows it.
fn follows(s: &Scene<'_>, change: impl Fn(&str) -> Result<()>) -> Result<()> {
    for (content, expected) in
        [(s.without_rule(), "app"), (s.web(&s.rule()), "laptop"), (s.without_rule(), "app")]
    {
        change(&content)?;
        wait_until(&format!("an answer by {expected}"), SOON, || {
            s.who().is_ok_and(|tag| tag == expected)
        })?;
    }
    Ok(())
}

#[test]
fn a_workloads_file_that_is_replaced_by_renaming_takes_effect() {
    play(|s| {
        let daemon = s.daemon()?;
        follows(&s, |content| daemon.rewrite_workloads(content))
    });
}

#[test]
fn a_workloads_file_that_is_written_in_place_takes_effect() {
    play(|s| {
        let daemon = s.daemon()?;
        follows(&s, |content| Ok(fs::write(daemon.workloads_file(), content)?))
    });
}

#[test]
fn a_workloads_file_that_is_removed_and_written_anew_takes_effect() {
    play(|s| {
        let daemon = s.daemon()?;
        follows(&s, |content| {
            fs::remove_file(daemon.workloads_file())?;
            daemon.wait_state("the missing file to be noticed", |state| {
                state["source_error"].is_string()
            })?;
            Ok(fs::write(daemon.workloads_file(), content)?)
        })
    });
}

#[test]
fn a_workloads_file_from_a_config_map_takes_effect() {
    play(|s| {
        let daemon = s.daemon()?;
        let file = daemon.workloads_file();
        let dir = file.parent().context("a folder")?;
        // As the kubelet does it: the file is a link through `..data`, which is itself a link that is replaced.
        let publish = |version: usize, content: &str| -> Result<()> {
            let folder = dir.join(format!("..{version}"));
            fs::create_dir(&folder)?;
            fs::write(folder.join("workloads.yaml"), content)?;
            swap_link(&folder, &dir.join("..data"))
        };
        publish(0, &s.web(&s.rule()))?;
        swap_link(Path::new("..data/workloads.yaml"), file)?;
        let version = std::cell::Cell::new(0);
        follows(&s, |content| {
            version.set(version.get() + 1);
            publish(version.get(), content)
        })
    });
}

#[test]
fn sighup_has_the_workloads_file_read_again() {
    play(|s| {
        let daemon = s.daemon()?;
        // Behind a link to another folder nobody sees it change.
        let elsewhere = s.t.dir().join("elsewhere");
        fs::create_dir(&elsewhere)?;
        let real = elsewhere.join("workloads.yaml");
        fs::write(&real, s.web(&s.rule()))?;
        swap_link(&real, daemon.workloads_file())?;
        follows(&s, |content| {
            fs::write(&real, content)?;
            daemon.signal(Signal::SIGHUP)
        })
    });
}

#[test]
fn a_workloads_file_that_can_not_be_read_changes_nothing() {
    play(|s| {
        let daemon = s.daemon()?;
        let caller = Caller::new(&s.client, s.port()).start()?;
        caller.wait_for_tag("laptop", SOON)?;
        let good = s.web(&s.rule());
        for (broken, place) in [
            ("workloads:\n  - name: web\n    netns: nowhere\n", ":3:12"),
            ("workloads: [\n", "workloads.yaml:"),
            ("", "workloads.yaml:"),
        ] {
            daemon.rewrite_workloads(broken)?;
            let state = daemon.wait_state("the error to be told", |state| {
                state["source_error"].as_str().is_some_and(|error| error.contains(place))
            })?;
            assert_eq!(state["workloads"][0]["rules"][0]["state"], "active", "{state}");
            assert_eq!(daemon.metric("interceptor_workloads_file_invalid", &[]), 1.0);
            caller.wait_for_calls(20, SOON)?;
            daemon.rewrite_workloads(&good)?;
            daemon.wait_state("the error to be gone", |state| state["source_error"].is_null())?;
        }
        assert_eq!(daemon.metric("interceptor_workloads_file_invalid", &[]), 0.0);
        let report = caller.stop();
        assert_eq!(report.count("laptop"), report.calls.len(), "{report}");
        Ok(())
    });
}

#[test]
fn a_rule_that_can_not_be_read_leaves_the_previous_one_in_force() {
    play(|s| {
        let daemon = s.daemon()?;
        let caller = Caller::new(&s.client, s.port()).start()?;
        caller.wait_for_tag("laptop", SOON)?;
        daemon.rewrite_workloads(&s.web("8080 => 10.0.0.1:3000"))?;
        let state = daemon.wait_state("the rule to be refused", |state| {
            let rules = state["workloads"][0]["rules"].as_array();
            rules.into_iter().flatten().any(|rule| rule["reason"] == "RuleInvalid")
        })?;
        let told = state["workloads"][0]["rules"].to_string();
        assert!(told.contains("the previous rules stay in force"), "{told}");
        caller.wait_for_calls(20, SOON)?;
        let report = caller.stop();
        assert_eq!(report.count("laptop"), report.calls.len(), "{report}");
        assert_eq!(sum(&outcomes(&daemon, "web")?, "redirected"), report.calls.len() as u64);
        Ok(())
    });
}

// --- helpers --------------------------------------------------------------------------------------------------------

/// Puts a link to `to` at `at`, in place of whatever is there, in one step.
fn swap_link(to: &Path, at: &Path) -> Result<()> {
    let new = at.with_file_name("..new");
    symlink(to, &new)?;
    Ok(fs::rename(&new, at)?)
}

/// Every address on which somebody in a namespace listens.
fn listeners(netns: &Namespace) -> Vec<SocketAddr> {
    let tables = netns.run(|| {
        ["tcp", "tcp6"].map(|table| {
            fs::read_to_string(Path::new("/proc/thread-self/net").join(table)).unwrap_or_default()
        })
    });
    let mut found: Vec<SocketAddr> = tables
        .iter()
        .flat_map(|table| table.lines().skip(1))
        .filter_map(|line| {
            // Slot, local address, remote address, state; 0A is LISTEN.
            let fields: Vec<&str> = line.split_whitespace().collect();
            (fields.get(3) == Some(&"0A")).then(|| address(fields[1])).flatten()
        })
        .collect();
    found.sort();
    found
}

/// Reads an address of `/proc/net/tcp`: words of four bytes in the machine's order, each printed as a number.
fn address(text: &str) -> Option<SocketAddr> {
    let (ip, port) = text.split_once(':')?;
    let words = ip.as_bytes().chunks(8).map(|word| {
        let word = u32::from_str_radix(std::str::from_utf8(word).ok()?, 16).ok()?;
        Some(word.to_ne_bytes())
    });
    let bytes = words.collect::<Option<Vec<_>>>()?.concat();
    let ip: IpAddr = match <[u8; 4]>::try_from(bytes.as_slice()) {
        Ok(bytes) => bytes.into(),
        Err(_) => <[u8; 16]>::try_from(bytes.as_slice()).ok()?.into(),
    };
    Some(SocketAddr::new(ip, u16::from_str_radix(port, 16).ok()?))
}
