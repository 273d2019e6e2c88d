//! Failing open: whatever becomes of us or of the target, callers are served. Each test is one promise.

use std::{
    fs,
    io::Read as _,
    net::Shutdown,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use interceptor_tests::{
    Arrivals, Frozen, SECOND, SOON, Scene, SecondDaemon, counted, outcomes, play, sum, threads,
};
use nix::sys::signal::Signal;
use rstest::rstest;
use testbed::{
    Caller, CommandExt as _, Connection, Daemon, Question, Report, RunningCaller, TcpService, call,
    wait_until,
};

/// What a call may take that nobody lets wait, on a machine that is busy with other tests.
const AT_ONCE: Duration = Duration::from_millis(300);

/// Callers as the tests need them: several, all the time.
fn load(s: &Scene<'_>) -> Result<RunningCaller> {
    let caller = Caller::new(&s.client, s.port()).threads(4).start()?;
    caller.wait_for_tag("laptop", SOON)?;
    Ok(caller)
}

/// Nobody was let down.
fn no_call_failed(report: &Report) -> Result<()> {
    ensure!(report.failures().is_empty(), "{report}");
    Ok(())
}

// --- the daemon dies ------------------------------------------------------------------------------------------------

#[test]
fn after_sigkill_the_app_serves_and_only_stolen_connections_break() {
    play(|s| {
        let mut daemon = s.daemon()?;
        let mut stolen = Connection::open(&s.client, s.port(), Question::Line)?;
        assert_eq!(stolen.ask()?.tag, "laptop");
        let caller = load(&s)?;

        let killed = Instant::now();
        daemon.signal(Signal::SIGKILL)?;
        daemon.wait()?;
        let dead = Instant::now();
        caller.wait_for_calls(200, SOON)?;
        let report = caller.stop();

        let after = report.since(dead);
        assert_eq!(after.count("app"), after.calls.len(), "{after}");
        assert!(after.longest() < AT_ONCE, "{after}");
        let broken = report.failures();
        assert!(broken.iter().all(|call| call.started + call.duration > killed), "{report}");
        assert!(stolen.ask().is_err(), "who should have answered?");
        Ok(())
    });
}

#[test]
fn after_sigterm_no_call_fails_and_stolen_connections_finish() {
    play(|s| {
        let mut daemon = s.daemon()?;
        let mut stolen = Connection::open(&s.client, s.port(), Question::Line)?;
        assert_eq!(stolen.ask()?.tag, "laptop");
        let caller = load(&s)?;

        daemon.signal(Signal::SIGTERM)?;
        caller.wait_for_tag("app", SECOND)?;
        // Not that call's begin: another one that began later may have come before it.
        let given_back = Instant::now();
        for _ in 0..20 {
            assert_eq!(stolen.ask()?.tag, "laptop");
            caller.wait_for_calls(20, SOON)?;
        }
        assert!(daemon.get("/state").is_ok(), "it should wait for the stolen connection");
        stolen.stream().shutdown(Shutdown::Both)?;
        let status = daemon.wait()?;
        caller.wait_for_calls(50, SOON)?;
        let report = caller.stop();

        assert!(status.success(), "{status}");
        no_call_failed(&report)?;
        assert!(report.longest() < AT_ONCE, "{report}");
        assert_eq!(report.since(given_back).count("laptop"), 0, "{report}");
        Ok(())
    });
}

#[test]
fn sigterm_again_and_again_fails_no_call() {
    play(|s| {
        let caller =
            Caller::new(&s.client, s.port()).threads(4).interval(Duration::ZERO).start()?;
        for _ in 0..5 {
            let mut daemon = s.daemon()?;
            caller.wait_for_tag("laptop", SOON)?;
            daemon.signal(Signal::SIGTERM)?;
            assert!(daemon.wait()?.success());
            caller.wait_for_tag("app", SOON)?;
        }
        let report = caller.stop();
        no_call_failed(&report)?;
        assert!(report.longest() < AT_ONCE, "{report}");
        Ok(())
    });
}

#[test]
fn stolen_connections_go_on_for_as_long_as_the_drain_timeout_allows() {
    play(|s| {
        let mut daemon = s.daemon_with(&s.rule(), &["--drain-timeout", "6s"])?;
        let mut stolen = Connection::open(&s.client, s.port(), Question::Line)?;
        assert_eq!(stolen.ask()?.tag, "laptop");
        let asked = Instant::now();
        daemon.signal(Signal::SIGTERM)?;
        wait_until("the app", SOON, || s.who().is_ok_and(|tag| tag == "app"))?;
        // Past everything that the daemon does by itself after SIGTERM.
        while asked.elapsed() < 5 * SECOND {
            assert_eq!(stolen.ask()?.tag, "laptop", "after {:?}", asked.elapsed());
        }
        drop(stolen);
        assert!(daemon.wait()?.success());
        assert!(asked.elapsed() < 6 * SECOND, "nothing was left to wait for");
        Ok(())
    });
}

#[test]
fn the_drain_timeout_cuts_what_does_not_end() {
    play(|s| {
        let mut daemon = s.daemon_with(&s.rule(), &["--drain-timeout", "1s"])?;
        let mut stolen = Connection::open(&s.client, s.port(), Question::Line)?;
        assert_eq!(stolen.ask()?.tag, "laptop");
        let asked = Instant::now();
        daemon.signal(Signal::SIGTERM)?;
        wait_until("the app", SOON, || s.who().is_ok_and(|tag| tag == "app"))?;
        assert_eq!(stolen.ask()?.tag, "laptop", "there is time left");
        assert!(daemon.wait()?.success());
        let took = asked.elapsed();
        assert!(took >= SECOND && took < SECOND * 2, "ended after {took:?}");
        assert!(stolen.ask().is_err(), "who should have answered?");
        Ok(())
    });
}

// --- the daemon hangs -----------------------------------------------------------------------------------------------

#[test]
fn during_sigstop_the_app_serves_within_a_second_and_after_sigcont_the_steal_resumes() {
    play(|s| {
        let daemon = s.daemon()?;
        let mut stolen = Connection::open(&s.client, s.port(), Question::Line)?;
        assert_eq!(stolen.ask()?.tag, "laptop");
        let arrivals = Arrivals::start(&s.client, s.port(), Duration::from_millis(20));
        wait_until("an arrival", SOON, || s.dev.requests() > 1)?;

        daemon.signal(Signal::SIGSTOP)?;
        let stopped = Instant::now();
        wait_until("the app to serve", SECOND, || s.app.requests() > 0)?;
        // From here on for longer than a heartbeat lives.
        let goal = s.app.requests() + 40;
        wait_until("many more calls to the app", SOON, || s.app.requests() >= goal)?;
        let resumed = Instant::now();
        daemon.signal(Signal::SIGCONT)?;
        let seen = s.dev.requests();
        // Those that hung are served now, and then new ones.
        wait_until("the laptop to serve again", SECOND, || s.dev.requests() > seen)?;
        assert_eq!(stolen.ask()?.tag, "laptop");
        wait_until("new calls to be stolen", SOON, || s.who().is_ok_and(|tag| tag == "laptop"))?;
        let report = arrivals.stop();

        let hung: Vec<_> = report
            .since(stopped + SECOND)
            .calls
            .into_iter()
            .filter(|call| call.started < resumed)
            .collect();
        assert!(hung.len() > 10, "{report}");
        for call in &hung {
            assert!(call.tag() == Some("app") && call.duration < AT_ONCE, "{call}");
        }
        no_call_failed(&report)?;
        // A call is counted for each time that its first packet was seen.
        let outcomes = outcomes(&daemon, "web")?;
        assert!(
            outcomes["passed/daemon_hung"] >= report.count("app") as u64,
            "{outcomes:?}; {report}"
        );
        Ok(())
    });
}

#[test]
fn workers_that_are_stuck_leave_the_port_to_the_app() {
    play(|s| {
        let daemon = s.daemon()?;
        let arrivals = Arrivals::start(&s.client, s.port(), Duration::from_millis(20));
        wait_until("an arrival", SOON, || s.dev.requests() > 0)?;
        let frozen = Frozen::new(&threads(daemon.pid(), "relay-")?)?;
        let stuck = Instant::now();
        wait_until("the app to serve", SECOND, || s.app.requests() > 0)?;
        // The control side is alive, and it tells.
        wait_until("/livez to say so", SECOND, || daemon.get("/livez").is_err())?;
        assert!(daemon.metric("interceptor_heartbeat_age_seconds", &[]) > 0.5);
        let goal = s.app.requests() + 30;
        wait_until("more calls to the app", SOON, || s.app.requests() >= goal)?;
        let resumed = Instant::now();
        drop(frozen);
        wait_until("new calls to be stolen", SOON, || s.who().is_ok_and(|tag| tag == "laptop"))?;
        wait_until("/livez to be content", SOON, || daemon.get("/livez"))?;
        let report = arrivals.stop();

        let hung: Vec<_> = report
            .since(stuck + SECOND)
            .calls
            .into_iter()
            .filter(|call| call.started < resumed)
            .collect();
        for call in &hung {
            assert!(call.tag() == Some("app") && call.duration < AT_ONCE, "{call}");
        }
        no_call_failed(&report)
    });
}

#[test]
fn a_worker_that_is_stuck_leaves_its_share_to_the_others() {
    play(|s| {
        let daemon = s.daemon_with(&s.rule(), &["--workers", "2"])?;
        let arrivals = Arrivals::start(&s.client, s.port(), Duration::from_millis(20));
        wait_until("an arrival", SOON, || s.dev.requests() > 0)?;
        let frozen = Frozen::new(&threads(daemon.pid(), "relay-")?[..1])?;
        let stuck = Instant::now();
        wait_until("the second worker to be alone", SOON, || daemon.get("/livez").is_err())?;
        let goal = s.dev.requests() + 50;
        wait_until("many calls", SOON, || s.dev.requests() >= goal)?;
        let resumed = Instant::now();
        drop(frozen);
        let report = arrivals.stop();

        let after: Vec<_> = report
            .since(stuck + SECOND)
            .calls
            .into_iter()
            .filter(|call| call.started < resumed)
            .collect();
        assert!(after.len() > 10, "{report}");
        for call in &after {
            assert!(call.tag() == Some("laptop") && call.duration < AT_ONCE, "{call}");
        }
        no_call_failed(&report)?;
        assert_eq!(report.count("app"), 0, "{report}");
        Ok(())
    });
}

// --- the target -----------------------------------------------------------------------------------------------------

#[test]
fn a_target_that_refuses_costs_its_callers_nothing() {
    play(|mut s| {
        let daemon = s.daemon()?;
        s.dev.stop_listening();
        let caller = Caller::new(&s.client, s.port()).threads(4).start()?;
        caller.wait_for_calls(200, SOON)?;
        assert_eq!(caller.report().count("laptop"), 0);
        drop(std::mem::replace(
            &mut s.dev,
            TcpService::tagged(&s.laptop, (s.laptop.ip4(), 3000), "laptop")?,
        ));
        caller.wait_for_tag("laptop", SECOND)?;
        caller.wait_for_calls(50, SOON)?;
        let report = caller.stop();

        no_call_failed(&report)?;
        assert!(report.longest() < AT_ONCE, "{report}");
        let (app, laptop) = (report.count("app") as u64, report.count("laptop") as u64);
        assert_eq!(
            outcomes(&daemon, "web")?,
            counted([("redirected", laptop), ("fell_back/target_refused", app)])
        );
        Ok(())
    });
}

#[test]
fn a_target_that_refuses_while_the_app_is_not_there_either_refuses() {
    play(|s| {
        let daemon = s.daemon()?;
        let port = s.port();
        drop((s.dev, s.app));
        let error = interceptor_tests::who(&s.client, port).expect_err("nobody is there").kind();
        assert!(
            [std::io::ErrorKind::ConnectionRefused, std::io::ErrorKind::ConnectionReset]
                .contains(&error),
            "{error}"
        );
        assert_eq!(outcomes(&daemon, "web")?, counted([("refused/app_refused", 1)]));
        Ok(())
    });
}

#[test]
fn a_silent_target_is_not_waited_for_after_some_failures_until_it_is_back() {
    play(|s| {
        let daemon = s.daemon()?;
        s.laptop.fall_asleep()?;
        // One caller: each of the first calls pays the time-out.
        let caller = Caller::new(&s.client, s.port()).start()?;
        wait_until("the circuit to open", SOON, || {
            caller
                .report()
                .calls
                .iter()
                .any(|call| call.tag() == Some("app") && call.duration < AT_ONCE)
        })?;
        let open = Instant::now();
        caller.wait_for_calls(100, SOON)?;
        daemon.wait_state("status to say so", |state| {
            let message = &state["workloads"][0]["rules"][0]["message"];
            message.as_str().is_some_and(|message| message.contains("is silent"))
        })?;
        s.laptop.wake_up()?;
        caller.wait_for_tag("laptop", SOON)?;
        caller.wait_for_calls(50, SOON)?;
        let report = caller.stop();

        no_call_failed(&report)?;
        let (paid, rest) = report.calls.split_at(3);
        for call in paid {
            assert!(call.tag() == Some("app"), "{call}");
            assert!(
                call.duration >= Duration::from_millis(900)
                    && call.duration < Duration::from_millis(1500),
                "{call}"
            );
        }
        for call in rest {
            assert!(call.duration < AT_ONCE, "nobody pays once the circuit is open: {call}");
        }
        assert!(report.since(open).count("app") >= 50, "{report}");
        let (app, laptop) = (report.count("app") as u64, report.count("laptop") as u64);
        assert_eq!(
            outcomes(&daemon, "web")?,
            counted([
                ("redirected", laptop),
                ("fell_back/target_timeout", 3),
                ("fell_back/circuit_open", app - 3),
            ])
        );
        Ok(())
    });
}

#[test]
fn the_connect_time_out_is_the_admins_choice() {
    play(|s| {
        let policy = s.t.dir().join("policy.yaml");
        fs::write(&policy, "connectTimeout: 200ms\n")?;
        let _daemon = s.daemon_with(&s.rule(), &["--policy", &policy.to_string_lossy()])?;
        s.laptop.fall_asleep()?;
        let started = Instant::now();
        assert_eq!(s.who()?, "app");
        let took = started.elapsed();
        assert!(
            took >= Duration::from_millis(200) && took < Duration::from_millis(500),
            "took {took:?}"
        );
        Ok(())
    });
}

#[test]
fn a_target_without_a_route_costs_its_callers_nothing() {
    play(|s| {
        let daemon = s.daemon()?;
        s.pod.ip(&format!("route add unreachable {}", s.laptop.ip4()))?;
        let caller = Caller::new(&s.client, s.port()).start()?;
        caller.wait_for_calls(100, SOON)?;
        s.pod.ip(&format!("route del unreachable {}", s.laptop.ip4()))?;
        caller.wait_for_tag("laptop", SOON)?;
        let report = caller.stop();
        no_call_failed(&report)?;
        assert!(report.longest() < AT_ONCE, "{report}");
        let outcomes = outcomes(&daemon, "web")?;
        assert_eq!(outcomes["fell_back/target_unreachable"], 3, "{outcomes:?}");
        assert_eq!(
            sum(&outcomes, "fell_back"),
            report.count("app") as u64,
            "{outcomes:?}; {report}"
        );
        assert_eq!(
            sum(&outcomes, "redirected"),
            report.count("laptop") as u64,
            "{outcomes:?}; {report}"
        );
        Ok(())
    });
}

#[test]
fn many_callers_at_once_of_a_silent_target_are_all_served() {
    play(|s| {
        let daemon = s.daemon()?;
        s.laptop.fall_asleep()?;
        let arrivals = Arrivals::start(&s.client, s.port(), Duration::from_millis(10));
        // Those that came before the circuit opened wait as long as the time-out; nobody after that.
        daemon.wait_metric(
            "interceptor_connections_total",
            &[("reason", "circuit_open")],
            |count| count >= 50.0,
        )?;
        let report = arrivals.stop();
        no_call_failed(&report)?;
        assert_eq!(report.count("app"), report.calls.len(), "{report}");
        assert!(report.longest() < Duration::from_millis(1500), "{report}");
        Ok(())
    });
}

#[test]
fn a_target_that_dies_ends_its_connections_and_new_ones_go_to_the_app() {
    play(|s| {
        let daemon = s.daemon()?;
        let mut stolen = Connection::open(&s.client, s.port(), Question::Line)?;
        assert_eq!(stolen.ask()?.tag, "laptop");
        let mut direct = Connection::open(&s.client, (s.laptop.ip4(), 3000), Question::Line)?;
        assert_eq!(direct.ask()?.tag, "laptop");
        let Scene { dev, client, app, pod, .. } = s;
        dev.stop();
        let ends = [&mut stolen, &mut direct]
            .map(|connection| connection.answer().map_err(|error| error.kind()));
        assert_eq!(ends[0], ends[1], "through the relay, and without it");
        assert!(ends[0].is_err());
        assert_eq!(interceptor_tests::who(&client, (pod.ip4(), 8080))?, "app");
        assert_eq!(app.connections(), 1);
        assert_eq!(
            outcomes(&daemon, "web")?,
            counted([("redirected", 1), ("fell_back/target_refused", 1)])
        );
        Ok(())
    });
}

// --- something runs out ---------------------------------------------------------------------------------------------

/// Opens `count` connections one after the other and asks on each; gives them, and how many of them the laptop has.
fn hold(s: &Scene<'_>, count: usize) -> Result<(Vec<Connection>, u64)> {
    let mut held = Vec::new();
    let mut stolen = 0;
    for number in 0..count {
        let mut connection = Connection::open(&s.client, s.port(), Question::Line)
            .with_context(|| format!("open connection {number}"))?;
        let answer = connection.ask().with_context(|| format!("ask on connection {number}"))?;
        stolen += u64::from(answer.tag == "laptop");
        held.push(connection);
    }
    Ok((held, stolen))
}

#[test]
fn the_soft_limit_of_open_files_is_raised_to_the_hard_one() {
    play(|s| {
        let daemon = s.daemon_adapted(&s.rule(), |command| {
            let mut limited = s.t.node().command("sh");
            limited.args(["-c", "ulimit -Sn 100; ulimit -Hn 1000; exec \"$0\" \"$@\""]);
            limited.arg(command.get_program()).args(command.get_args());
            *command = limited;
            Ok(())
        })?;
        let limits = fs::read_to_string(format!("/proc/{}/limits", daemon.pid()))?;
        let files = limits
            .lines()
            .find_map(|line| line.strip_prefix("Max open files"))
            .context("a limit")?;
        assert_eq!(files.split_whitespace().collect::<Vec<_>>(), ["1000", "1000", "files"]);
        let (held, stolen) = hold(&s, 100)?;
        assert_eq!(stolen, held.len() as u64);
        Ok(())
    });
}

#[test]
fn when_open_files_run_out_the_app_serves_the_rest() {
    play(|s| {
        const CALLS: usize = 100;
        let daemon = s.daemon_adapted(&s.rule(), |command| {
            command.open_files(128);
            Ok(())
        })?;
        let limit = daemon.state()?["connections"]["limit"].as_u64().context("a limit")?;
        assert!(limit > 0 && limit < CALLS as u64, "{limit}");

        // The place of a connection that has ended (that of the proof that the rule is active) is free again at the next
        // beat, so some callers may meet the app before all places are taken.
        let (mut held, mut stolen) = (Vec::new(), 0);
        wait_until("all places to be taken", SOON, || {
            let (more, to_laptop) = hold(&s, CALLS / 10)?;
            held.extend(more);
            stolen += to_laptop;
            ensure!(stolen >= limit, "{stolen} of {limit}");
            Ok(())
        })?;
        let (more, to_laptop) = hold(&s, CALLS)?;
        held.extend(more);
        stolen += to_laptop;
        assert!(held.len() > CALLS);
        // Each worker finds out by itself that there is no more room, with the connection that it has just accepted.
        let workers = threads(daemon.pid(), "relay-")?.len() as u64;
        assert!((limit..limit + workers).contains(&stolen), "{stolen} of {limit}");
        for connection in &mut held {
            connection.ask().context("ask again")?;
        }
        let expected =
            counted([("redirected", stolen), ("passed/at_limit", held.len() as u64 - stolen)]);
        assert_eq!(outcomes(&daemon, "web")?, expected);
        assert!(daemon.get("/livez").is_ok());

        drop(held);
        wait_until("room for new ones", SOON, || s.who().is_ok_and(|tag| tag == "laptop"))
    });
}

#[test]
fn a_burst_of_connections_beyond_the_open_files_is_served() {
    play(|s| {
        const CALLS: usize = 200;
        let daemon = s.daemon_adapted(&s.rule(), |command| {
            command.open_files(128);
            Ok(())
        })?;
        let (client, port) = (&s.client, s.port());
        // All of them stay open until all were asked.
        let answered = thread::scope(|scope| {
            let calls: Vec<_> = (0..CALLS)
                .map(|_| {
                    scope.spawn(move || -> Result<Connection> {
                        let mut connection = Connection::open(client, port, Question::Line)?;
                        connection.ask()?;
                        Ok(connection)
                    })
                })
                .collect();
            calls.into_iter().map(|call| call.join().expect("a caller")).collect::<Vec<_>>()
        });
        let failures: Vec<_> = answered.iter().filter_map(|call| call.as_ref().err()).collect();
        assert!(failures.is_empty(), "{} of {CALLS}: {:?}", failures.len(), failures.first());
        let outcomes = outcomes(&daemon, "web")?;
        assert_eq!(outcomes.values().sum::<u64>(), CALLS as u64, "{outcomes:?}");
        assert_eq!(sum(&outcomes, "refused"), 0, "{outcomes:?}");
        assert_eq!(outcomes["redirected"], s.dev.connections(), "{outcomes:?}");
        drop(answered);
        wait_until("room for new ones", SOON, || s.who().is_ok_and(|tag| tag == "laptop"))
    });
}

#[test]
fn a_daemon_without_any_room_takes_nothing() {
    play(|s| {
        let daemon = Daemon::start_with(s.t, &s.web(&s.rule()), |command| {
            command.open_files(80);
            Ok(())
        })?;
        daemon.wait_rules("web", "pending")?;
        for _ in 0..20 {
            assert_eq!(s.who()?, "app");
        }
        assert!(daemon.get("/livez").is_ok());
        Ok(())
    });
}

#[test]
fn open_files_that_run_out_by_surprise_let_nobody_down() {
    play(|s| {
        let daemon = s.daemon()?;
        let open = daemon.open_files()?;
        // A limit that the daemon does not know of, as when the whole machine is out of files.
        let limit = format!("--nofile={}", open + 9);
        let status =
            Command::new("prlimit").args(["--pid", &daemon.pid().to_string(), &limit]).status()?;
        ensure!(status.success(), "prlimit: {status}");
        let (held, stolen) = hold(&s, 30)?;
        assert!(stolen < 30);
        drop(held);
        wait_until("room for new ones", SOON, || s.who().is_ok_and(|tag| tag == "laptop"))?;
        assert!(daemon.get("/livez").is_ok());
        let outcomes = outcomes(&daemon, "web")?;
        assert_eq!(sum(&outcomes, "refused"), 0, "{outcomes:?}");
        Ok(())
    });
}

#[rstest]
#[case::of_the_target(15)]
#[case::of_the_target_and_the_app(40)]
fn when_ephemeral_ports_run_out_the_app_serves_the_rest(#[case] calls: usize) {
    play(|s| {
        let daemon = s.daemon()?;
        // Ten ports for connections that the pod itself makes, and so for those of the relay.
        s.pod.sysctl("net/ipv4/ip_local_port_range", "50000 50009")?;
        let (mut held, stolen) = hold(&s, calls)?;
        for connection in &mut held {
            connection.ask().context("ask again")?;
        }
        assert!(stolen > 0 && stolen <= 10, "{stolen}");
        let outcomes = outcomes(&daemon, "web")?;
        assert_eq!(outcomes["redirected"], stolen, "{outcomes:?}");
        assert_eq!(outcomes.values().sum::<u64>(), calls as u64, "{outcomes:?}");
        assert_eq!(sum(&outcomes, "refused"), 0, "{outcomes:?}");

        drop(held);
        wait_until("free ports", SOON, || s.who().is_ok_and(|tag| tag == "laptop"))
    });
}

#[test]
fn callers_whom_the_app_serves_take_no_port_from_its_own_calls() {
    play(|mut s| {
        let _daemon = s.daemon()?;
        s.dev.stop_listening();
        let elsewhere = TcpService::tagged(&s.client, (s.client.ip4(), 3000), "elsewhere")?;
        s.pod.sysctl("net/ipv4/ip_local_port_range", "50000 50009")?;
        // Some end before the app does, which leaves their ports in use for a minute; some stay.
        for _ in 0..20 {
            assert_eq!(s.who()?, "app");
        }
        let (held, stolen) = hold(&s, 20)?;
        assert_eq!(stolen, 0);
        assert_eq!(call(&s.pod, elsewhere.addr(), Question::Line)?.tag, "elsewhere");
        drop(held);
        Ok(())
    });
}

/// The kernel forgets the app's end of such a connection after a while, and the caller's would keep ours for ever.
#[test]
#[ignore = "more than a minute"]
fn a_caller_who_keeps_what_the_app_has_closed_is_told_when_the_kernel_has_forgotten_it() {
    play(|mut s| {
        let daemon = s.daemon()?;
        s.dev.stop_listening();
        s.pod.sysctl("net/ipv4/tcp_fin_timeout", "1")?;
        let kept = Connection::open(&s.client, s.port(), Question::Line)?;
        wait_until("the app to have it", SOON, || s.app.open() == 1)?;
        s.app.hang_up();
        assert_eq!(kept.stream().read(&mut [0])?, 0);
        wait_until("nothing of it to be left", 9 * SOON, || {
            let open = daemon.metric("interceptor_open_connections", &[]);
            ensure!(open < 1.0, "{open}");
            Ok(())
        })?;
        Ok(())
    });
}

// --- a second daemon ------------------------------------------------------------------------------------------------

#[rstest]
#[case::killed(Signal::SIGKILL)]
#[case::ended(Signal::SIGTERM)]
fn a_second_daemon_takes_over_and_the_first_serves_after_its_end(#[case] signal: Signal) {
    play(|s| {
        let _second_target = TcpService::tagged(&s.laptop, (s.laptop.ip4(), 3001), "second")?;
        let first = s.daemon()?;
        let mut stolen = Connection::open(&s.client, s.port(), Question::Line)?;
        assert_eq!(stolen.ask()?.tag, "laptop");
        let caller = load(&s)?;

        let rule = format!("8080 -> {}:3001", s.laptop.ip4());
        let mut second = SecondDaemon::start(s.t, &s.pod, &rule)?;
        caller.wait_for_tag("second", SECOND)?;
        caller.wait_for_calls(50, SOON)?;
        assert_eq!(stolen.ask()?.tag, "laptop", "those of the first stay with it");

        let ending = Instant::now();
        second.end(signal)?;
        let ended = Instant::now();
        caller.wait_for_calls(50, SOON)?;
        let report = caller.stop();
        let after = report.since(ended);
        assert_eq!(after.count("laptop"), after.calls.len(), "{after}");
        if signal == Signal::SIGTERM {
            no_call_failed(&report)?;
        }
        // By force it takes along what it had in its hands at that moment.
        assert!(
            report.failures().iter().all(|call| call.started + call.duration > ending),
            "{report}"
        );
        assert_eq!(report.count("app"), 0, "{report}");
        assert_eq!(stolen.ask()?.tag, "laptop");
        assert_eq!(first.workload("web")?["rules"][0]["state"], "active");
        Ok(())
    });
}

#[rstest]
#[case::killed(Signal::SIGKILL)]
#[case::ended(Signal::SIGTERM)]
fn an_upgrade_to_a_second_daemon_fails_no_call(#[case] signal: Signal) {
    play(|s| {
        let _second_target = TcpService::tagged(&s.laptop, (s.laptop.ip4(), 3001), "second")?;
        let mut first = s.daemon()?;
        let caller = load(&s)?;
        let second = SecondDaemon::start(s.t, &s.pod, &format!("8080 -> {}:3001", s.laptop.ip4()))?;
        let arrived = caller.wait_for_tag("second", SECOND)?;
        // Calls that the first one has were begun before; they are answered within a moment.
        wait_until("the first daemon to be idle", SOON, || s.dev.open() == 0)?;
        first.signal(signal)?;
        first.wait()?;
        caller.wait_for_calls(100, SOON)?;
        let report = caller.stop();
        no_call_failed(&report)?;
        let after = report.since(arrived + Duration::from_millis(100));
        assert_eq!(after.count("second"), after.calls.len(), "{after}");
        assert_eq!(second.status()?["workloads"][0]["rules"][0]["state"], "active");
        Ok(())
    });
}
