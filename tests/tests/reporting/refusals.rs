//! Rules that the policy or a limit refuses, and when that ends.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use interceptor_tests::{Frozen, TIMEOUT, run, threads};
use rstest::rstest;
use testbed::{Daemon, TcpService, wait_until, workload};

use crate::told;

#[test]
fn a_rule_that_found_no_room_takes_effect_when_there_is_some() {
    run(|f| {
        let cart = f.t.pod("cart")?;
        let policy = f.t.dir().join("policy.yaml");
        std::fs::write(&policy, "maxRulesPerNode: 1\n")?;
        let of_cart = workload(&cart, &format!("{} ttl 2s", f.rule()));
        let both = of_cart + f.web(&f.rule()).trim_start_matches("workloads:\n");
        let daemon = Daemon::start(f.t, &both, &["--policy", policy.to_str().context("a path")?])?;
        let (reason, _) = told(&daemon, "refused")?;
        assert_eq!(reason, "LimitExceeded");
        // Nothing else wakes the daemon when the other's time is over.
        daemon.wait_state("the second to have the place of the first", |state| {
            let first = |n: usize| &state["workloads"][n]["rules"][0];
            let [cart, web] = [first(0), first(1)];
            cart["state"] == "expired" && web["state"] == "active"
        })?;
        Ok(())
    });
}

#[test]
fn a_rule_that_goes_waits_for_no_other() {
    run(|f| {
        const PODS: usize = 6;
        let mut all = String::from("workloads:\n");
        for n in 0..PODS {
            let pod = f.t.pod(&format!("pod{n}"))?;
            all += workload(&pod, &f.rule()).trim_start_matches("workloads:\n");
        }
        let daemon = Daemon::start(f.t, "workloads: []\n", &[])?;
        // To put one in force takes as long as workers may take to answer.
        let _frozen = Frozen::new(&threads(daemon.pid(), "relay-")?)?;
        daemon.rewrite_workloads(&all)?;
        daemon.wait_state("them to be known", |state| {
            state["workloads"].as_array().is_some_and(|all| !all.is_empty())
        })?;
        let gone = std::time::Instant::now();
        daemon.rewrite_workloads("workloads: []\n")?;
        daemon
            .wait_state("none", |state| state["workloads"].as_array().is_none_or(Vec::is_empty))?;
        ensure!(gone.elapsed() < Duration::from_secs(4), "after {:?}", gone.elapsed());
        Ok(())
    });
}

/// What kube-proxy in its IPVS mode, and settings that let programs bind to anything, do to a node and to a pod.
#[test]
fn addresses_of_services_and_of_strangers_are_not_the_nodes_nor_the_pods() {
    run(|f| {
        let node = f.t.node();
        node.ip("link add kube-ipvs0 type bridge\naddr add 10.96.7.7/32 dev kube-ipvs0")?;
        let bind_to_anything = |netns: &testbed::Namespace| {
            netns.sysctl("net/ipv4/ip_nonlocal_bind", "1")?;
            netns.sysctl("net/ipv6/ip_nonlocal_bind", "1")
        };
        bind_to_anything(node)?;
        let service = TcpService::tagged(node, ([10, 96, 7, 7], 3000), "service")?;
        let to_service = f.web(&format!("8080 -> {}", service.addr()));
        let daemon = Daemon::start(f.t, &to_service, &[])?;
        daemon.wait_active("web")?;
        assert_eq!(f.served_by()?, "service");
        // The pod's own programs set it when they start.
        bind_to_anything(&f.pod)?;
        let laptop6 = TcpService::tagged(&f.laptop, (f.laptop.ip6(), 3006), "laptop6")?;
        for (target, tag) in
            [((f.laptop.ip4(), 3000).into(), "laptop"), (laptop6.addr(), "laptop6")]
        {
            daemon.rewrite_workloads(&f.web(&format!("8080 -> {target}")))?;
            wait_until(&format!("{tag} to have it"), TIMEOUT, || {
                let who = f.served_by()?;
                ensure!(who == tag, "{who}");
                Ok(())
            })?;
        }
        // What is the node's stays the node's.
        daemon.rewrite_workloads(&f.web(&format!("8080 -> {}:3000", f.pod.gateway4())))?;
        assert_eq!(told(&daemon, "refused")?.0, "TargetDenied");
        Ok(())
    });
}

#[rstest]
#[case("127.0.0.1:3000", "loopback")]
#[case("[::1]:3000", "loopback")]
#[case("169.254.169.254:80", "linkLocal")]
#[case("224.0.0.1:3000", "multicast")]
#[case("0.0.0.0:3000", "unspecified")]
#[case("10.99.0.1:3000", "node")]
fn reserved_targets_are_refused_with_the_word_that_allows_them(
    #[case] target: &str,
    #[case] kind: &str,
) {
    run(|f| {
        let daemon = Daemon::start(f.t, &f.web(&format!("8080 -> {target}")), &[])?;
        let (reason, message) = told(&daemon, "refused")?;
        assert_eq!(reason, "TargetDenied");
        ensure!(message.contains(kind) && message.contains("targets.allowReserved"), "{message}");
        assert_eq!(f.served_by()?, "app");
        Ok(())
    });
}

#[rstest]
#[case("targets:\n  deny: [LAPTOP/32]\n", "TargetDenied", "policy.yaml:2")]
#[case("targets:\n  allow: [192.0.2.0/24]\n", "TargetDenied", "policy.yaml:2")]
#[case("maxTtl: 1h\n", "LimitExceeded", "policy.yaml:1")]
fn the_policy_line_that_refused_is_named(
    #[case] policy: &str,
    #[case] word: &str,
    #[case] place: &str,
) {
    run(|f| {
        let file = f.t.dir().join("policy.yaml");
        std::fs::write(&file, policy.replace("LAPTOP", &f.laptop.ip4().to_string()))?;
        let daemon =
            Daemon::start(f.t, &f.web(&f.rule()), &["--policy", file.to_str().context("a path")?])?;
        let (reason, message) = told(&daemon, "refused")?;
        assert_eq!(reason, word);
        ensure!(message.contains(place), "{message}");
        assert_eq!(f.served_by()?, "app");
        Ok(())
    });
}
