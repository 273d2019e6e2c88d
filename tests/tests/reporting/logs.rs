//! What the daemon logs, and what it never logs.

use std::io::Write as _;

use anyhow::ensure;
use interceptor_tests::{TIMEOUT, run};
use nix::sys::signal::Signal;
use testbed::{Connection, Protocol, wait_until};

#[test]
fn the_log_at_info_has_one_line_per_change_of_state_and_none_per_connection() {
    run(|f| {
        let mut daemon = f.daemon_with(&f.rule(), &["--log", "info"])?;
        for _ in 0..5 {
            f.served_by()?;
        }
        daemon.rewrite_workloads(&f.without_rule())?;
        f.wait_served_by("app", TIMEOUT)?;
        daemon.signal(Signal::SIGTERM)?;
        daemon.wait()?;
        let logs = daemon.logs();
        let lines = |word: &str| logs.lines().filter(|line| line.contains(word)).count();
        assert_eq!(lines("started"), 1, "{logs}");
        assert_eq!(lines("state=active"), 1, "{logs}");
        assert_eq!(lines("removed"), 1, "{logs}");
        ensure!(!logs.contains(&f.client.ip4().to_string()), "{logs}");
        Ok(())
    });
}

#[test]
fn the_log_at_trace_has_connections_and_no_payload() {
    run(|f| {
        let daemon = f.daemon_with(&f.rule(), &["--log", "trace"])?;
        let mut connection = Connection::open(&f.client, f.port(), Protocol::Line)?;
        connection.ask()?;
        connection.stream().write_all(b"password=correct-horse\n")?;
        connection.answer()?;
        drop(connection);
        let logs = wait_until("a line about the connection", TIMEOUT, || {
            let logs = daemon.logs();
            logs.contains("redirected").then_some(logs)
        })?;
        ensure!(logs.contains(&f.client.ip4().to_string()), "{logs}");
        ensure!(!logs.contains("correct-horse"), "{logs}");
        Ok(())
    });
}

#[test]
fn the_access_log_has_one_line_for_each_complete_connection() {
    run(|f| {
        let daemon = f.daemon_with(&f.rule(), &["--log", "info,access=debug"])?;
        let lines = || -> Vec<String> {
            let logs = daemon.logs();
            let complete = logs.lines().filter(|line| line.contains("connection complete"));
            complete.map(str::to_owned).collect()
        };
        let before = lines().len();
        let mut open = Connection::open(&f.client, f.port(), Protocol::Line)?;
        open.ask()?;
        for _ in 0..3 {
            f.served_by()?;
        }
        let complete = wait_until("three lines", TIMEOUT, || {
            let lines = lines();
            (lines.len() == before + 3).then_some(lines)
        })?;
        let client = format!("client={}:", f.client.ip4());
        let destination = format!("destination={}", f.port());
        let target = format!("target={}:3000", f.laptop.ip4());
        for line in &complete[before..] {
            for field in [
                "connection=",
                "workload=web",
                &client,
                &destination,
                "port=8080",
                "rule=debug.redirect",
                &target,
                "outcome=\"redirected\"",
                "bytes_from_client=",
                "bytes_to_client=",
                "requests=0",
                "seconds=",
            ] {
                ensure!(line.contains(field), "no {field} in {line}");
            }
            ensure!(!line.contains("bytes_to_client=0"), "{line}");
        }
        drop(open);
        wait_until("the line of the open connection", TIMEOUT, || lines().len() == before + 4)?;
        Ok(())
    });
}
