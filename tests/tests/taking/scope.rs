//! Which connections a rule redirects, and which it leaves alone.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use interceptor_tests::{TIMEOUT, counted, outcomes, run, served_by};
use rstest::rstest;
use testbed::{Daemon, Namespace, Protocol, TcpService, call, wait_until, workload};

#[test]
fn connections_by_ipv4_ipv6_and_mapped_ipv4_reach_the_target() {
    run(|f| {
        let daemon = f.daemon()?;
        let mapped = f.pod.ip4().to_ipv6_mapped();
        for ip in [IpAddr::from(f.pod.ip4()), f.pod.ip6().into(), mapped.into()] {
            assert_eq!(served_by(&f.client, (ip, 8080))?, "laptop", "{ip}");
        }
        assert_eq!(outcomes(&daemon, "web")?, counted([("redirected", 3)]));
        assert_eq!((f.target.connections(), f.app.connections()), (3, 0));
        Ok(())
    });
}

#[test]
fn clients_of_both_families_reach_a_target_by_ipv6() {
    run(|f| {
        let _daemon = f.daemon_with(&format!("8080 -> [{}]:3000", f.laptop.ip6()), &[])?;
        for ip in [IpAddr::from(f.pod.ip4()), f.pod.ip6().into()] {
            let answer = call(&f.client, (ip, 8080), Protocol::Line)?;
            assert_eq!(answer.tag, "laptop");
            assert_eq!(answer.peer.map(|peer| peer.ip()), Some(f.pod.ip6().into()));
        }
        Ok(())
    });
}

#[rstest]
#[case::every_ipv4_address(|_: &Namespace| Some(Ipv4Addr::UNSPECIFIED.into()))]
#[case::every_address(|_: &Namespace| Some(Ipv6Addr::UNSPECIFIED.into()))]
#[case::one_address(|pod: &Namespace| Some(pod.ip4().into()))]
#[case::nowhere(|_: &Namespace| None)]
fn a_port_is_redirected_whichever_address_the_app_listens_on(
    #[case] listen: fn(&Namespace) -> Option<IpAddr>,
) {
    run(|f| {
        let port = SocketAddr::from((f.pod.ip4(), 9090));
        let app =
            listen(&f.pod).map(|ip| TcpService::tagged(&f.pod, (ip, 9090), "app")).transpose()?;
        let before = served_by(&f.client, port).ok();
        assert_eq!(before.as_deref(), app.as_ref().map(|_| "app"));

        let daemon = f.daemon_with(&format!("9090 -> {}:3000", f.laptop.ip4()), &[])?;
        assert_eq!(served_by(&f.client, port)?, "laptop");

        daemon.rewrite_workloads(&f.without_rule())?;
        wait_until("the answer of before the rule", TIMEOUT, || {
            served_by(&f.client, port).ok() == before
        })
    });
}

#[test]
fn connections_from_inside_the_pod_are_redirected_too() {
    run(|f| {
        let daemon = f.daemon()?;
        let inside: [IpAddr; 4] = [
            Ipv4Addr::LOCALHOST.into(),
            Ipv6Addr::LOCALHOST.into(),
            f.pod.ip4().into(),
            f.pod.ip6().into(),
        ];
        for ip in inside {
            assert_eq!(served_by(&f.pod, (ip, 8080))?, "laptop", "{ip}");
        }
        assert_eq!(outcomes(&daemon, "web")?, counted([("redirected", 4)]));
        Ok(())
    });
}

#[rstest]
#[case::to_the_app("local-to-app", "app")]
#[case::to_the_target("local-to-target", "laptop")]
fn a_rule_says_where_connections_from_inside_the_pod_go(
    #[case] option: &str,
    #[case] expected: &str,
) {
    run(|f| {
        let _daemon = f.daemon_with(&format!("{} with {option}", f.rule()), &[])?;
        for ip in [IpAddr::from(Ipv4Addr::LOCALHOST), f.pod.ip4().into(), f.pod.ip6().into()] {
            assert_eq!(served_by(&f.pod, (ip, 8080))?, expected, "{ip}");
        }
        assert_eq!(f.served_by()?, "laptop");
        Ok(())
    });
}

#[test]
fn a_rule_about_requests_may_leave_connections_from_inside_the_pod_alone() {
    run(|f| {
        let rule = format!("{} when request.path == '/' with local-to-app", f.rule());
        let daemon = f.daemon_with(&rule, &[])?;
        assert_eq!(served_by(&f.pod, (Ipv4Addr::LOCALHOST, 8080))?, "app");
        assert_eq!(outcomes(&daemon, "web")?, counted([("passed/not_matched", 1)]));
        Ok(())
    });
}

#[test]
fn the_ports_of_the_rules_are_redirected_and_no_others() {
    run(|f| {
        let _other = TcpService::tagged(&f.laptop, (f.laptop.ip4(), 3001), "second")?;
        let _admin = TcpService::tagged(&f.pod, (f.pod.ip4(), 7070), "untouched")?;
        let laptop = f.laptop.ip4();
        let daemon =
            f.daemon_with(&format!("8080,8081 -> {laptop}:3000; 9090 -> {laptop}:3001"), &[])?;
        for (port, expected) in
            [(8080, "laptop"), (8081, "laptop"), (9090, "second"), (7070, "untouched")]
        {
            assert_eq!(served_by(&f.client, (f.pod.ip4(), port))?, expected, "{port}");
        }
        for (port, redirected) in [("8080", 1.0), ("8081", 1.0), ("9090", 1.0), ("7070", 0.0)] {
            let labels = [("port", port), ("outcome", "redirected")];
            assert_eq!(
                daemon.metric("interceptor_connections_total", &labels),
                redirected,
                "{port}"
            );
        }
        Ok(())
    });
}

#[test]
fn a_rule_without_ports_redirects_the_ports_that_the_workload_declares() {
    run(|f| {
        let file = format!(
            "workloads:\n- name: web\n  netns: {}\n  ports: [8080, 9090]\n  \
             annotations: {{debug.redirect: '{}:3000'}}\n",
            f.pod.netns_path().display(),
            f.laptop.ip4(),
        );
        let daemon = Daemon::start(f.t, &file, &[])?;
        let state = daemon.wait_active("web")?;
        assert_eq!(state["workloads"][0]["rules"][0]["ports"], serde_json::json!([8080, 9090]));
        for port in [8080, 9090] {
            assert_eq!(served_by(&f.client, (f.pod.ip4(), port))?, "laptop", "{port}");
        }
        Ok(())
    });
}

#[test]
fn each_workload_has_its_own_rules_and_counters() {
    run(|f| {
        let api = f.t.pod("api")?;
        let _api_app = TcpService::tagged(&api, (api.ip4(), 8080), "api-app")?;
        let _second = TcpService::tagged(&f.laptop, (f.laptop.ip4(), 3001), "second")?;
        let rule_of_api = format!("8080 -> {}:3001", f.laptop.ip4());
        let both =
            f.web(&f.rule()) + workload(&api, &rule_of_api).trim_start_matches("workloads:\n");
        let daemon = Daemon::start(f.t, &both, &[])?;
        daemon.wait_active("web")?;
        daemon.wait_active("api")?;
        for _ in 0..2 {
            assert_eq!(f.served_by()?, "laptop");
        }
        assert_eq!(served_by(&f.client, (api.ip4(), 8080))?, "second");
        assert_eq!(outcomes(&daemon, "web")?, counted([("redirected", 2)]));
        assert_eq!(outcomes(&daemon, "api")?, counted([("redirected", 1)]));

        daemon.rewrite_workloads(&workload(&api, &rule_of_api))?;
        f.wait_served_by("app", TIMEOUT)?;
        assert_eq!(served_by(&f.client, (api.ip4(), 8080))?, "second");
        assert_eq!(outcomes(&daemon, "api")?, counted([("redirected", 2)]));
        Ok(())
    });
}

#[test]
fn two_workloads_may_share_a_namespace() {
    run(|f| {
        let admin_app = TcpService::tagged(&f.pod, (f.pod.ip4(), 9090), "second-app")?;
        let second =
            f.web(&format!("9090 -> {}:3000", f.laptop.ip4())).replace("name: web", "name: second");
        let both = f.web(&f.rule()) + second.trim_start_matches("workloads:\n");
        let daemon = Daemon::start(f.t, &both, &[])?;
        daemon.wait_active("web")?;
        daemon.wait_active("second")?;
        for port in [8080, 9090] {
            assert_eq!(served_by(&f.client, (f.pod.ip4(), port))?, "laptop", "{port}");
        }
        // A connection that one workload passes to the app is not stolen by the other.
        drop(f.target);
        assert_eq!(served_by(&f.client, (f.pod.ip4(), 8080))?, "app");
        assert_eq!(served_by(&f.client, (f.pod.ip4(), 9090))?, "second-app");
        for workload in ["web", "second"] {
            let expected = counted([("redirected", 1), ("fell_back/target_refused", 1)]);
            assert_eq!(outcomes(&daemon, workload)?, expected, "{workload}");
        }
        assert_eq!(admin_app.connections(), 1);
        Ok(())
    });
}

#[rstest]
#[case::from_the_pod("pod")]
#[case::from_the_node("node")]
fn the_policy_decides_whether_pod_or_node_connects_to_the_target(#[case] dial: &str) {
    run(|f| {
        let policy = f.policy(&format!("dial: {dial}\n"))?;
        let _daemon = f.daemon_with(&f.rule(), &["--policy", &policy])?;
        let answer = call(&f.client, f.port(), Protocol::Line)?;
        let expected = if dial == "pod" { f.pod.ip4() } else { f.laptop.gateway4() };
        assert_eq!(answer.tag, "laptop");
        assert_eq!(answer.peer.map(|peer| peer.ip()), Some(expected.into()));
        Ok(())
    });
}
