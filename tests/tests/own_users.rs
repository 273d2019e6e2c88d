//! A pod with a user namespace of its own (`hostUsers: false`) is a pod like any other. Its network namespace belongs to
//! that user namespace: what the daemon may do in there is what the node's root may, not what the pod's may.

use anyhow::{Context as _, Result, ensure};
use interceptor_tests::{Fixture, HttpClient, SECOND, TIMEOUT};
use nix::sys::signal::Signal;
use testbed::{
    Capability, CommandExt as _, Connection, Daemon, Process, Protocol, TcpService, bpf_inventory,
    netns_test, wait_until, workload,
};

/// What the chart grants.
const GRANTED: [Capability; 4] =
    [Capability::Bpf, Capability::NetAdmin, Capability::Perfmon, Capability::SysAdmin];

/// A scene around such a pod, and a process inside.
fn run(title: &str, body: impl FnOnce(Fixture<'_>, &Process) -> Result<()>) {
    netns_test(title, |t| {
        let (pod, sandbox) = t.pod_with_own_users("web")?;
        body(Fixture::around(t, pod)?, &sandbox)
    });
}

/// The daemon with the chart's rights and a rule in force.
fn daemon(f: &Fixture<'_>, workloads: &str) -> Result<Daemon> {
    let daemon = Daemon::start_with(f.t, workloads, |command| {
        command.only(&GRANTED);
        Ok(())
    })?;
    daemon.wait_active("web")?;
    Ok(daemon)
}

#[test]
fn it_is_taken_and_given_back_when_the_daemon_is_killed() {
    run("users", |f, _| {
        let mut daemon = daemon(&f, &f.web(&f.rule()))?;
        assert_eq!(f.served_by()?, "laptop");
        assert_eq!(bpf_inventory()?.links_in(&f.pod)?.len(), 1);

        daemon.signal(Signal::SIGKILL)?;
        daemon.wait()?;
        wait_until("the app", SECOND, || f.served_by().is_ok_and(|tag| tag == "app"))?;
        wait_until("no program in the pod", TIMEOUT, || {
            let left = bpf_inventory()?.links_in(&f.pod)?;
            ensure!(left.is_empty(), "{left:?}");
            Ok(())
        })
    });
}

#[test]
fn its_app_sees_the_caller_when_the_target_refuses() {
    run("users-caller", |f, _| {
        let daemon = daemon(&f, &f.web(&format!("8080 -> {}:1", f.laptop.ip4())))?;
        for to in [f.pod.ip4().into(), f.pod.ip6().into()] {
            let mut connection =
                Connection::open(&f.client, std::net::SocketAddr::new(to, 8080), Protocol::Line)?;
            let answer = connection.ask()?;
            let own = connection.stream().local_addr()?;
            ensure!(
                answer.tag == "app" && answer.peer == Some(own),
                "the caller {own} is told {answer:?}"
            );
        }
        assert_eq!(daemon.metric("interceptor_callers_not_shown_total", &[]), 0.0);
        Ok(())
    });
}

#[test]
fn its_requests_go_where_a_condition_says() {
    run("users-http", |f, _| {
        let _app = TcpService::http(&f.pod, (f.pod.ip4(), 80), "app")?;
        let _target = TcpService::http(&f.laptop, (f.laptop.ip4(), 4000), "laptop")?;
        let rule =
            format!("80 -> {}:4000 when request.headers['x-user'] == 'debug'", f.laptop.ip4());
        let _daemon = daemon(&f, &f.web(&rule))?;
        let mut caller = HttpClient::connect(&f.client, (f.pod.ip4(), 80))?;
        for (headers, who) in [(&[][..], "app"), (&["X-User: debug"], "laptop"), (&[], "app")] {
            let body = String::from_utf8(caller.get("/", headers)?.body)?;
            let told = body.split_whitespace().next().context("an answer")?;
            assert_eq!(told, who, "{body}");
            if who == "app" {
                ensure!(
                    body.contains(&format!(" {} ", caller.local()?)),
                    "the app was told {body}"
                );
            }
        }
        Ok(())
    });
}

#[test]
fn it_may_be_given_by_the_pid_of_a_process() {
    run("users-pid", |f, sandbox| {
        let at = format!("netns: {}", f.pod.netns_path().display());
        let file = workload(&f.pod, &f.rule()).replace(&at, &format!("pid: {}", sandbox.pid()));
        ensure!(file.contains("pid:"), "{file}");
        let _daemon = daemon(&f, &file)?;
        assert_eq!(f.served_by()?, "laptop");
        Ok(())
    });
}
