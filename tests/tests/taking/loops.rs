//! Rules whose target leads back to a redirected port.

use std::{
    io::{self, Read as _},
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream},
};

use interceptor_tests::{Fixture, SECOND, counted, outcomes, run, served_by};
use rstest::rstest;
use testbed::{Daemon, TcpService, workload};

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
        daemon.wait_active("web")?;
        daemon.wait_active("api")?;

        const CALLS: u64 = 50;
        for _ in 0..CALLS {
            assert_eq!(f.served_by()?, "app", "the call comes back to web");
        }
        // Web redirects to api, api redirects to web, and web passes its own connection to its app.
        assert_eq!(
            outcomes(&daemon, "web")?,
            counted([("redirected", CALLS), ("passed/loop", CALLS)])
        );
        assert_eq!(outcomes(&daemon, "api")?, counted([("redirected", CALLS)]));
        assert_eq!((f.app.connections(), api_app.connections()), (CALLS, 0));
        Ok(())
    });
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
