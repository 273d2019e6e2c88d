//! Pods with a user namespace of their own (`hostUsers: false`) are redirected like any other pod.
//!
//! The network namespace of such a pod belongs to its user namespace. The daemon acts there with
//! the rights of the node's root, which the pod's root does not have.

#![forbid(unsafe_code)]

use anyhow::{Context as _, Result, ensure};
use interceptor_tests::{Fixture, GRANTED, Hosts, HttpClient, SECOND, TIMEOUT, WHEN_DEBUG};
use nix::sys::signal::Signal;
use testbed::{
    CommandExt as _, Connection, Daemon, Process, Protocol, TcpService, bpf_inventory, netns_test,
    wait_until, workload,
};

/// Runs one test in a fixture with such a pod. The test also gets a process inside of the pod.
fn run(title: &str, body: impl FnOnce(Fixture<'_>, &Process) -> Result<()>) {
    netns_test(title, |t| {
        let (pod, sandbox) = t.pod_with_own_users("web")?;
        body(Fixture::on(Hosts::around(t, pod)?)?, &sandbox)
    });
}

/// Starts the daemon with the chart's capabilities, and waits until its rule is active.
fn daemon(f: &Fixture<'_>, workloads: &str) -> Result<Daemon> {
    let daemon = Daemon::start_with(f.t, workloads, |command| {
        command.only(&GRANTED);
        Ok(())
    })?;
    daemon.wait_active("web")?;
    Ok(daemon)
}

#[test]
fn the_pod_is_redirected_until_the_daemon_is_killed() {
    run("users", |f, _| {
        let mut daemon = daemon(&f, &f.web(&f.rule()))?;
        assert_eq!(f.served_by()?, "laptop");
        assert_eq!(bpf_inventory()?.links_in(&f.pod)?.len(), 1);

        daemon.signal(Signal::SIGKILL)?;
        daemon.wait()?;
        f.wait_served_by("app", SECOND)?;
        wait_until("no program in the pod", TIMEOUT, || {
            let left = bpf_inventory()?.links_in(&f.pod)?;
            ensure!(left.is_empty(), "{left:?}");
            Ok(())
        })
    });
}

#[test]
fn the_app_sees_the_clients_address_when_the_target_refuses() {
    run("users-client", |f, _| {
        let daemon = daemon(&f, &f.web(&format!("8080 -> {}:1", f.laptop.ip4())))?;
        for to in [f.pod.ip4().into(), f.pod.ip6().into()] {
            let mut connection =
                Connection::open(&f.client, std::net::SocketAddr::new(to, 8080), Protocol::Line)?;
            let answer = connection.ask()?;
            let own = connection.stream().local_addr()?;
            ensure!(answer.tag == "app" && answer.peer == Some(own), "client {own} got {answer:?}");
        }
        assert_eq!(daemon.metric("interceptor_callers_not_shown_total", &[]), 0.0);
        Ok(())
    });
}

#[test]
fn a_condition_redirects_the_matching_requests_only() {
    run("users-http", |f, _| {
        let _app = TcpService::http(&f.pod, (f.pod.ip4(), 80), "app")?;
        let _target = TcpService::http(&f.laptop, (f.laptop.ip4(), 4000), "laptop")?;
        let rule = format!("80 -> {}:4000 {WHEN_DEBUG}", f.laptop.ip4());
        let _daemon = daemon(&f, &f.web(&rule))?;
        let mut client = HttpClient::connect(&f.client, (f.pod.ip4(), 80))?;
        for (headers, expected) in [(&[][..], "app"), (&["X-User: debug"], "laptop"), (&[], "app")]
        {
            let body = String::from_utf8(client.get("/", headers)?.body)?;
            let server = body.split_whitespace().next().context("an empty body")?;
            assert_eq!(server, expected, "{body}");
            if expected == "app" {
                ensure!(
                    body.contains(&format!(" {} ", client.local_addr()?)),
                    "the app saw another client: {body}"
                );
            }
        }
        Ok(())
    });
}

#[test]
fn the_workload_may_name_a_process_of_the_pod_by_its_pid() {
    run("users-pid", |f, sandbox| {
        let at = format!("netns: {}", f.pod.netns_path().display());
        let file = workload(&f.pod, &f.rule()).replace(&at, &format!("pid: {}", sandbox.pid()));
        ensure!(file.contains("pid:"), "{file}");
        let _daemon = daemon(&f, &file)?;
        assert_eq!(f.served_by()?, "laptop");
        Ok(())
    });
}
