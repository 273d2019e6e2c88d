//! Recognises the kubelet's health checks, which keep reaching the app: a developer at a breakpoint
//! must not have the container restarted.
//!
//! Only connections from an address of the node to a port that the pod's spec probes are examined.
//! Their first bytes are read ahead and stay in the receive queue. On such a port the client sends
//! first, so the wait for its bytes delays no server.

use std::{io, time::Duration};

use interceptor_wire::opening::{HTTP2_PREFACE, TLS_HANDSHAKE};
use tokio::time::{sleep, timeout};

use super::{
    addr::{ClientAddr, OrigDst},
    stream::Stream,
    workload::Workload,
};
use crate::config::workloads::HealthSign;

/// Maximum wait for the first bytes. The kubelet sends them at once.
const TIMEOUT: Duration = Duration::from_secs(1);
/// The pause before an incomplete request head is examined again.
const PAUSE: Duration = Duration::from_millis(5);
/// Maximum size of a request head that is examined, in bytes. A probe's is far smaller.
const MAX_HEAD: usize = 4096;

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
    timeout(TIMEOUT, shows_any(&signs, client)).await.is_ok_and(|shown| shown.unwrap_or(false))
}

/// Reads ahead until the bytes show one of the signs, or can show none of them.
async fn shows_any(signs: &[&HealthSign], client: &Stream) -> io::Result<bool> {
    let look = |head: &[u8]| match head.len() {
        0 => Some(false),
        length => {
            let shown = signs.iter().map(|sign| sign.is_shown_by(head)).reduce(either).flatten();
            shown.or((length == MAX_HEAD).then_some(false))
        }
    };
    loop {
        match client.peek(MAX_HEAD, look).await? {
            Some(shown) => return Ok(shown),
            // The bytes that were peeked at keep the stream readable, so the event loop can't wait
            // for more.
            None => sleep(PAUSE).await,
        }
    }
}

/// The answer for two signs: yes if either is shown, no if neither can be, else none yet.
fn either(a: Option<bool>, b: Option<bool>) -> Option<bool> {
    match (a, b) {
        (Some(true), _) | (_, Some(true)) => Some(true),
        (Some(false), Some(false)) => Some(false),
        _ => None,
    }
}

// === impl HealthSign ===

impl HealthSign {
    /// Whether a connection that begins with `head` shows it. None if more bytes are needed.
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

/// Whether the header User-Agent of an HTTP/1 request begins with `agent`.
fn user_agent_begins(head: &[u8], agent: &[u8]) -> Option<bool> {
    // The kubelet uses GET, which shows in the first four bytes.
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
        // Fewer bytes give the same answer, or none yet.
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
    #[case(&HTTP2_PREFACE[..], Some(true))]
    #[case(&HTTP2_PREFACE[..10], None)]
    #[case(b"PUT / HTTP/1.1\r\n", Some(false))]
    fn http2(#[case] head: &[u8], #[case] expected: Option<bool>) {
        assert_eq!(HealthSign::Http2.is_shown_by(head), expected);
    }
}
