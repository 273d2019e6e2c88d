//! The target refuses, is silent, is unreachable or dies.

use std::time::{Duration, Instant};

use interceptor_tests::{Fixture, OpenLoopLoad, SECOND, TIMEOUT, counted, outcomes, run, sum};
use testbed::{Connection, Load, Protocol, TcpService, wait_until};

use crate::{AT_ONCE, no_call_failed};

#[test]
fn clients_of_a_target_that_refuses_are_served_by_the_app_at_once() {
    run(|mut f| {
        let daemon = f.daemon()?;
        f.target.stop_listening();
        let load = Load::new(&f.client, f.port()).threads(4).start()?;
        load.wait_for_calls(200, TIMEOUT)?;
        assert_eq!(load.report().count("laptop"), 0);
        drop(std::mem::replace(
            &mut f.target,
            TcpService::tagged(&f.laptop, (f.laptop.ip4(), 3000), "laptop")?,
        ));
        load.wait_for_tag("laptop", SECOND)?;
        load.wait_for_calls(50, TIMEOUT)?;
        let report = load.stop();

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
fn the_connection_is_refused_when_target_and_app_refuse() {
    run(|f| {
        let daemon = f.daemon()?;
        let port = f.port();
        drop((f.target, f.app));
        let error = interceptor_tests::served_by(&f.client, port)
            .expect_err("neither target nor app listens")
            .kind();
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
fn the_circuit_opens_after_three_timeouts_of_a_silent_target() {
    run(|f| {
        let daemon = f.daemon()?;
        f.laptop.fall_asleep()?;
        // One thread: each of the first calls waits for the connect timeout.
        let load = Load::new(&f.client, f.port()).start()?;
        wait_until("the circuit to open", TIMEOUT, || {
            load.report()
                .calls
                .iter()
                .any(|call| call.tag() == Some("app") && call.duration < AT_ONCE)
        })?;
        let open = Instant::now();
        load.wait_for_calls(100, TIMEOUT)?;
        daemon.wait_state("status to report the silent target", |state| {
            let message = &state["workloads"][0]["rules"][0]["message"];
            message.as_str().is_some_and(|message| message.contains("is silent"))
        })?;
        f.laptop.wake_up()?;
        load.wait_for_tag("laptop", TIMEOUT)?;
        load.wait_for_calls(50, TIMEOUT)?;
        let report = load.stop();

        no_call_failed(&report)?;
        let (timed_out, rest) = report.calls.split_at(3);
        for call in timed_out {
            assert!(call.tag() == Some("app"), "{call}");
            assert!(
                call.duration >= Duration::from_millis(900)
                    && call.duration < Duration::from_millis(1500),
                "{call}"
            );
        }
        for call in rest {
            assert!(call.duration < AT_ONCE, "a call waits although the circuit is open: {call}");
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
fn the_policy_sets_the_connect_timeout() {
    run(|f| {
        let policy = f.policy("connectTimeout: 200ms\n")?;
        let _daemon = f.daemon_with(&f.rule(), &["--policy", &policy])?;
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
fn clients_of_a_target_without_a_route_are_served_by_the_app_at_once() {
    run(|f| {
        let daemon = f.daemon()?;
        f.pod.ip(&format!("route add unreachable {}", f.laptop.ip4()))?;
        let load = Load::new(&f.client, f.port()).start()?;
        load.wait_for_calls(100, TIMEOUT)?;
        f.pod.ip(&format!("route del unreachable {}", f.laptop.ip4()))?;
        load.wait_for_tag("laptop", TIMEOUT)?;
        let report = load.stop();
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
fn all_of_many_clients_of_a_silent_target_are_served() {
    run(|f| {
        let daemon = f.daemon()?;
        f.laptop.fall_asleep()?;
        let load = OpenLoopLoad::start(&f.client, f.port(), Duration::from_millis(10));
        // Calls from before the circuit opens wait for the connect timeout; later calls do not.
        daemon.wait_metric(
            "interceptor_connections_total",
            &[("reason", "circuit_open")],
            |count| count >= 50.0,
        )?;
        let report = load.stop();
        no_call_failed(&report)?;
        assert_eq!(report.count("app"), report.calls.len(), "{report}");
        assert!(report.longest() < Duration::from_millis(1500), "{report}");
        Ok(())
    });
}

#[test]
fn a_target_that_dies_ends_its_connections_and_the_app_serves_new_ones() {
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
