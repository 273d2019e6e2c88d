//! Open files or source ports run out.

use std::{fs, io::Read as _, process::Command, thread};

use anyhow::{Context as _, Result, ensure};
use interceptor_tests::{Fixture, TIMEOUT, outcomes, run, sum};
use rstest::rstest;
use testbed::{
    CommandExt as _, Connection, Daemon, Protocol, TcpService, call, wait_until, workload,
};

/// Opens `count` connections one after the other, with a request on each. Returns the connections
/// and the number of those that the target answered.
fn hold(f: &Fixture<'_>, count: usize) -> Result<(Vec<Connection>, u64)> {
    let mut held = Vec::new();
    let mut stolen = 0;
    for number in 0..count {
        let mut connection = Connection::open(&f.client, f.port(), Protocol::Line)
            .with_context(|| format!("open connection {number}"))?;
        let answer = connection.ask().with_context(|| format!("request on connection {number}"))?;
        stolen += u64::from(answer.tag == "laptop");
        held.push(connection);
    }
    Ok((held, stolen))
}

#[test]
fn the_soft_limit_of_open_files_is_raised_to_the_hard_limit() {
    run(|f| {
        let daemon = f.daemon_adapted(&f.rule(), |command| {
            let mut limited = f.t.node().command("sh");
            limited.args(["-c", "ulimit -Sn 100; ulimit -Hn 1000; exec \"$0\" \"$@\""]);
            limited.arg(command.get_program()).args(command.get_args());
            *command = limited;
            Ok(())
        })?;
        let limits = fs::read_to_string(format!("/proc/{}/limits", daemon.pid()))?;
        let files = limits
            .lines()
            .find_map(|line| line.strip_prefix("Max open files"))
            .context("no limit of open files")?;
        assert_eq!(files.split_whitespace().collect::<Vec<_>>(), ["1000", "1000", "files"]);
        let (held, stolen) = hold(&f, 100)?;
        assert_eq!(stolen, held.len() as u64);
        Ok(())
    });
}

#[test]
fn the_app_serves_the_connections_beyond_the_limit_of_open_files() {
    run(|f| {
        const CALLS: usize = 100;
        let daemon = f.daemon_adapted(&f.rule(), |command| {
            command.open_files(128);
            Ok(())
        })?;
        let limit = daemon.state()?["connections"]["limit"].as_u64().context("no limit")?;
        // No other rule has connections.
        let max = limit * 9 / 10;
        assert!(max > 0 && max < CALLS as u64, "{max}");

        // The credit of the canary, which has ended, is available again at the next heartbeat. So
        // the app may serve some clients before all credits are used.
        let (mut held, mut stolen) = (Vec::new(), 0);
        wait_until("all credits to be used", TIMEOUT, || {
            let (more, to_laptop) = hold(&f, CALLS / 10)?;
            held.extend(more);
            stolen += to_laptop;
            ensure!(stolen >= max, "{stolen} of {max}");
            Ok(())
        })?;
        let (more, to_laptop) = hold(&f, CALLS)?;
        held.extend(more);
        stolen += to_laptop;
        assert!(held.len() > CALLS);
        assert_eq!(stolen, max);
        for connection in &mut held {
            connection.ask().context("a second request")?;
        }
        let outcomes = outcomes(&daemon, "web")?;
        assert_eq!(outcomes["redirected"], stolen, "{outcomes:?}");
        let passed = sum(&outcomes, "passed");
        assert_eq!(passed, held.len() as u64 - stolen, "{outcomes:?}");
        // The kernel keeps them away from the relay once the daemon has told it.
        assert!(outcomes["passed/rule_at_limit"] > 0, "{outcomes:?}");
        let rule = daemon.workload("web")?["rules"][0].clone();
        let message = rule["message"].as_str().unwrap_or_default();
        let expected =
            format!("it has {max} connections, its maximum: further clients get the app");
        assert!(rule["state"] == "active" && message.contains(&expected), "{rule}");
        assert!(daemon.get("/livez").is_ok());

        drop(held);
        f.wait_served_by("laptop", TIMEOUT)
    });
}

#[test]
fn a_rule_leaves_half_of_what_is_free_to_the_others() {
    run(|f| {
        let api = f.t.pod("api")?;
        let _api_app = TcpService::tagged(&api, (api.ip4(), 8080), "app")?;
        let rule = f.rule();
        let both = f.web(&rule) + workload(&api, &rule).trim_start_matches("workloads:\n");
        let daemon = Daemon::start_with(f.t, &both, |command| {
            command.open_files(256);
            Ok(())
        })?;
        daemon.wait_active("web")?;
        daemon.wait_active("api")?;
        let limit = daemon.state()?["connections"]["limit"].as_u64().context("no limit")?;
        let mut of_api = Connection::open(&f.client, (api.ip4(), 8080), Protocol::Line)?;
        assert_eq!(of_api.ask()?.tag, "laptop");

        let max = (limit - 1) / 2;
        let (held, stolen) = hold(&f, 2 * usize::try_from(limit)?)?;
        assert_eq!(stolen, max, "of {limit}");
        let message = daemon.workload("web")?["rules"][0]["message"].to_string();
        assert!(message.contains("its maximum while other rules have connections"), "{message}");
        let message = daemon.workload("api")?["rules"][0]["message"].to_string();
        assert!(!message.contains("maximum"), "{message}");
        // The other rule has room.
        let more: Vec<_> = (0..4)
            .map(|_| {
                let mut more = Connection::open(&f.client, (api.ip4(), 8080), Protocol::Line)?;
                more.ask().map(|answer| (answer.tag, more))
            })
            .collect::<std::io::Result<_>>()?;
        assert!(more.iter().all(|(tag, _)| tag == "laptop"));
        drop(held);
        f.wait_served_by("laptop", TIMEOUT)?;
        wait_until("the message to end", TIMEOUT, || {
            let message = daemon.workload("web")?["rules"][0]["message"].to_string();
            ensure!(!message.contains("maximum"), "{message}");
            Ok(())
        })
    });
}

#[test]
fn a_burst_of_connections_beyond_the_limit_of_open_files_is_served() {
    run(|f| {
        const CALLS: usize = 200;
        let daemon = f.daemon_adapted(&f.rule(), |command| {
            command.open_files(128);
            Ok(())
        })?;
        let (client, port) = (&f.client, f.port());
        // Every connection stays open until all have an answer.
        let answered = thread::scope(|scope| {
            let calls: Vec<_> = (0..CALLS)
                .map(|_| {
                    scope.spawn(move || -> Result<Connection> {
                        let mut connection = Connection::open(client, port, Protocol::Line)?;
                        connection.ask()?;
                        Ok(connection)
                    })
                })
                .collect();
            calls.into_iter().map(|call| call.join().expect("no panic")).collect::<Vec<_>>()
        });
        let failures: Vec<_> = answered.iter().filter_map(|call| call.as_ref().err()).collect();
        assert!(failures.is_empty(), "{} of {CALLS}: {:?}", failures.len(), failures.first());
        let outcomes = outcomes(&daemon, "web")?;
        assert_eq!(outcomes.values().sum::<u64>(), CALLS as u64, "{outcomes:?}");
        assert_eq!(sum(&outcomes, "refused"), 0, "{outcomes:?}");
        // Besides, the daemon may have found out whether the target leads back.
        let probes = f.target.connections() - outcomes["redirected"];
        assert!(probes <= 4, "{probes} probes, {outcomes:?}");
        drop(answered);
        f.wait_served_by("laptop", TIMEOUT)
    });
}

#[test]
fn a_rule_is_pending_when_the_limit_of_open_files_allows_no_connection() {
    run(|f| {
        let daemon = Daemon::start_with(f.t, &f.web(&f.rule()), |command| {
            command.open_files(80);
            Ok(())
        })?;
        daemon.wait_rules("web", "pending")?;
        for _ in 0..20 {
            assert_eq!(f.served_by()?, "app");
        }
        assert!(daemon.get("/livez").is_ok());
        Ok(())
    });
}

#[test]
fn no_connection_is_refused_when_open_files_run_out_unexpectedly() {
    run(|f| {
        let daemon = f.daemon()?;
        let open = daemon.open_files()?;
        // The daemon does not know this limit, as when the whole machine runs out of files.
        let limit = format!("--nofile={}", open + 9);
        let status =
            Command::new("prlimit").args(["--pid", &daemon.pid().to_string(), &limit]).status()?;
        ensure!(status.success(), "prlimit: {status}");
        let (held, stolen) = hold(&f, 30)?;
        assert!(stolen < 30);
        drop(held);
        f.wait_served_by("laptop", TIMEOUT)?;
        assert!(daemon.get("/livez").is_ok());
        let outcomes = outcomes(&daemon, "web")?;
        assert_eq!(sum(&outcomes, "refused"), 0, "{outcomes:?}");
        Ok(())
    });
}

#[rstest]
#[case::for_the_target(15)]
#[case::for_the_target_and_the_app(40)]
fn the_app_serves_when_ephemeral_ports_run_out(#[case] calls: usize) {
    run(|f| {
        let daemon = f.daemon()?;
        // Ten ports for connections from the pod, those of the relay included.
        f.pod.sysctl("net/ipv4/ip_local_port_range", "50000 50009")?;
        let (mut held, stolen) = hold(&f, calls)?;
        for connection in &mut held {
            connection.ask().context("a second request")?;
        }
        assert!(stolen > 0 && stolen <= 10, "{stolen}");
        let outcomes = outcomes(&daemon, "web")?;
        assert_eq!(outcomes["redirected"], stolen, "{outcomes:?}");
        assert_eq!(outcomes.values().sum::<u64>(), calls as u64, "{outcomes:?}");
        assert_eq!(sum(&outcomes, "refused"), 0, "{outcomes:?}");

        drop(held);
        f.wait_served_by("laptop", TIMEOUT)
    });
}

#[test]
fn connections_that_fall_back_use_no_ephemeral_port_of_the_pod() {
    run(|mut f| {
        let _daemon = f.daemon()?;
        f.target.stop_listening();
        let other = TcpService::tagged(&f.client, (f.client.ip4(), 3000), "other")?;
        f.pod.sysctl("net/ipv4/ip_local_port_range", "50000 50009")?;
        // Some connections are closed by the client, which leaves their ports in TIME_WAIT for a
        // minute. Others stay open.
        for _ in 0..20 {
            assert_eq!(f.served_by()?, "app");
        }
        let (held, stolen) = hold(&f, 20)?;
        assert_eq!(stolen, 0);
        assert_eq!(call(&f.pod, other.addr(), Protocol::Line)?.tag, "other");
        drop(held);
        Ok(())
    });
}

/// The kernel drops the app's end of such a connection after a while. Without a check, the client's
/// end would keep the relay's connection for ever.
#[test]
#[ignore = "more than a minute"]
fn a_connection_that_the_app_has_closed_ends_when_the_client_keeps_it_open() {
    run(|mut f| {
        let daemon = f.daemon()?;
        f.target.stop_listening();
        f.pod.sysctl("net/ipv4/tcp_fin_timeout", "1")?;
        let kept = Connection::open(&f.client, f.port(), Protocol::Line)?;
        wait_until("the app to accept", TIMEOUT, || f.app.open() == 1)?;
        f.app.close_connections();
        assert_eq!(kept.stream().read(&mut [0])?, 0);
        wait_until("the end of the relay's connection", 9 * TIMEOUT, || {
            let open = daemon.metric("interceptor_open_connections", &[]);
            ensure!(open < 1.0, "{open}");
            Ok(())
        })?;
        Ok(())
    });
}
