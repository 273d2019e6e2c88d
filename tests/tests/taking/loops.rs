//! Rules whose target leads back to a redirected port.

use std::{
    io::{self, Read as _},
    net::{Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpStream},
    thread,
};

use anyhow::{Context as _, Result, ensure};
use interceptor_tests::{
    Fixture, SECOND, SecondDaemon, TIMEOUT, counted, outcomes, run, served_by,
};
use rstest::rstest;
use testbed::{
    CommandOutput, Connection, Daemon, Namespace, Protocol, TcpService, wait_until, workload,
};

use crate::listeners;

#[test]
fn another_port_of_the_pod_is_allowed_as_target() {
    run(|f| {
        let debug = TcpService::tagged(&f.pod, (Ipv6Addr::UNSPECIFIED, 9090), "debug-port")?;
        let daemon = f.daemon_with(&format!("8080 -> {}:9090", f.pod.ip4()), &[])?;
        assert_eq!(f.served_by()?, "debug-port");
        assert_eq!(served_by(&f.pod, (Ipv4Addr::LOCALHOST, 8080))?, "debug-port");
        assert_eq!(served_by(&f.client, (f.pod.ip6(), 8080))?, "debug-port");
        assert_eq!((debug.connections(), f.app.connections()), (3, 0));
        assert_eq!(outcomes(&daemon, "web")?, counted([("redirected", 3)]));
        Ok(())
    });
}

#[rstest]
#[case::same_port_by_ipv4(|f: &Fixture<'_>| format!("8080 -> {}:8080", f.pod.ip4()))]
#[case::same_port_by_ipv6(|f: &Fixture<'_>| format!("8080 -> [{}]:8080", f.pod.ip6()))]
#[case::same_port_by_mapped_ipv4(|f: &Fixture<'_>| {
    format!("8080 -> [{}]:8080", f.pod.ip4().to_ipv6_mapped())
})]
#[case::crosswise(|f: &Fixture<'_>| format!("8080 -> {0}:9090; 9090 -> {0}:8080", f.pod.ip4()))]
fn a_redirected_port_of_the_same_workload_is_refused_as_target(
    #[case] rule: fn(&Fixture<'_>) -> String,
) {
    run(|f| {
        let daemon = Daemon::start(f.t, &f.web(&rule(&f)), &[])?;
        let state = daemon.wait_rules("web", "refused")?;
        for rule in state["workloads"][0]["rules"].as_array().into_iter().flatten() {
            assert_eq!(rule["reason"], "Loop", "{rule}");
        }
        assert_eq!(f.served_by()?, "app");
        Ok(())
    });
}

#[test]
fn a_call_between_two_workloads_that_redirect_to_each_other_ends_at_an_app() {
    run(|f| {
        let api = f.t.pod("api")?;
        let api_app = TcpService::tagged(&api, (api.ip4(), 8080), "api-app")?;
        let to_api = f.web(&format!("8080 -> {}:8080", api.ip4()));
        let to_web = workload(&api, &format!("8080 -> {}:8080", f.pod.ip4()));
        let daemon =
            Daemon::start(f.t, &(to_api + to_web.trim_start_matches("workloads:\n")), &[])?;
        // The daemon may find the loop before the first call, from either side.
        let rule = |name: &str| Ok::<_, anyhow::Error>(daemon.workload(name)?["rules"][0].clone());
        for name in ["web", "api"] {
            wait_until(&format!("the rule of {name} to be active or refused"), SECOND * 5, || {
                let rule = rule(name)?;
                ensure!(rule["state"] == "active" || rule["reason"] == "Loop", "{rule}");
                Ok(())
            })?;
        }

        let one_of = |tag: &str| ["app", "api-app"].contains(&tag);
        assert!(one_of(&f.served_by()?), "the call ends at an app");
        assert_eq!(f.app.connections() + api_app.connections(), 1);
        wait_until("one of the rules to be refused", SECOND * 2, || {
            let rules = [rule("web")?, rule("api")?];
            ensure!(rules.iter().any(|rule| rule["reason"] == "Loop"), "{rules:?}");
            Ok(())
        })?;
        assert!(one_of(&served_by(&f.client, (api.ip4(), 8080))?));
        Ok(())
    });
}

/// Two daemons, as on two nodes: neither knows the other one's connections.
#[test]
fn a_loop_over_two_daemons_is_found() {
    run(|f| {
        let api = f.t.pod("api")?;
        let _api_app = TcpService::tagged(&api, (api.ip4(), 8080), "api-app")?;
        let first = f.daemon_with(&format!("8080 -> {}:8080", api.ip4()), &[])?;
        let to_web = format!("8080 -> {}:8080", f.pod.ip4());
        let second = SecondDaemon::start(f.t, &api, &to_web)?;
        assert!(["app", "api-app"].contains(&f.served_by()?.as_str()));
        wait_until("one of the rules to be refused", SECOND, || {
            let rules = [
                first.workload("web")?["rules"][0].clone(),
                second.status()?["workloads"][0]["rules"][0].clone(),
            ];
            ensure!(rules.iter().any(|rule| rule["reason"] == "Loop"), "{rules:?}");
            Ok(())
        })?;
        let open = || {
            let first = first.metric("interceptor_open_connections", &[]);
            let second = second.status()?["connections"]["open"].as_u64();
            second.map(|second| first as u64 + second).context("the connections of the second")
        };
        assert!(second.connections()? <= 3 * HANDFUL, "{:?}", second.status());
        wait_until("the loop to be over", TIMEOUT, || {
            let open = open()?;
            ensure!(open == 0, "{open} open connections");
            Ok(())
        })?;
        Ok(())
    });
}

/// kube-proxy translates the destination, and the source of a pod that calls itself.
#[test]
fn the_pods_own_service_is_found_before_a_client_comes() {
    run(|f| {
        let service = SocketAddr::from(([10, 99, 200, 1], 80));
        translate(f.t.node(), service, (f.pod.ip4(), 8080).into())?;
        assert_eq!(served_by(&f.pod, service)?, "app");
        let daemon = Daemon::start(f.t, &f.web(&format!("8080 -> {service}")), &[])?;
        is_refused_as_loop(&daemon, "web")?;
        assert_eq!(f.app.connections(), 1, "no test connection reaches the app");
        for client in [&f.pod, &f.client] {
            assert_eq!(served_by(client, service)?, "app");
        }
        Ok(())
    });
}

/// A proxy has sources of its own, as the address translation of a Service may have.
#[test]
fn a_target_that_leads_back_through_a_proxy_is_found_within_a_second() {
    run(|f| {
        let service = forwarder(&f.laptop, 80, (f.pod.ip4(), 8080).into())?;
        let daemon = f.daemon_with(&format!("8080 -> {}:80", f.laptop.ip4()), &[])?;
        assert_eq!(f.served_by()?, "app", "the call ends at the app");
        is_refused_as_loop(&daemon, "web")?;
        assert!(service.connections() <= HANDFUL, "{} connections", service.connections());

        let before = service.connections();
        for _ in 0..5 {
            assert_eq!(f.served_by()?, "app");
        }
        assert_eq!(service.connections(), before);
        // The rule is tried again when it is written again.
        daemon.rewrite_workloads(&f.without_rule())?;
        daemon.wait_state("no rule", |state| {
            state["workloads"][0]["rules"].as_array().is_some_and(Vec::is_empty)
        })?;
        daemon.rewrite_workloads(&f.web(&f.rule()))?;
        f.wait_served_by("laptop", SECOND)
    });
}

#[test]
fn a_loop_through_two_proxies_and_two_pods_is_found() {
    run(|f| {
        let api = f.t.pod("api")?;
        let _api_app = TcpService::tagged(&api, (api.ip4(), 8080), "api-app")?;
        let to_web = forwarder(&f.laptop, 80, (f.pod.ip4(), 8080).into())?;
        let to_api = forwarder(&f.laptop, 81, (api.ip4(), 8080).into())?;
        let web = f.web(&format!("8080 -> {}:81", f.laptop.ip4()));
        let back = workload(&api, &format!("8080 -> {}:80", f.laptop.ip4()));
        let daemon = Daemon::start(f.t, &(web + back.trim_start_matches("workloads:\n")), &[])?;
        daemon.wait_active("web")?;
        daemon.wait_active("api")?;
        assert!(["app", "api-app"].contains(&f.served_by()?.as_str()));
        wait_until("one of the rules to be refused", SECOND, || {
            let state = daemon.state()?.to_string();
            ensure!(state.contains("\"Loop\""), "{state}");
            Ok(())
        })?;
        let connections = (to_web.connections(), to_api.connections());
        // Each rule has a few suspicions when the machine is busy, and probes for each.
        assert!(connections.0 <= 4 * HANDFUL && connections.1 <= 4 * HANDFUL, "{connections:?}");
        Ok(())
    });
}

#[test]
fn many_clients_of_a_silent_target_are_no_loop() {
    run(|mut f| {
        const CLIENTS: usize = 100;
        f.target.stop_listening();
        let silent = TcpService::silent(&f.laptop, (f.laptop.ip4(), 3000))?;
        let daemon = f.daemon()?;
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| Connection::open(&f.client, f.port(), Protocol::Line))
            .collect::<io::Result<_>>()?;
        wait_until("all clients to reach the target", TIMEOUT, || {
            let outcomes = outcomes(&daemon, "web")?;
            ensure!(outcomes == counted([("redirected", CLIENTS as u64)]), "{outcomes:?}");
            // The target's program may accept a connection later than the daemon counts it.
            let accepted = silent.connections();
            ensure!(accepted >= CLIENTS as u64, "{accepted}");
            Ok(())
        })?;
        drop(clients);
        daemon.wait_active("web")?;
        // The probes are all that the target got besides.
        let probes = silent.connections() - CLIENTS as u64;
        assert!(probes <= 10, "{probes} probes");
        Ok(())
    });
}

/// Maximum number of connections through a forwarder in a loop that one client started.
const HANDFUL: u64 = 20;

/// Waits until the workload's rule is refused because it leads back.
fn is_refused_as_loop(daemon: &Daemon, workload: &str) -> Result<()> {
    wait_until("the rule to be refused", SECOND, || {
        let rule = daemon.workload(workload)?["rules"][0].clone();
        ensure!(rule["state"] == "refused" && rule["reason"] == "Loop", "{rule}");
        Ok(())
    })
}

/// Translates connections to `service` into some to `pod` that come from the node, as a Service
/// does.
fn translate(node: &Namespace, service: SocketAddr, pod: SocketAddr) -> Result<()> {
    let (service_ip, service_port) = (service.ip().to_string(), service.port().to_string());
    let (pod_ip, pod_port, to) = (pod.ip().to_string(), pod.port().to_string(), pod.to_string());
    let to_service = ["PREROUTING", "-d", &service_ip, "-p", "tcp", "--dport", &service_port];
    let to_pod = ["POSTROUTING", "-d", &pod_ip, "-p", "tcp", "--dport", &pod_port];
    let destination = ["-j", "DNAT", "--to-destination", &to];
    for (place, action) in [(to_service, &destination[..]), (to_pod, &["-j", "MASQUERADE"])] {
        let mut command = node.command("iptables");
        let output = command.args(["-w", "-t", "nat", "-A"]).args(place).args(action).output()?;
        CommandOutput::new("iptables", &output).ok()?;
    }
    Ok(())
}

/// A proxy that connects each of its clients to `to`.
fn forwarder(netns: &Namespace, port: u16, to: SocketAddr) -> Result<TcpService> {
    let from = netns.clone();
    TcpService::start(netns, (netns.ip4(), port), move |client, _| {
        let server = from.run(|| TcpStream::connect(to))?;
        let (mut up, mut down) = ((client.try_clone()?, server.try_clone()?), (server, client));
        let upwards = thread::spawn(move || {
            let _ = io::copy(&mut up.0, &mut up.1);
            // An end or a reset of one side ends the other.
            let _ = up.1.shutdown(Shutdown::Both);
        });
        let _ = io::copy(&mut down.0, &mut down.1);
        let _ = down.1.shutdown(Shutdown::Both);
        let _ = upwards.join();
        Ok(())
    })
}

#[test]
fn a_connection_directly_to_a_listener_of_the_relay_is_closed() {
    run(|f| {
        let before = listeners(&f.pod);
        let daemon = f.daemon()?;
        let relay: Vec<_> =
            listeners(&f.pod).into_iter().filter(|addr| !before.contains(addr)).collect();
        assert!(
            relay.iter().any(SocketAddr::is_ipv4) && relay.iter().any(SocketAddr::is_ipv6),
            "{relay:?}"
        );
        for addr in &relay {
            assert!(addr.ip().is_loopback(), "{addr} is reachable from outside");
            // The relay may close the connection before connect returns.
            let read =
                f.pod.run(|| TcpStream::connect_timeout(addr, SECOND)).and_then(|mut stream| {
                    stream.set_read_timeout(Some(SECOND))?;
                    stream.read_exact(&mut [0])
                });
            let end = read.expect_err("the relay sent something").kind();
            let closed = [io::ErrorKind::ConnectionReset, io::ErrorKind::UnexpectedEof];
            assert!(closed.contains(&end), "{addr}: {end}");
        }
        let labels = [("workload", "web"), ("outcome", "refused"), ("reason", "relay_address")];
        assert_eq!(daemon.metric("interceptor_connections_total", &labels), relay.len() as f64);
        assert_eq!((f.app.connections(), f.target.connections()), (0, 0));
        Ok(())
    });
}
