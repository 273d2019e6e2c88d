//! A minimal DNS server whose answers can change at any time (RFC 1035, section 4).

use std::{
    collections::HashMap,
    fs, io,
    net::{IpAddr, SocketAddr, UdpSocket},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Context as _, Result};
use parking_lot::Mutex;
use testbed::{Namespace, Topology};

const NO_SUCH_NAME: u8 = 3;
const TYPE_A: u16 = 1;
const TYPE_AAAA: u16 = 28;
const CLASS_IN: u16 = 1;

/// A DNS server on port 53 of the node. Dropping it stops it.
#[derive(Debug)]
pub struct Dns {
    node: Namespace,
    shared: Arc<Shared>,
    server: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    ttl: u32,
    names: Mutex<HashMap<String, Vec<IpAddr>>>,
    queries: AtomicU64,
    /// The number of further queries that get no answer.
    unanswered: AtomicU64,
    stop: AtomicBool,
}

impl Dns {
    /// Starts the server without names. Every answer has a time to live of `ttl` seconds.
    pub fn start(topology: &Topology, ttl: u32) -> Result<Self> {
        let node = topology.node().clone();
        let socket = node
            .run(|| UdpSocket::bind((node.ip4(), 53)))
            .context("bind the socket of the DNS server")?;
        // The server checks between reads whether it should stop.
        socket.set_read_timeout(Some(Duration::from_millis(20)))?;
        let shared = Arc::new(Shared {
            ttl,
            names: Mutex::default(),
            queries: AtomicU64::new(0),
            unanswered: AtomicU64::new(0),
            stop: AtomicBool::new(false),
        });
        let server = thread::spawn({
            let shared = shared.clone();
            move || shared.serve(&socket)
        });
        Ok(Self { node, shared, server: Some(server) })
    }

    /// Sets the addresses of a name. With none, the name exists and has no addresses.
    pub fn set(&self, name: &str, addresses: &[IpAddr]) {
        self.shared.names().insert(name.to_owned(), addresses.to_vec());
    }

    /// Leaves this many further queries without an answer.
    pub fn leave_unanswered(&self, queries: u64) {
        self.shared.unanswered.store(queries, Ordering::Relaxed);
    }

    /// The number of answered queries so far. One look-up is two queries: A and AAAA.
    pub fn queries(&self) -> u64 {
        self.shared.queries.load(Ordering::Relaxed)
    }

    /// Writes a `resolv.conf` with this server and a line of options, and returns its path.
    pub fn resolv_conf(&self, options: &str) -> Result<PathBuf> {
        let file = self.node.dir().join("resolv.conf");
        let text = format!("nameserver {}\n{options}\n", self.node.ip4());
        fs::write(&file, text).context("write resolv.conf")?;
        Ok(file)
    }
}

impl Drop for Dns {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(server) = self.server.take() {
            let _ = server.join();
        }
    }
}

impl Shared {
    fn names(&self) -> parking_lot::MutexGuard<'_, HashMap<String, Vec<IpAddr>>> {
        self.names.lock()
    }

    fn serve(&self, socket: &UdpSocket) {
        let mut question = [0; 512];
        while !self.stop.load(Ordering::Relaxed) {
            let received: io::Result<(usize, SocketAddr)> = socket.recv_from(&mut question);
            let Ok((length, from)) = received else { continue };
            let one_less = |left: u64| left.checked_sub(1);
            let (set, get) = (Ordering::Relaxed, Ordering::Relaxed);
            if self.unanswered.fetch_update(set, get, one_less).is_ok() {
                continue;
            }
            if let Some(answer) = self.answer(&question[..length]) {
                self.queries.fetch_add(1, Ordering::Relaxed);
                // A client that gets no answer repeats the query.
                let _ = socket.send_to(&answer, from);
            }
        }
    }

    /// The response to a query; `None` if the query cannot be parsed.
    fn answer(&self, question: &[u8]) -> Option<Vec<u8>> {
        let mut labels = Vec::new();
        // The header has 12 bytes. The name follows as labels, each behind its length, up to an
        // empty one.
        let mut at = 12;
        loop {
            let length = usize::from(*question.get(at)?);
            at += 1;
            if length == 0 {
                break;
            }
            labels.push(
                std::str::from_utf8(question.get(at..at + length)?).ok()?.to_ascii_lowercase(),
            );
            at += length;
        }
        let kind = u16::from_be_bytes([*question.get(at)?, *question.get(at + 1)?]);
        let end = at + 4;

        let known = self.names().get(&labels.join(".")).cloned();
        let code = if known.is_some() { 0 } else { NO_SUCH_NAME };
        let wanted = |ip: &IpAddr| if ip.is_ipv4() { kind == TYPE_A } else { kind == TYPE_AAAA };
        let addresses: Vec<IpAddr> = known.into_iter().flatten().filter(wanted).collect();

        let mut answer = question.get(..2)?.to_vec();
        // Flags: response, recursion desired and available. Then the counts: one question, the
        // answers, no authority and no additional records.
        answer.extend([
            0x81,
            0x80 | code,
            0,
            1,
            0,
            u8::try_from(addresses.len()).ok()?,
            0,
            0,
            0,
            0,
        ]);
        answer.extend(question.get(12..end)?);
        for ip in addresses {
            // A pointer to the name at byte 12.
            answer.extend([0xc0, 12]);
            answer.extend(kind.to_be_bytes());
            answer.extend(CLASS_IN.to_be_bytes());
            answer.extend(self.ttl.to_be_bytes());
            let octets = match ip {
                IpAddr::V4(ip) => ip.octets().to_vec(),
                IpAddr::V6(ip) => ip.octets().to_vec(),
            };
            answer.extend([0, u8::try_from(octets.len()).ok()?]);
            answer.extend(octets);
        }
        Some(answer)
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn queries_are_answered_with_the_addresses_that_were_set() {
        let ip = Ipv4Addr::new(10, 1, 2, 3);
        let shared = Shared {
            ttl: 7,
            names: Mutex::new(HashMap::from([("a.test".to_owned(), vec![ip.into()])])),
            queries: AtomicU64::new(0),
            unanswered: AtomicU64::new(0),
            stop: AtomicBool::new(false),
        };
        let question = |name: &[u8], kind: u8| {
            [&[9, 9, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0], name, &[0, 0, kind, 0, 1]].concat()
        };
        let answer = shared.answer(&question(b"\x01A\x04test", 1)).expect("a valid query");
        assert!(
            answer.ends_with(&[0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 7, 0, 4, 10, 1, 2, 3]),
            "{answer:?}"
        );
        let answer = shared.answer(&question(b"\x01a\x04test", 28)).expect("a valid query");
        assert_eq!(
            (answer[3] & 0xf, answer[7]),
            (0, 0),
            "the name has no IPv6 address: {answer:?}"
        );
        let answer = shared.answer(&question(b"\x01b\x04test", 1)).expect("a valid query");
        assert_eq!(answer[3] & 0xf, NO_SUCH_NAME, "{answer:?}");
        assert_eq!(shared.answer(b"too short"), None);
    }
}
