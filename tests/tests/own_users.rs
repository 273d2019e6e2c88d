//! A pod with a user namespace of its own (`hostUsers: false`) is a pod like any other. Its network namespace belongs to
//! that user namespace: what the daemon may do in there is what the node's root may, not what the pod's may.

#![forbid(unsafe_code)]

use anyhow::{Context as _, Result, ensure};
use interceptor_tests::{HttpCaller, SECOND, SOON, Scene};
use nix::sys::signal::Signal;
use testbed::{
    Capability, CommandExt as _, Connection, Daemon, Process, Question, TcpService, bpf_inventory,
    netns_test, wait_until, workload,
};

/// What the chart grants.
const GRANTED: [Capability; 4] =
    [Capability::Bpf, Capability::NetAdmin, Capability::Perfmon, Capability::SysAdmin];

/// A scene around such a pod, and a process inside.
fn play(title: &str, body: impl FnOnce(Scene<'_>, &Process) -> Result<()>) {
    netns_test(title, |t| {
        let (pod, sandbox) = t.pod_with_own_users("web")?;
        body(Scene::around(t, pod)?, &sandbox)
    });
}

/// The daemon with the chart's rights and a rule in force.
fn daemon(s: &Scene<'_>, workloads: &str) -> Result<Daemon> {
    let daemon = Daemon::start_with(s.t, workloads, |command| {
        command.only(&GRANTED);
        Ok(())
    })?;
    daemon.wait_active("web")?;
    Ok(daemon)
}

#[test]
fn it_is_taken_and_given_back_when_the_daemon_is_killed() {
    play("users", |s, _| {
        let mut daemon = daemon(&s, &s.web(&s.rule()))?;
        assert_eq!(s.who()?, "laptop");
        assert_eq!(bpf_inventory()?.links_in(&s.pod)?.len(), 1);

        daemon.signal(Signal::SIGKILL)?;
        daemon.wait()?;
        wait_until("the app", SECOND, || s.who().is_ok_and(|tag| tag == "app"))?;
        wait_until("no program in the pod", SOON, || {
            let left = bpf_inventory()?.links_in(&s.pod)?;
            ensure!(left.is_empty(), "{left:?}");
            Ok(())
        })
    });
}

#[test]
fn its_app_sees_the_caller_when_the_target_refuses() {
    play("users-caller", |s, _| {
        let daemon = daemon(&s, &s.web(&format!("8080 -> {}:1", s.laptop.ip4())))?;
        for to in [s.pod.ip4().into(), s.pod.ip6().into()] {
            let mut connection =
                Connection::open(&s.client, std::net::SocketAddr::new(to, 8080), Question::Line)?;
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
    play("users-http", |s, _| {
        let _app = TcpService::http(&s.pod, (s.pod.ip4(), 80), "app")?;
        let _dev = TcpService::http(&s.laptop, (s.laptop.ip4(), 4000), "laptop")?;
        let rule =
            format!("80 -> {}:4000 when request.headers['x-user'] == 'debug'", s.laptop.ip4());
        let _daemon = daemon(&s, &s.web(&rule))?;
        let mut caller = HttpCaller::connect(&s.client, (s.pod.ip4(), 80))?;
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
    play("users-pid", |s, sandbox| {
        let at = format!("netns: {}", s.pod.netns_path().display());
        let file = workload(&s.pod, &s.rule()).replace(&at, &format!("pid: {}", sandbox.pid()));
        ensure!(file.contains("pid:"), "{file}");
        let _daemon = daemon(&s, &file)?;
        assert_eq!(s.who()?, "laptop");
        Ok(())
    });
}
