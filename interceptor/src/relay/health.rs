//! The kubelet's probes go on reaching the application: somebody who debugs at a breakpoint must
//! not have the container restarted.
//!
//! Only connections from an address of the node to a port that the pod's spec probes are looked at,
//! and only their first bytes, without taking them. On such a port the caller speaks first, so
//! nobody waits for anybody.

use std::{io, time::Duration};

use tokio::time::{sleep, timeout};

use super::{
    addr::{ClientAddr, OrigDst},
    stream::Stream,
    workload::Workload,
};
use crate::config::workloads::HealthSign;

/// A caller that has not said enough by then is not the kubelet, which says it at once.
const PATIENCE: Duration = Duration::from_secs(1);
/// A head that came in pieces is looked at again after this long.
const AGAIN: Duration = Duration::from_millis(5);
/// The head of a probe's request is far smaller.
const HEAD: usize = 4096;
/// A TLS record that carries a handshake (RFC 8446, section 5.1): its type and the major version.
const TLS_HANDSHAKE: [u8; 2] = [0x16, 0x03];
/// What an HTTP/2 client says first (RFC 9113, section 3.4).
const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Whether `client`, which connected to `original`, is the kubelet with one of the workload's
/// health checks.
pub async fn is_probe(
    workload: &Workload,
    client: &Stream,
    client_addr: ClientAddr,
    original: OrigDst,
) -> bool {
    let checks = workload.health_checks.iter().filter(|check| check.port.get() == original.port());
    let signs: Vec<&HealthSign> = checks.map(|check| &check.sign).collect();
    if signs.is_empty() || !workload.home.has_address(client_addr.ip().to_canonical()) {
        return false;
    }
    timeout(PATIENCE, any_shown(&signs, client)).await.is_ok_and(|shown| shown.unwrap_or(false))
}

/// Reads ahead until every sign is told to be there or not.
async fn any_shown(signs: &[&HealthSign], client: &Stream) -> io::Result<bool> {
    let mut head = [0; HEAD];
    loop {
        let length = client.peek(&mut head).await?;
        if length == 0 {
            return Ok(false);
        }
        match signs.iter().map(|sign| sign.is_shown_by(&head[..length])).reduce(either) {
            Some(Some(shown)) => return Ok(shown),
            _ if length == HEAD => return Ok(false),
            // What is there already counts as readable, so the rest can't be waited for.
            _ => sleep(AGAIN).await,
        }
    }
}

/// Either yes is a yes, and only two noes are a no.
fn either(a: Option<bool>, b: Option<bool>) -> Option<bool> {
    match (a, b) {
        (Some(true), _) | (_, Some(true)) => Some(true),
        (Some(false), Some(false)) => Some(false),
        _ => None,
    }
}

// === impl HealthSign ===

impl HealthSign {
    /// Whether a connection that begins with `head` shows it; nothing if it is too early to tell.
    fn is_shown_by(&self, head: &[u8]) -> Option<bool> {
        match self {
            Self::UserAgent(agent) => user_agent_begins(head, agent.as_bytes()),
            Self::Tls => begins(head, &TLS_HANDSHAKE),
            Self::Http2 => begins(head, HTTP2_PREFACE),
        }
    }
}

fn begins(head: &[u8], with: &[u8]) -> Option<bool> {
    let length = head.len().min(with.len());
    if head[..length] != with[..length] {
        return Some(false);
    }
    (length == with.len()).then_some(true)
}

/// Looks for the header in the head of an HTTP/1 request.
fn user_agent_begins(head: &[u8], agent: &[u8]) -> Option<bool> {
    // The kubelet asks with GET, and says so in its first four bytes.
    if begins(head, b"GET ") == Some(false) {
        return Some(false);
    }
    let mut rest = head;
    while let Some(end) = rest.iter().position(|&byte| byte == b'\n') {
        let (line, after) = rest.split_at(end);
        rest = &after[1..];
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() {
            return Some(false);
        }
        let Some(colon) = line.iter().position(|&byte| byte == b':') else { continue };
        if line[..colon].eq_ignore_ascii_case(b"user-agent") {
            return Some(line[colon + 1..].trim_ascii_start().starts_with(agent));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(
        "GET /healthz HTTP/1.1\r\nHost: 10.2.3.4:8080\r\nUser-Agent: kube-probe/1.34\r\n\r\n",
        Some(true)
    )]
    #[case("GET / HTTP/1.1\r\nuser-agent:kube-probe/1.34\r\nAccept: */*\r\n", Some(true))]
    #[case("GET / HTTP/1.1\r\nUser-Agent: curl/8\r\n\r\n", Some(false))]
    #[case("GET / HTTP/1.1\r\nX-User-Agent: kube-probe/1.34\r\n\r\n", Some(false))]
    #[case("GET / HTTP/1.1\r\nHost: kube-probe/1.34\r\n\r\n", Some(false))]
    #[case("GET / HTTP/1.1\r\nUser-Agent: kube-pro", None)]
    #[case("GET / HTTP/1.1\r\n\r\nUser-Agent: kube-probe/1.34\r\n", Some(false))]
    #[case("GE", None)]
    #[case("", None)]
    #[case("POST / HTTP/1.1\r\nUser-Agent: kube-probe/1.34\r\n", Some(false))]
    fn http(#[case] head: &str, #[case] expected: Option<bool>) {
        let sign = HealthSign::UserAgent("kube-probe/".to_owned());
        assert_eq!(sign.is_shown_by(head.as_bytes()), expected);
        // And told no other way by less of it, except that it may be too early.
        for end in 0..head.len() {
            let early = sign.is_shown_by(&head.as_bytes()[..end]);
            assert!(early.is_none() || early == expected, "{end}: {early:?}");
        }
    }

    #[rstest]
    #[case(&[0x16, 0x03, 0x01, 0x02], Some(true))]
    #[case(&[0x16], None)]
    #[case(b"GET /", Some(false))]
    fn tls(#[case] head: &[u8], #[case] expected: Option<bool>) {
        assert_eq!(HealthSign::Tls.is_shown_by(head), expected);
    }

    #[rstest]
    #[case(HTTP2_PREFACE, Some(true))]
    #[case(&HTTP2_PREFACE[..10], None)]
    #[case(b"PUT / HTTP/1.1\r\n", Some(false))]
    fn http2(#[case] head: &[u8], #[case] expected: Option<bool>) {
        assert_eq!(HealthSign::Http2.is_shown_by(head), expected);
    }
}
