//! TLS on a port with a condition: routed by its server name.

use std::{
    io::{Read as _, Write as _},
    net::{Ipv6Addr, TcpStream},
};

use interceptor_tests::run;
use rstest::rstest;
use testbed::{Namespace, TcpService};

/// A ClientHello with server name `name` (RFC 8446, section 4.1.2; RFC 6066, section 3).
fn client_hello(name: &str) -> Vec<u8> {
    fn with_length(bytes: usize, content: &[u8]) -> Vec<u8> {
        let length = (content.len() as u32).to_be_bytes();
        [&length[4 - bytes..], content].concat()
    }
    let host = [&[0][..], &with_length(2, name.as_bytes())].concat();
    let extension = [&[0, 0][..], &with_length(2, &with_length(2, &host))].concat();
    let body = [
        &[3, 3][..],
        &[7; 32],
        &with_length(1, &[]),
        &with_length(2, &[0x13, 0x01]),
        &with_length(1, &[0]),
        &with_length(2, &extension),
    ]
    .concat();
    let handshake = [&[1][..], &with_length(3, &body)].concat();
    [&[22, 3, 1][..], &with_length(2, &handshake)].concat()
}

#[rstest]
#[case::matching("connection.requested_server_name == 'debug.example'", "debug.example", "laptop")]
#[case::client_in_capitals(
    "connection.requested_server_name == 'debug.example'",
    "DEBUG.example",
    "laptop"
)]
#[case::rule_in_capitals(
    "connection.requested_server_name.endsWith('.Example')",
    "debug.example",
    "laptop"
)]
#[case::other("connection.requested_server_name == 'debug.example'", "shop.example", "app")]
#[case::requests_are_hidden("request.path == '/'", "debug.example", "app")]
#[case::either(
    "request.path == '/' || connection.requested_server_name.endsWith('.example')",
    "a.example",
    "laptop"
)]
fn the_server_name_of_a_tls_connection_selects_its_server(
    #[case] condition: &str,
    #[case] name: &str,
    #[case] expected: &str,
) {
    run(|f| {
        let hello = client_hello(name);
        let server = |netns: &Namespace, port: u16, tag: &'static str| {
            let length = hello.len();
            TcpService::start(netns, (Ipv6Addr::UNSPECIFIED, port), move |mut stream, _| {
                let mut hello = vec![0; length];
                stream.read_exact(&mut hello)?;
                stream.write_all(tag.as_bytes())?;
                stream.write_all(&hello)
            })
        };
        let _app = server(&f.pod, 443, "app")?;
        let _target = server(&f.laptop, 4443, "laptop")?;
        let _daemon =
            f.daemon_with(&format!("443 -> {}:4443 when {condition}", f.laptop.ip4()), &[])?;
        // In pieces of any size.
        for step in [1, 9, hello.len()] {
            let to = (f.pod.ip4(), 443);
            let mut stream = f.client.run(|| TcpStream::connect(to))?;
            stream.set_nodelay(true)?;
            for part in hello.chunks(step) {
                stream.write_all(part)?;
            }
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer)?;
            assert_eq!(
                answer,
                [expected.as_bytes(), &hello].concat(),
                "{}",
                String::from_utf8_lossy(&answer)
            );
        }
        Ok(())
    });
}
