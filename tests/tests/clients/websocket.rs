//! WebSocket: a Python library, and curl.

use std::{path::Path, process::Command, thread, time::Duration};

use anyhow::{Result, ensure};
use interceptor_tests::software::{output, software_test, text, tool};
use testbed::{Daemon, Namespace, Process, wait_until};

use crate::{Fixture, PORT, USERS};

/// Debian's interpreter, for which the library is installed.
const PYTHON: &str = "/usr/bin/python3";

const LIBRARY: &str = "/usr/lib/python3/dist-packages/websockets/__init__.py";

/// A program of this folder.
fn websocket(netns: &Namespace, program: &str) -> Command {
    let mut command = tool(netns, PYTHON);
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients").join(program));
    command
}

/// Starts the server, which sends `tag` first.
fn websocket_server(netns: &Namespace, tag: &str) -> Result<Process> {
    let mut server = netns.spawn(websocket(netns, "websocket_server.py").env("TAG", tag))?;
    server.wait_for_port(PORT, Duration::from_secs(10))?;
    Ok(server)
}

#[test]
fn a_websocket_stays_with_the_server_of_its_request() {
    software_test("websocket", &[PYTHON, LIBRARY], |t| {
        let f = Fixture::new(t)?;
        let _app = websocket_server(&f.hosts.pod, "app")?;
        let _target = websocket_server(&f.hosts.laptop, "laptop")?;
        let daemon = f.daemon()?;
        let url = format!("ws://{}:{PORT}/", f.hosts.pod.ip4());
        // Both users at the same time.
        thread::scope(|scope| {
            let clients = USERS.map(|(user, tag)| {
                let mut client = websocket(&f.hosts.client, "websocket_client.py");
                client.args([&url, user, tag]);
                scope.spawn(move || text(&mut client))
            });
            clients.into_iter().try_for_each(|client| client.join().expect("no panic").map(drop))
        })?;
        check_tunnels(&daemon, 4)
    });
}

#[test]
fn curl_gets_the_upgrade_response_and_the_frames_of_the_server() {
    software_test("curl-websocket", &["curl", PYTHON, LIBRARY], |t| {
        let f = Fixture::new(t)?;
        let _app = websocket_server(&f.hosts.pod, "app")?;
        let _target = websocket_server(&f.hosts.laptop, "laptop")?;
        let fields = [
            "Connection: Upgrade",
            "Upgrade: websocket",
            "Sec-WebSocket-Version: 13",
            "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
        ];
        let fields = fields.map(|field| ["-H", field]).concat();
        let request = |user, server: &Namespace| {
            let url = format!("http://{}:{PORT}/hello", server.ip4());
            let args = [&["-i", "-N", "-H", "Host: web"][..], &fields, &[&*url]].concat();
            let response = output(&mut f.curl(user, &args))?;
            let lines = response.split_inclusive(|byte| *byte == b'\n');
            Ok::<_, anyhow::Error>(
                lines.filter(|line| !line.starts_with(b"Date:")).collect::<Vec<_>>().concat(),
            )
        };
        let directly = [request("someone", &f.hosts.pod)?, request("debug", &f.hosts.laptop)?];
        let daemon = f.daemon()?;
        for ((user, tag), directly) in USERS.into_iter().zip(directly) {
            let relayed = request(user, &f.hosts.pod)?;
            assert_eq!(String::from_utf8_lossy(&relayed), String::from_utf8_lossy(&directly));
            ensure!(relayed.starts_with(b"HTTP/1.1 101 Switching Protocols\r\n"));
            // A text frame and the start of a close frame (RFC 6455, section 5.2).
            let frame = [&[0x81, tag.len() as u8], tag.as_bytes(), &[0x88, 2]].concat();
            ensure!(relayed.windows(frame.len()).any(|window| window == frame), "{relayed:?}");
        }
        check_tunnels(&daemon, 2)
    });
}

/// Waits until the daemon has counted `count` tunnels, and fails if it counted another pipe.
fn check_tunnels(daemon: &Daemon, count: u64) -> Result<()> {
    wait_until("the daemon's count", Duration::from_secs(5), || {
        let workload = daemon.workload("web")?;
        let piped = workload["rules"][0]["piped"].as_array().cloned().unwrap_or_default();
        ensure!(
            piped.len() == 1 && piped[0]["reason"] == "tunnel" && piped[0]["count"] == count,
            "{workload}"
        );
        Ok(())
    })
}
