//! The programs are attached while they are needed, and no longer.

use interceptor_tests::{TIMEOUT, run};
use nix::sys::signal::Signal;
use rstest::rstest;
use testbed::{Connection, Daemon, Protocol, bpf_inventory, wait_until};

use crate::{check_client_seen, counts, links, refused_rule};

#[test]
fn cgroup_programs_are_attached_only_while_a_connection_may_need_them() {
    run(|f| {
        let daemon = Daemon::start(f.t, &f.without_rule(), &[])?;
        daemon.wait_state("an idle workload", |state| state["workloads"][0]["state"] == "idle")?;
        assert_eq!(daemon.state()?["caller_address"]["state"], "kept");
        assert_eq!(links(&daemon)?, (0, 0));

        daemon.rewrite_workloads(&f.web(&refused_rule(&f.laptop)))?;
        daemon.wait_active("web")?;
        assert_eq!(links(&daemon)?, (1, 2));
        let mut connection = Connection::open(&f.client, f.port(), Protocol::Line)?;
        check_client_seen(&mut connection, "app")?;

        // The app may still ask for the client's address on its open connection.
        daemon.rewrite_workloads(&f.without_rule())?;
        wait_until("the end of the redirect", TIMEOUT, || {
            links(&daemon).is_ok_and(|links| links.0 == 0)
        })?;
        assert_eq!(links(&daemon)?, (0, 2));
        check_client_seen(&mut connection, "app")?;
        drop(connection);
        wait_until("the end of all links", TIMEOUT, || {
            links(&daemon).is_ok_and(|links| links == (0, 0))
        })?;
        assert_eq!(counts(&daemon)?, (0, 0));
        Ok(())
    });
}

#[rstest]
#[case::sigterm(Signal::SIGTERM)]
#[case::sigkill(Signal::SIGKILL)]
fn nothing_is_attached_after_the_daemon_has_ended(#[case] signal: Signal) {
    run(|f| {
        let mut daemon = f.daemon_with(&refused_rule(&f.laptop), &[])?;
        assert_eq!(f.served_by()?, "app");
        let objects = daemon.bpf_objects()?;
        assert_eq!(links(&daemon)?, (1, 2));
        daemon.signal(signal)?;
        daemon.wait()?;
        wait_until("the end of all programs, maps and links", TIMEOUT, || {
            let left = bpf_inventory().map_err(|error| format!("{error:#}"))?.still_here(&objects);
            if left.is_empty() { Ok(()) } else { Err(format!("{left:?}")) }
        })?;
        Ok(())
    });
}
