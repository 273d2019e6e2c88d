//! Network namespaces that appear, vanish, change, or are shared by workloads.

use std::{process::Stdio, time::Instant};

use anyhow::Context as _;
use interceptor_tests::{
    SECOND, TIMEOUT, counted, delete_netns, outcomes, recreate_netns, run, served_by,
};
use testbed::{
    Connection, Daemon, Namespace, Protocol, TcpService, bpf_inventory, wait_until, workload,
};

#[test]
fn a_namespace_that_comes_back_under_its_name_is_armed_again() {
    run(|f| {
        let daemon = f.daemon()?;
        let old = f.pod.inode()?;
        // Keeps something of the old namespace busy while that vanishes.
        let _stolen = Connection::open(&f.client, f.port(), Protocol::Line)?;
        let port = f.port();
        drop(f.app);
        delete_netns(f.t.node(), &f.pod).context("the daemon keeps the namespace alive")?;
        let state = daemon.wait_rules("web", "pending")?;
        assert_eq!(state["workloads"][0]["rules"][0]["reason"], "NetnsNotFound", "{state}");
        wait_until("the end of the link to it", TIMEOUT, || {
            let links = bpf_inventory().map_err(|error| format!("{error:#}"))?;
            let left = links.0.into_iter().find(|object| object.netns_inode == Some(old));
            left.map_or(Ok(()), |object| Err(object.to_string()))
        })?;

        recreate_netns(f.t.node(), &f.pod)?;
        let app = TcpService::tagged(&f.pod, (f.pod.ip4(), 8080), "app")?;
        daemon.wait_active("web")?;
        wait_until("the first packet over the new link", TIMEOUT, || {
            served_by(&f.client, port).is_ok_and(|tag| tag == "laptop")
        })?;
        assert_eq!(app.connections(), 0);

        let complaints: Vec<_> = daemon
            .logs()
            .lines()
            .filter(|line| line.contains(" WARN ") || line.contains(" ERROR "))
            .map(str::to_owned)
            .collect();
        assert!(complaints.len() <= 2, "one line for each change of state: {complaints:#?}");
        Ok(())
    });
}

#[test]
fn a_namespace_that_was_given_back_is_let_go_when_it_vanishes() {
    run(|f| {
        let daemon = f.daemon()?;
        let mut stolen = Connection::open(&f.client, f.port(), Protocol::Line)?;
        assert_eq!(stolen.ask()?.tag, "laptop");
        daemon.rewrite_workloads(&f.without_rule())?;
        wait_until("the app", TIMEOUT, || f.served_by().is_ok_and(|tag| tag == "app"))?;
        assert_eq!(stolen.ask()?.tag, "laptop", "stolen connections finish");
        drop(f.app);
        delete_netns(f.t.node(), &f.pod).context("the stolen connection keeps the namespace alive")
    });
}

#[test]
fn another_namespace_for_a_workload_leaves_stolen_connections_alone() {
    run(|f| {
        let other = f.t.pod("other")?;
        let daemon = f.daemon()?;
        let mut stolen = Connection::open(&f.client, f.port(), Protocol::Line)?;
        assert_eq!(stolen.ask()?.tag, "laptop");
        let file = f.web(&f.rule());
        let path = |pod: &Namespace| pod.netns_path().display().to_string();
        daemon.rewrite_workloads(&file.replace(&path(&f.pod), &path(&other)))?;
        wait_until("the laptop behind the other pod", TIMEOUT, || {
            served_by(&f.client, (other.ip4(), 8080)).is_ok_and(|tag| tag == "laptop")
        })?;
        assert_eq!(f.served_by()?, "app");
        assert_eq!(stolen.ask()?.tag, "laptop");
        Ok(())
    });
}

#[test]
fn a_rule_that_leads_to_a_port_which_is_taken_later_is_refused_as_a_loop_then() {
    run(|f| {
        let first = format!("8080 -> {}:9090", f.pod.ip4());
        let _second = TcpService::tagged(&f.pod, (f.pod.ip4(), 9090), "second")?;
        let daemon = f.daemon_with(&first, &[])?;
        assert_eq!(f.served_by()?, "second");
        daemon.rewrite_workloads(&f.web(&format!("{first}; 9090 -> {}:3000", f.laptop.ip4())))?;
        daemon.wait_state("a loop", |state| {
            let rules = state["workloads"][0]["rules"].as_array().into_iter().flatten();
            rules.into_iter().any(|rule| rule["reason"] == "Loop" && rule["state"] == "refused")
        })?;
        wait_until("the app", TIMEOUT, || f.served_by().is_ok_and(|tag| tag == "app"))
    });
}

#[test]
fn a_namespace_may_vanish_and_come_back_again_and_again() {
    run(|f| {
        let (daemon, port) = (f.daemon()?, f.port());
        drop(f.app);
        for _ in 0..10 {
            delete_netns(f.t.node(), &f.pod)?;
            recreate_netns(f.t.node(), &f.pod)?;
        }
        wait_until("the laptop", TIMEOUT, || {
            served_by(&f.client, port).is_ok_and(|tag| tag == "laptop")
        })?;
        daemon.wait_active("web")?;
        assert_eq!(bpf_inventory()?.links_in(&f.pod)?.len(), 1);
        let links = bpf_inventory()?.still_here(&daemon.bpf_objects()?);
        let links: Vec<_> =
            links.iter().filter(|object| object.kind == testbed::BpfKind::Link).collect();
        assert_eq!(links.iter().filter(|link| link.netns_inode.is_some()).count(), 1, "{links:?}");
        // Those at the root of the cgroups, by which the app sees callers.
        assert!(links.len() <= 3, "{links:?}");
        Ok(())
    });
}

#[test]
fn a_namespace_that_appears_later_is_armed_then() {
    run(|f| {
        let path = f.pod.netns_path().to_string_lossy().replace("-web", "-late");
        let file = f
            .web(&f.rule())
            .replace("name: web", "name: late")
            .replace(&*f.pod.netns_path().to_string_lossy(), &path);
        let daemon = Daemon::start(f.t, &file, &[])?;
        let state = daemon.wait_rules("late", "pending")?;
        assert_eq!(state["workloads"][0]["rules"][0]["reason"], "NetnsNotFound", "{state}");
        assert!(
            daemon.get("/readyz").is_ok(),
            "waiting for somebody else's pod is no fault of ours"
        );

        let late = f.t.pod("late")?;
        let appeared = Instant::now();
        daemon.wait_active("late")?;
        assert!(appeared.elapsed() < SECOND, "took {:?}", appeared.elapsed());
        assert_eq!(served_by(&f.client, (late.ip4(), 8080))?, "laptop");
        Ok(())
    });
}

#[test]
fn a_port_of_a_namespace_belongs_to_one_workload_until_that_is_gone() {
    run(|mut f| {
        // Both would pass what nobody takes on to the app, and each would take that for a caller's.
        f.target.stop_listening();
        let twin = |name: &str| f.web(&f.rule()).replace("name: web", &format!("name: {name}"));
        let both = twin("a") + twin("b").trim_start_matches("workloads:\n");
        let daemon = Daemon::start(f.t, &both, &[])?;
        daemon.wait_active("a")?;
        let state = daemon.wait_rules("b", "pending")?;
        let told = state["workloads"][1]["rules"][0].to_string();
        assert!(told.contains("PortTaken") && told.contains("workload a"), "{told}");
        for _ in 0..5 {
            assert_eq!(f.served_by()?, "app");
        }
        assert_eq!(outcomes(&daemon, "a")?, counted([("fell_back/target_refused", 5)]));

        daemon.rewrite_workloads(&twin("b"))?;
        daemon.wait_active("b")?;
        assert_eq!(f.served_by()?, "app");
        Ok(())
    });
}

#[test]
fn a_workload_may_be_given_by_the_pid_of_a_process() {
    run(|f| {
        // Not by `spawn`, whose log lies beside the workloads file: closing it would wake the daemon.
        let mut process = f.pod.command("sleep").arg("600").stdin(Stdio::null()).spawn()?;
        let file = f.web(&f.rule());
        let file = file.replace(
            &format!("netns: {}", f.pod.netns_path().display()),
            &format!("pid: {}", process.id()),
        );
        let daemon = Daemon::start(f.t, &file, &[])?;
        daemon.wait_active("web")?;
        assert_eq!(f.served_by()?, "laptop");

        process.kill()?;
        process.wait()?;
        wait_until("the app", SECOND, || f.served_by().is_ok_and(|tag| tag == "app"))?;
        let state = daemon.wait_rules("web", "pending")?;
        assert_eq!(state["workloads"][0]["rules"][0]["reason"], "NetnsNotFound", "{state}");
        Ok(())
    });
}

#[test]
fn the_namespace_of_the_node_is_never_touched() {
    run(|f| {
        let node = f.t.node();
        let _app = TcpService::tagged(node, (node.ip4(), 8080), "node-app")?;
        let file = workload(node, &f.rule());
        let daemon = Daemon::start(f.t, &file, &[])?;
        let state = daemon.wait_rules("node", "refused")?;
        assert_eq!(state["workloads"][0]["rules"][0]["reason"], "HostNetwork", "{state}");
        assert_eq!(served_by(&f.client, (node.ip4(), 8080))?, "node-app");
        assert!(bpf_inventory()?.links_in(node)?.is_empty());
        Ok(())
    });
}
