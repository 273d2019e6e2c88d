//! What the daemon logs, and what it never logs.

use std::io::Write as _;

use anyhow::ensure;
use interceptor_tests::{TIMEOUT, run};
use nix::sys::signal::Signal;
use testbed::{Connection, Protocol, wait_until};

#[test]
fn the_log_has_a_line_for_each_change_of_state_and_none_for_connections() {
    run(|f| {
        let mut daemon = f.daemon_with(&f.rule(), &["--log", "info"])?;
        for _ in 0..5 {
            f.served_by()?;
        }
        daemon.rewrite_workloads(&f.without_rule())?;
        wait_until("the app", TIMEOUT, || f.served_by().is_ok_and(|who| who == "app"))?;
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
fn connections_are_logged_at_debug_and_payload_never() {
    run(|f| {
        let daemon = f.daemon_with(&f.rule(), &["--log", "trace"])?;
        let mut connection = Connection::open(&f.client, f.port(), Protocol::Line)?;
        connection.ask()?;
        connection.stream().write_all(b"password=correct-horse\n")?;
        connection.answer()?;
        let logs = wait_until("a line about the connection", TIMEOUT, || {
            let logs = daemon.logs();
            logs.contains("redirected").then_some(logs)
        })?;
        ensure!(logs.contains(&f.client.ip4().to_string()), "{logs}");
        ensure!(!logs.contains("correct-horse"), "{logs}");
        Ok(())
    });
}
