//! Network namespaces that appear, vanish, change, or are shared by workloads.

use std::{process::Stdio, time::Instant};

use anyhow::Context as _;
use interceptor_tests::{
    SECOND, TIMEOUT, counted, delete_netns, outcomes, recreate_netns, run, served_by,
    wait_served_by,
};
use testbed::{
    Connection, Daemon, Namespace, Protocol, TcpService, bpf_inventory, wait_until, workload,
};

#[test]
fn a_recreated_namespace_is_redirected_again() {
    run(|f| {
        let daemon = f.daemon()?;
        let old = f.pod.inode()?;
        // A stolen connection is open while the old namespace is deleted.
        let _stolen = Connection::open(&f.client, f.port(), Protocol::Line)?;
        let port = f.port();
        drop(f.app);
        delete_netns(f.t.node(), &f.pod).context("the daemon keeps the namespace alive")?;
        let state = daemon.wait_rules("web", "pending")?;
        assert_eq!(state["workloads"][0]["rules"][0]["reason"], "NetnsNotFound", "{state}");
        wait_until("the end of the link to the old namespace", TIMEOUT, || {
            let links = bpf_inventory().map_err(|error| format!("{error:#}"))?;
            let left = links.0.into_iter().find(|object| object.netns_inode == Some(old));
            left.map_or(Ok(()), |object| Err(object.to_string()))
        })?;

        recreate_netns(f.t.node(), &f.pod)?;
        let app = TcpService::tagged(&f.pod, (f.pod.ip4(), 8080), "app")?;
        daemon.wait_active("web")?;
        wait_served_by(&f.client, port, "laptop", TIMEOUT)?;
        assert_eq!(app.connections(), 0);

        let warnings: Vec<_> = daemon
            .logs()
            .lines()
            .filter(|line| line.contains(" WARN ") || line.contains(" ERROR "))
            .map(str::to_owned)
            .collect();
        assert!(warnings.len() <= 2, "more than one line per change of state: {warnings:#?}");
        Ok(())
    });
}

#[test]
fn a_namespace_without_rules_is_released_when_it_is_deleted() {
    run(|f| {
        let daemon = f.daemon()?;
        let mut stolen = Connection::open(&f.client, f.port(), Protocol::Line)?;
        assert_eq!(stolen.ask()?.tag, "laptop");
        daemon.rewrite_workloads(&f.without_rule())?;
        f.wait_served_by("app", TIMEOUT)?;
        assert_eq!(stolen.ask()?.tag, "laptop", "the stolen connection goes on");
        drop(f.app);
        delete_netns(f.t.node(), &f.pod).context("the stolen connection keeps the namespace alive")
    });
}

#[test]
fn stolen_connections_go_on_when_their_workload_gets_another_namespace() {
    run(|f| {
        let other = f.t.pod("other")?;
        let daemon = f.daemon()?;
        let mut stolen = Connection::open(&f.client, f.port(), Protocol::Line)?;
        assert_eq!(stolen.ask()?.tag, "laptop");
        let file = f.web(&f.rule());
        let path = |pod: &Namespace| pod.netns_path().display().to_string();
        daemon.rewrite_workloads(&file.replace(&path(&f.pod), &path(&other)))?;
        wait_served_by(&f.client, (other.ip4(), 8080), "laptop", TIMEOUT)?;
        assert_eq!(f.served_by()?, "app");
        assert_eq!(stolen.ask()?.tag, "laptop");
        Ok(())
    });
}

#[test]
fn a_rule_becomes_a_loop_when_its_target_port_is_redirected_later() {
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
        f.wait_served_by("app", TIMEOUT)
    });
}

#[test]
fn a_namespace_may_be_recreated_ten_times_in_a_row() {
    run(|f| {
        let (daemon, port) = (f.daemon()?, f.port());
        drop(f.app);
        for _ in 0..10 {
            delete_netns(f.t.node(), &f.pod)?;
            recreate_netns(f.t.node(), &f.pod)?;
        }
        wait_served_by(&f.client, port, "laptop", TIMEOUT)?;
        daemon.wait_active("web")?;
        assert_eq!(bpf_inventory()?.links_in(&f.pod)?.len(), 1);
        let links = bpf_inventory()?.still_here(&daemon.bpf_objects()?);
        let links: Vec<_> =
            links.iter().filter(|object| object.kind == testbed::BpfKind::Link).collect();
        assert_eq!(links.iter().filter(|link| link.netns_inode.is_some()).count(), 1, "{links:?}");
        // Besides the one to the namespace: those at the cgroup root, by which the app sees its
        // clients.
        assert!(links.len() <= 3, "{links:?}");
        Ok(())
    });
}

#[test]
fn a_namespace_that_appears_later_is_redirected_within_a_second() {
    run(|f| {
        let path = f.pod.netns_path().to_string_lossy().replace("-web", "-late");
        let file = f
            .web(&f.rule())
            .replace("name: web", "name: late")
            .replace(&*f.pod.netns_path().to_string_lossy(), &path);
        let daemon = Daemon::start(f.t, &file, &[])?;
        let state = daemon.wait_rules("late", "pending")?;
        assert_eq!(state["workloads"][0]["rules"][0]["reason"], "NetnsNotFound", "{state}");
        assert!(daemon.get("/readyz").is_ok(), "a missing pod makes the daemon unready");

        let late = f.t.pod("late")?;
        let appeared = Instant::now();
        daemon.wait_active("late")?;
        assert!(appeared.elapsed() < SECOND, "took {:?}", appeared.elapsed());
        assert_eq!(served_by(&f.client, (late.ip4(), 8080))?, "laptop");
        Ok(())
    });
}

#[test]
fn a_port_of_a_namespace_belongs_to_its_first_workload_until_that_is_removed() {
    run(|mut f| {
        // Each workload would pass its connections to the app, and the other would steal them
        // again.
        f.target.stop_listening();
        let twin = |name: &str| f.web(&f.rule()).replace("name: web", &format!("name: {name}"));
        let both = twin("a") + twin("b").trim_start_matches("workloads:\n");
        let daemon = Daemon::start(f.t, &both, &[])?;
        daemon.wait_active("a")?;
        let state = daemon.wait_rules("b", "pending")?;
        let rule = state["workloads"][1]["rules"][0].to_string();
        assert!(rule.contains("PortTaken") && rule.contains("workload a"), "{rule}");
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
fn a_workload_may_name_a_process_by_its_pid() {
    run(|f| {
        // Not `Namespace::spawn`: its log lies beside the workloads file, and closing the log would
        // wake the daemon.
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
        f.wait_served_by("app", SECOND)?;
        let state = daemon.wait_rules("web", "pending")?;
        assert_eq!(state["workloads"][0]["rules"][0]["reason"], "NetnsNotFound", "{state}");
        Ok(())
    });
}

#[test]
fn a_rule_for_the_namespace_of_the_node_is_refused() {
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
