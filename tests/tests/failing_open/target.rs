//! The target refuses, is silent, is unreachable or dies.

use std::{
    fs,
    time::{Duration, Instant},
};

use interceptor_tests::{Fixture, OpenLoopLoad, SECOND, TIMEOUT, counted, outcomes, run, sum};
use testbed::{Connection, Load, Protocol, TcpService, wait_until};

use crate::{AT_ONCE, no_call_failed};

#[test]
fn a_target_that_refuses_costs_its_callers_nothing() {
    run(|mut f| {
        let daemon = f.daemon()?;
        f.target.stop_listening();
        let caller = Load::new(&f.client, f.port()).threads(4).start()?;
        caller.wait_for_calls(200, TIMEOUT)?;
        assert_eq!(caller.report().count("laptop"), 0);
        drop(std::mem::replace(
            &mut f.target,
            TcpService::tagged(&f.laptop, (f.laptop.ip4(), 3000), "laptop")?,
        ));
        caller.wait_for_tag("laptop", SECOND)?;
        caller.wait_for_calls(50, TIMEOUT)?;
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
    run(|f| {
        let daemon = f.daemon()?;
        let port = f.port();
        drop((f.target, f.app));
        let error =
            interceptor_tests::served_by(&f.client, port).expect_err("nobody is there").kind();
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
    run(|f| {
        let daemon = f.daemon()?;
        f.laptop.fall_asleep()?;
        // One caller: each of the first calls pays the time-out.
        let caller = Load::new(&f.client, f.port()).start()?;
        wait_until("the circuit to open", TIMEOUT, || {
            caller
                .report()
                .calls
                .iter()
                .any(|call| call.tag() == Some("app") && call.duration < AT_ONCE)
        })?;
        let open = Instant::now();
        caller.wait_for_calls(100, TIMEOUT)?;
        daemon.wait_state("status to say so", |state| {
            let message = &state["workloads"][0]["rules"][0]["message"];
            message.as_str().is_some_and(|message| message.contains("is silent"))
        })?;
        f.laptop.wake_up()?;
        caller.wait_for_tag("laptop", TIMEOUT)?;
        caller.wait_for_calls(50, TIMEOUT)?;
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
    run(|f| {
        let policy = f.t.dir().join("policy.yaml");
        fs::write(&policy, "connectTimeout: 200ms\n")?;
        let _daemon = f.daemon_with(&f.rule(), &["--policy", &policy.to_string_lossy()])?;
        f.laptop.fall_asleep()?;
        let started = Instant::now();
        assert_eq!(f.served_by()?, "app");
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
    run(|f| {
        let daemon = f.daemon()?;
        f.pod.ip(&format!("route add unreachable {}", f.laptop.ip4()))?;
        let caller = Load::new(&f.client, f.port()).start()?;
        caller.wait_for_calls(100, TIMEOUT)?;
        f.pod.ip(&format!("route del unreachable {}", f.laptop.ip4()))?;
        caller.wait_for_tag("laptop", TIMEOUT)?;
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
    run(|f| {
        let daemon = f.daemon()?;
        f.laptop.fall_asleep()?;
        let arrivals = OpenLoopLoad::start(&f.client, f.port(), Duration::from_millis(10));
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
    run(|f| {
        let daemon = f.daemon()?;
        let mut stolen = Connection::open(&f.client, f.port(), Protocol::Line)?;
        assert_eq!(stolen.ask()?.tag, "laptop");
        let mut direct = Connection::open(&f.client, (f.laptop.ip4(), 3000), Protocol::Line)?;
        assert_eq!(direct.ask()?.tag, "laptop");
        let Fixture { target, client, app, pod, .. } = f;
        target.stop();
        let ends = [&mut stolen, &mut direct]
            .map(|connection| connection.answer().map_err(|error| error.kind()));
        assert_eq!(ends[0], ends[1], "through the relay, and without it");
        assert!(ends[0].is_err());
        assert_eq!(interceptor_tests::served_by(&client, (pod.ip4(), 8080))?, "app");
        assert_eq!(app.connections(), 1);
        assert_eq!(
            outcomes(&daemon, "web")?,
            counted([("redirected", 1), ("fell_back/target_refused", 1)])
        );
        Ok(())
    });
}
