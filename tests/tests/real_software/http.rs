//! HTTP servers, and the load generator wrk.

use std::{net::SocketAddr, path::Path, time::Duration};

use anyhow::{Context as _, Result, ensure};
use interceptor_tests::{
    Hosts,
    software::{Fixture, server, software_test, software_test_if_there, text, tool},
};
use rstest::rstest;
use testbed::{Connection, Daemon, Namespace, Process, Protocol, nginx, nginx_with};

#[test]
fn wrk_finds_no_error_in_nginx() {
    software_test("wrk", &["nginx", "wrk"], |t| {
        let f = Fixture::new(t, 8080)?;
        let _target = nginx(&f.laptop, 8080, "laptop")?;
        let url = format!("http://{}:8080/", f.host());
        wrk(&f.client, &[&url])?;
        // With a connection for each request.
        wrk(&f.client, &["-H", "Connection: close", &url])?;
        let (redirected, others) = f.connections()?;
        assert!(redirected > 100.0 && others == 0.0, "{redirected} redirected, {others} others");
        Ok(())
    });
}

#[test]
fn wrk_finds_no_error_when_the_target_refuses_and_the_app_serves() {
    software_test("wrk-app", &["nginx", "wrk"], |t| {
        let f = Fixture::new(t, 8080)?;
        let _app = nginx(&f.pod, 8080, "app")?;
        let url = format!("http://{}:8080/", f.host());
        wrk(&f.client, &["-H", "Connection: close", &url])?;
        let (redirected, others) = f.connections()?;
        assert!(redirected == 0.0 && others > 100.0, "{redirected} redirected, {others} others");
        Ok(())
    });
}

#[test]
fn nginx_sees_the_clients_address_when_the_target_refuses() {
    software_test("client-address", &["nginx"], |t| {
        let f = Fixture::new(t, 8080)?;
        let _app = nginx(&f.pod, 8080, "app")?;
        check_clients_seen(&f, Protocol::Http)
    });
}

/// Servers in common languages, each written as its manual shows.
#[rstest]
#[case::python("python3", "server.py", &["python3", "server.py"])]
#[case::node("node", "server.js", &["node", "server.js"])]
#[case::java("java", "Server.java", &["java", "Server.java"])]
#[case::go("go", "server.go", &["go", "run", "server.go"])]
fn servers_see_the_clients_address_when_the_target_refuses(
    #[case] program: &str,
    #[case] source: &str,
    #[case] start: &[&str],
) {
    software_test_if_there(program, &[program], |t| {
        let f = Fixture::new(t, 8080)?;
        let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/real_software/servers");
        let mut command = server(&f.pod, start[0]);
        command.args(&start[1..start.len() - 1]).arg(sources.join(source));
        let mut app = f.pod.spawn(&mut command)?;
        // Some of them are compiled first.
        app.wait_for_port(8080, Duration::from_secs(120))?;
        check_clients_seen(&f, Protocol::Http)
    });
}

/// Fails unless the app sees the address of each client. The laptop has no target, so the app
/// serves.
fn check_clients_seen(f: &Fixture, protocol: Protocol) -> Result<()> {
    let (ip4, ip6): (SocketAddr, SocketAddr) =
        ((f.pod.ip4(), 8080).into(), (f.pod.ip6(), 8080).into());
    for to in [ip4, ip6, ip4] {
        let mut open = (0..20)
            .map(|_| Connection::open(&f.client, to, protocol))
            .collect::<Result<Vec<_>, _>>()?;
        for connection in &mut open {
            for _ in 0..2 {
                let answer = connection.ask()?;
                let own = connection.stream().local_addr()?;
                ensure!(
                    answer.tag == "app" && answer.peer == Some(own),
                    "client {own} got {answer:?}"
                );
            }
        }
    }
    Ok(())
}

/// A stolen connection is in the pod's namespace and uses the app's port. It must not prevent the
/// app from listening there.
#[test]
fn nginx_starts_and_restarts_while_connections_to_its_port_are_stolen() {
    software_test("restart", &["nginx"], |t| {
        let f = Fixture::new(t, 8080)?;
        let _target = nginx(&f.laptop, 8080, "laptop")?;
        let mut stolen = Connection::open(&f.client, (f.pod.ip4(), 8080), Protocol::Http)?;
        assert_eq!(stolen.ask()?.tag, "laptop");

        drop(nginx(&f.pod, 8080, "app").context("start")?);
        let _app = nginx(&f.pod, 8080, "app").context("start again")?;
        assert_eq!(stolen.ask()?.tag, "laptop");
        Ok(())
    });
}

/// Runs wrk for a second, and fails if it reports an error.
fn wrk(client: &Namespace, args: &[&str]) -> Result<()> {
    let report = text(tool(client, "wrk").args(["-t", "2", "-c", "64", "-d", "1"]).args(args))?;
    ensure!(!report.contains("Socket errors") && !report.contains("Non-2xx"), "{report}");
    let line = report.lines().find(|line| line.contains(" requests in ")).context("no requests")?;
    let requests: u64 = line.split_whitespace().next().context("no number")?.parse()?;
    ensure!(requests > 100, "{report}");
    Ok(())
}

#[test]
fn nginx_reads_the_clients_address_from_the_proxy_v2_header() {
    software_test("proxy-v2", &["nginx"], |t| {
        let Hosts { pod, laptop, client, .. } = Hosts::new(t)?;
        let _target = nginx_behind_proxy(&laptop)?;
        let (ip4, ip6) = (laptop.ip4(), laptop.ip6());
        // Client and target may differ in their address family.
        let rules = format!(
            "8004 -> {ip4}:3004 with proxy-v2; 8006 -> [{ip6}]:3006 with proxy-v2; \
             8046 -> [{ip6}]:3004 with proxy-v2; 8064 -> {ip4}:3006 with proxy-v2",
        );
        let _daemon = Daemon::start_active(t, &pod, &rules)?;
        for to in [
            SocketAddr::from((pod.ip4(), 8004)),
            (pod.ip6(), 8006).into(),
            (pod.ip4(), 8046).into(),
            (pod.ip6(), 8064).into(),
        ] {
            let mut connection = Connection::open(&client, to, Protocol::Http)?;
            // The header is sent once per connection, so the second request has none.
            for _ in 0..2 {
                let answer = connection.ask().with_context(|| format!("call {to}"))?;
                assert_eq!(answer.tag, "laptop");
                assert_eq!(answer.peer, Some(connection.stream().local_addr()?), "{to}");
                assert_eq!(answer.local, Some(to));
            }
        }
        Ok(())
    });
}

/// Starts nginx for clients by IPv4 on port 3004, and by IPv6, with brackets around addresses, on
/// port 3006.
fn nginx_behind_proxy(netns: &Namespace) -> Result<Process> {
    let server = |port: u16, left: &str, right: &str| {
        format!(
            "server {{\n\
             listen {port} proxy_protocol;\n\
             listen [::]:{port} proxy_protocol;\n\
             return 200 \"laptop {left}$proxy_protocol_addr{right}:$proxy_protocol_port \
             {left}$proxy_protocol_server_addr{right}:$proxy_protocol_server_port\\n\";\n\
             }}\n"
        )
    };
    let http = server(3004, "", "") + &server(3006, "[", "]");
    nginx_with(netns, "nginx-proxy", 3006, &http)
}
