//! Rules that the policy or a limit refuses, and the end of a refusal.

use std::time::Duration;

use anyhow::ensure;
use interceptor_tests::{Frozen, TIMEOUT, run, threads};
use rstest::rstest;
use testbed::{Daemon, TcpService, workload};

use crate::first_condition;

#[test]
fn a_rule_over_the_limit_takes_effect_when_another_expires() {
    run(|f| {
        let cart = f.t.pod("cart")?;
        let policy = f.policy("maxRulesPerNode: 1\n")?;
        let of_cart = workload(&cart, &format!("{} ttl 2s", f.rule()));
        let both = of_cart + f.web(&f.rule()).trim_start_matches("workloads:\n");
        let daemon = Daemon::start(f.t, &both, &["--policy", &policy])?;
        let (reason, _) = first_condition(&daemon, "refused")?;
        assert_eq!(reason, "LimitExceeded");
        // Nothing but the end of the other rule's ttl wakes the daemon.
        daemon.wait_state("the second rule to replace the first", |state| {
            let first = |n: usize| &state["workloads"][n]["rules"][0];
            let [cart, web] = [first(0), first(1)];
            cart["state"] == "expired" && web["state"] == "active"
        })?;
        Ok(())
    });
}

#[test]
fn a_removal_does_not_wait_for_rules_that_are_starting() {
    run(|f| {
        const PODS: usize = 6;
        let mut all = String::from("workloads:\n");
        for n in 0..PODS {
            let pod = f.t.pod(&format!("pod{n}"))?;
            all += workload(&pod, &f.rule()).trim_start_matches("workloads:\n");
        }
        let daemon = Daemon::start(f.t, "workloads: []\n", &[])?;
        // With stopped workers, the start of each rule takes as long as its timeout.
        let _frozen = Frozen::new(&threads(daemon.pid(), "relay-")?)?;
        daemon.rewrite_workloads(&all)?;
        daemon.wait_state("the workloads", |state| {
            state["workloads"].as_array().is_some_and(|all| !all.is_empty())
        })?;
        let removed = std::time::Instant::now();
        daemon.rewrite_workloads("workloads: []\n")?;
        daemon.wait_state("no workload", |state| {
            state["workloads"].as_array().is_none_or(Vec::is_empty)
        })?;
        ensure!(removed.elapsed() < Duration::from_secs(4), "after {:?}", removed.elapsed());
        Ok(())
    });
}

/// kube-proxy in IPVS mode puts Service addresses on an interface of the node. `ip_nonlocal_bind`
/// lets programs bind any address.
#[test]
fn service_addresses_and_nonlocal_bind_do_not_make_an_address_the_nodes_or_the_pods() {
    run(|f| {
        let node = f.t.node();
        node.ip("link add kube-ipvs0 type bridge\naddr add 10.96.7.7/32 dev kube-ipvs0")?;
        let allow_nonlocal_bind = |netns: &testbed::Namespace| {
            netns.sysctl("net/ipv4/ip_nonlocal_bind", "1")?;
            netns.sysctl("net/ipv6/ip_nonlocal_bind", "1")
        };
        allow_nonlocal_bind(node)?;
        let service = TcpService::tagged(node, ([10, 96, 7, 7], 3000), "service")?;
        let to_service = f.web(&format!("8080 -> {}", service.addr()));
        let daemon = Daemon::start(f.t, &to_service, &[])?;
        daemon.wait_active("web")?;
        assert_eq!(f.served_by()?, "service");
        // Programs of the pod may set it when they start.
        allow_nonlocal_bind(&f.pod)?;
        let laptop6 = TcpService::tagged(&f.laptop, (f.laptop.ip6(), 3006), "laptop6")?;
        for (target, tag) in
            [((f.laptop.ip4(), 3000).into(), "laptop"), (laptop6.addr(), "laptop6")]
        {
            daemon.rewrite_workloads(&f.web(&format!("8080 -> {target}")))?;
            f.wait_served_by(tag, TIMEOUT)?;
        }
        // The node's own address is still refused.
        daemon.rewrite_workloads(&f.web(&format!("8080 -> {}:3000", f.pod.gateway4())))?;
        assert_eq!(first_condition(&daemon, "refused")?.0, "TargetDenied");
        Ok(())
    });
}

/// Listens on port 179 as a BGP speaker: with a TCP MD5 key for one peer (`struct tcp_md5sig` of
/// `linux/tcp.h`).
const BGP: &str = "
import socket, struct, time
listener = socket.create_server(('0.0.0.0', 179))
peer = struct.pack('=HH4s', socket.AF_INET, 0, socket.inet_aton('10.0.0.1')).ljust(128, b'\\0')
key = struct.pack('=BBHi', 0, 0, 3, 0) + b'key'.ljust(80, b'\\0')
listener.setsockopt(socket.IPPROTO_TCP, 14, peer + key)
time.sleep(1000)
";

#[test]
fn a_port_whose_listener_has_tcp_md5_keys_is_refused_while_it_has_them() {
    run(|f| {
        let bgp = || {
            let mut bgp = f.pod.spawn(f.pod.command("python3").args(["-c", BGP]))?;
            bgp.wait_for_port(179, TIMEOUT)?;
            anyhow::Ok(bgp)
        };
        let first = bgp()?;
        let rules = format!("{rule}; 179 -> {}:3000", f.laptop.ip4(), rule = f.rule());
        let daemon = Daemon::start(f.t, &f.web(&rules), &[])?;
        let of_bgp = |state: &'static str| {
            daemon.wait_state(&format!("the rule for port 179: {state}"), move |all| {
                let rule = &all["workloads"][0]["rules"][1];
                rule["state"] == state && (state != "refused" || rule["reason"] == "TcpMd5")
            })
        };
        let state = of_bgp("refused")?;
        let message = &state["workloads"][0]["rules"][1]["message"];
        let message = message.as_str().unwrap_or_default();
        ensure!(message.contains("port 179") && message.contains("remove the keys"), "{message}");
        // Another port of the annotation.
        f.wait_served_by("laptop", TIMEOUT)?;
        drop(first);
        of_bgp("active")?;
        // Also while the rule is in force.
        let _again = bgp()?;
        of_bgp("refused")?;
        Ok(())
    });
}

#[test]
fn a_namespace_without_loopback_is_named_with_the_remedy() {
    run(|f| {
        f.pod.ip("link set lo down")?;
        let daemon = Daemon::start(f.t, &f.web(&f.rule()), &[])?;
        let (reason, message) = first_condition(&daemon, "pending")?;
        assert_eq!(reason, "KernelRefused");
        ensure!(message.contains("`ip link set lo up`"), "{message}");
        f.pod.ip("link set lo up")?;
        daemon.wait_active("web")?;
        assert_eq!(f.served_by()?, "laptop");
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
fn a_reserved_target_is_refused_with_the_setting_that_allows_it(
    #[case] target: &str,
    #[case] kind: &str,
) {
    run(|f| {
        let daemon = Daemon::start(f.t, &f.web(&format!("8080 -> {target}")), &[])?;
        let (reason, message) = first_condition(&daemon, "refused")?;
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
fn a_refusal_names_the_line_of_the_policy(
    #[case] policy: &str,
    #[case] expected: &str,
    #[case] place: &str,
) {
    run(|f| {
        let policy = f.policy(&policy.replace("LAPTOP", &f.laptop.ip4().to_string()))?;
        let daemon = Daemon::start(f.t, &f.web(&f.rule()), &["--policy", &policy])?;
        let (reason, message) = first_condition(&daemon, "refused")?;
        assert_eq!(reason, expected);
        ensure!(message.contains(place), "{message}");
        assert_eq!(f.served_by()?, "app");
        Ok(())
    });
}
