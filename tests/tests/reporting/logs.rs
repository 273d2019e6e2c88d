//! What the daemon logs, and what it never logs.

use std::io::Write as _;

use anyhow::ensure;
use interceptor_tests::{SOON, play};
use nix::sys::signal::Signal;
use testbed::{Connection, Question, wait_until};

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
