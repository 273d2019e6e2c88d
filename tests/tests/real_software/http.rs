//! HTTP servers, and the load generator wrk.

use std::{fs, net::SocketAddr, path::Path, time::Duration};

use anyhow::{Context as _, Result, ensure};
use interceptor_tests::software::{
    Fixture, server, software_test, software_test_if_there, text, tool,
};
use rstest::rstest;
use testbed::{Connection, Daemon, Namespace, Process, Protocol, nginx, workload};

use crate::TIMEOUT;

#[test]
fn wrk_finds_no_error_in_nginx() {
    software_test("wrk", &["nginx", "wrk"], |t| {
        let fixture = Fixture::new(t, 8080)?;
        let _target = nginx(&fixture.laptop, 8080, "laptop")?;
        let url = format!("http://{}:8080/", fixture.host());
        wrk(&fixture.client, &[&url])?;
        // And with a connection for each request.
        wrk(&fixture.client, &["-H", "Connection: close", &url])?;
        let (redirected, others) = fixture.connections()?;
        assert!(redirected > 100.0 && others == 0.0, "{redirected} and {others}");
        Ok(())
    });
}

#[test]
fn wrk_finds_no_error_when_the_app_has_to_serve() {
    software_test("wrk-app", &["nginx", "wrk"], |t| {
        let fixture = Fixture::new(t, 8080)?;
        let _app = nginx(&fixture.pod, 8080, "app")?;
        let url = format!("http://{}:8080/", fixture.host());
        wrk(&fixture.client, &["-H", "Connection: close", &url])?;
        let (redirected, others) = fixture.connections()?;
        assert!(redirected == 0.0 && others > 100.0, "{redirected} and {others}");
        Ok(())
    });
}

#[test]
fn nginx_sees_the_callers_that_it_serves_in_the_targets_place() {
    software_test("callers", &["nginx"], |t| {
        let fixture = Fixture::new(t, 8080)?;
        let _app = nginx(&fixture.pod, 8080, "app")?;
        callers_are_seen(&fixture, Protocol::Http)
    });
}

/// Servers in the languages that people use, each as it stands in their manuals.
#[rstest]
#[case::python("python3", "server.py", &["python3", "server.py"])]
#[case::node("node", "server.js", &["node", "server.js"])]
#[case::java("java", "Server.java", &["java", "Server.java"])]
#[case::go("go", "server.go", &["go", "run", "server.go"])]
fn servers_see_the_callers_that_they_serve_in_the_targets_place(
    #[case] program: &str,
    #[case] source: &str,
    #[case] start: &[&str],
) {
    software_test_if_there(program, &[program], |t| {
        let fixture = Fixture::new(t, 8080)?;
        let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/real_software/servers");
        let mut command = server(&fixture.pod, start[0]);
        command.args(&start[1..start.len() - 1]).arg(sources.join(source));
        let mut app = fixture.pod.spawn(&mut command)?;
        // The compilers among them take their time.
        app.wait_for_port(8080, Duration::from_secs(120))?;
        callers_are_seen(&fixture, Protocol::Http)
    });
}

/// The app in the pod says who calls it; nobody listens on the laptop.
fn callers_are_seen(fixture: &Fixture, question: Protocol) -> Result<()> {
    let (ip4, ip6): (SocketAddr, SocketAddr) =
        ((fixture.pod.ip4(), 8080).into(), (fixture.pod.ip6(), 8080).into());
    for to in [ip4, ip6, ip4] {
        let mut open = (0..20)
            .map(|_| Connection::open(&fixture.client, to, question))
            .collect::<Result<Vec<_>, _>>()?;
        for connection in &mut open {
            for _ in 0..2 {
                let answer = connection.ask()?;
                let caller = connection.stream().local_addr()?;
                ensure!(
                    answer.tag == "app" && answer.peer == Some(caller),
                    "{caller} is told {answer:?}"
                );
            }
        }
    }
    Ok(())
}

/// A stolen connection lives in the pod's namespace and has the number of the port: it must not be in the app's way.
#[test]
fn nginx_starts_and_restarts_while_connections_to_its_port_are_stolen() {
    software_test("restart", &["nginx"], |t| {
        let fixture = Fixture::new(t, 8080)?;
        let _target = nginx(&fixture.laptop, 8080, "laptop")?;
        let mut stolen =
            Connection::open(&fixture.client, (fixture.pod.ip4(), 8080), Protocol::Http)?;
        assert_eq!(stolen.ask()?.tag, "laptop");

        drop(nginx(&fixture.pod, 8080, "app").context("start")?);
        let _app = nginx(&fixture.pod, 8080, "app").context("start again")?;
        assert_eq!(stolen.ask()?.tag, "laptop");
        Ok(())
    });
}

/// A second of load.
fn wrk(client: &Namespace, args: &[&str]) -> Result<()> {
    let report = text(tool(client, "wrk").args(["-t", "2", "-c", "64", "-d", "1"]).args(args))?;
    ensure!(!report.contains("Socket errors") && !report.contains("Non-2xx"), "{report}");
    let line = report.lines().find(|line| line.contains(" requests in ")).context("no requests")?;
    let requests: u64 = line.split_whitespace().next().context("no number")?.parse()?;
    ensure!(requests > 100, "{report}");
    Ok(())
}

#[test]
fn nginx_reads_the_callers_address_from_proxy_v2() {
    software_test("proxy-v2", &["nginx"], |t| {
        let (pod, laptop, client) = (t.pod("web")?, t.host("laptop")?, t.host("client")?);
        let _target = nginx_behind_proxy(&laptop)?;
        let (ip4, ip6) = (laptop.ip4(), laptop.ip6());
        // The family of the caller and that of the target have nothing to do with each other.
        let rules = format!(
            "8004 -> {ip4}:3004 with proxy-v2; 8006 -> [{ip6}]:3006 with proxy-v2; \
             8046 -> [{ip6}]:3004 with proxy-v2; 8064 -> {ip4}:3006 with proxy-v2",
        );
        let daemon = Daemon::start(t, &workload(&pod, &rules), &[])?;
        daemon.wait_active("web")?;
        for to in [
            SocketAddr::from((pod.ip4(), 8004)),
            (pod.ip6(), 8006).into(),
            (pod.ip4(), 8046).into(),
            (pod.ip6(), 8064).into(),
        ] {
            let mut connection = Connection::open(&client, to, Protocol::Http)?;
            // The header comes once; the second request has none.
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

/// On port 3004 it expects callers with IPv4, on 3006 with IPv6: addresses of the latter are written in brackets.
fn nginx_behind_proxy(netns: &Namespace) -> Result<Process> {
    let dir = netns.dir().join("nginx-proxy");
    fs::create_dir(&dir)?;
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
    let config = format!(
        "daemon off;\nerror_log stderr;\npid {dir}/pid;\nevents {{}}\nhttp {{\naccess_log off;\n{}{}}}\n",
        server(3004, "", ""),
        server(3006, "[", "]"),
        dir = dir.display(),
    );
    let file = dir.join("nginx.conf");
    fs::write(&file, config)?;
    let mut process = netns.spawn(
        netns.command("nginx").args(["-e", "stderr", "-p"]).arg(&dir).arg("-c").arg(&file),
    )?;
    process.wait_for_port(3006, TIMEOUT)?;
    Ok(process)
}
