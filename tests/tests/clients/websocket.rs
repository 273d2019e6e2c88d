//! WebSocket, by a library and by curl.

use std::{path::Path, process::Command, thread, time::Duration};

use anyhow::{Result, ensure};
use interceptor_tests::software::{output, software_test, text, tool};
use testbed::{Daemon, Namespace, Process, wait_until};

use crate::{Fixture, PORT, USERS};

/// Debian's own, which has the library.
const PYTHON: &str = "/usr/bin/python3";

const LIBRARY: &str = "/usr/lib/python3/dist-packages/websockets/__init__.py";

fn websocket(netns: &Namespace, program: &str) -> Command {
    let mut command = tool(netns, PYTHON);
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients").join(program));
    command
}

fn websocket_server(netns: &Namespace, tag: &str) -> Result<Process> {
    let mut server = netns.spawn(websocket(netns, "websocket_server.py").env("TAG", tag))?;
    server.wait_for_port(PORT, Duration::from_secs(10))?;
    Ok(server)
}

#[test]
fn websockets_lead_where_their_request_went() {
    software_test("websocket", &[PYTHON, LIBRARY], |t| {
        let fixture = Fixture::new(t)?;
        let _app = websocket_server(&fixture.pod, "app")?;
        let _target = websocket_server(&fixture.laptop, "laptop")?;
        let daemon = fixture.daemon(t)?;
        let url = format!("ws://{}:{PORT}/", fixture.pod.ip4());
        // Both at once.
        thread::scope(|scope| {
            let talks = USERS.map(|(user, tag)| {
                let mut client = websocket(&fixture.client, "websocket_client.py");
                client.args([&url, user, tag]);
                scope.spawn(move || text(&mut client))
            });
            talks.into_iter().try_for_each(|talk| talk.join().expect("no panic").map(drop))
        })?;
        tunnels(&daemon, 4)
    });
}

#[test]
fn curl_is_upgraded_to_a_websocket() {
    software_test("curl-websocket", &["curl", PYTHON, LIBRARY], |t| {
        let fixture = Fixture::new(t)?;
        let _app = websocket_server(&fixture.pod, "app")?;
        let _target = websocket_server(&fixture.laptop, "laptop")?;
        let fields = [
            "Connection: Upgrade",
            "Upgrade: websocket",
            "Sec-WebSocket-Version: 13",
            "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
        ];
        let fields = fields.map(|field| ["-H", field]).concat();
        let ask = |user, server: &Namespace| {
            let url = format!("http://{}:{PORT}/hello", server.ip4());
            let args = [&["-i", "-N", "-H", "Host: web"][..], &fields, &[&*url]].concat();
            let answer = output(&mut fixture.curl(user, &args))?;
            let lines = answer.split_inclusive(|byte| *byte == b'\n');
            Ok::<_, anyhow::Error>(
                lines.filter(|line| !line.starts_with(b"Date:")).collect::<Vec<_>>().concat(),
            )
        };
        let directly = [ask("someone", &fixture.pod)?, ask("debug", &fixture.laptop)?];
        let daemon = fixture.daemon(t)?;
        for ((user, tag), directly) in USERS.into_iter().zip(directly) {
            let relayed = ask(user, &fixture.pod)?;
            assert_eq!(String::from_utf8_lossy(&relayed), String::from_utf8_lossy(&directly));
            ensure!(relayed.starts_with(b"HTTP/1.1 101 Switching Protocols\r\n"));
            // A frame of text, and one that says goodbye (RFC 6455, section 5.2).
            let frame = [&[0x81, tag.len() as u8], tag.as_bytes(), &[0x88, 2]].concat();
            ensure!(relayed.windows(frame.len()).any(|window| window == frame), "{relayed:?}");
        }
        tunnels(&daemon, 2)
    });
}

/// So many connections were tunnels, and none was in doubt.
fn tunnels(daemon: &Daemon, count: u64) -> Result<()> {
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
