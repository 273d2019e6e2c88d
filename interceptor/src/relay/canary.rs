//! The proof that a port is really intercepted: a connection of our own that must arrive at the
//! relay.
//!
//! The prober binds, enters its source address here, and calls the redirected port as any process
//! in the pod would. A worker that accepts from that source answers with the probe's token. Nothing
//! is sent to the port, so that a probe which reaches the application instead leaves no byte there.

use std::{
    collections::HashMap,
    hash::{BuildHasher as _, RandomState},
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use interceptor_common::steal::Family;
use parking_lot::Mutex;
use tokio::{
    io::AsyncReadExt as _,
    net::TcpSocket,
    time::{Instant, timeout},
};

use super::{addr::ClientAddr, workload::Workload};

/// How long a probe may take: it never leaves the node.
const PATIENCE: Duration = Duration::from_millis(500);

/// How long a probe that was given up may still arrive.
const REMEMBERED: Duration = Duration::from_secs(5);

/// What a worker says to a probe.
pub type Token = [u8; 8];

/// Canaries under way in one workload, by source address.
#[derive(Debug, Default)]
pub struct Canaries {
    /// How many there are: accepting a connection costs one relaxed load while there are none.
    pending: AtomicUsize,
    tokens: Mutex<HashMap<SocketAddr, Token>>,
    /// Sources of probes that were given up, until when they are known: one that still arrives is
    /// no caller.
    given_up: Mutex<Vec<(SocketAddr, Instant)>>,
}

/// Why a port is not proven to be intercepted.
#[derive(Debug, thiserror::Error)]
pub enum CanaryError {
    /// The probe could not be made.
    #[error("probe connection to {to}: {source}")]
    Io {
        /// The redirected address.
        to: SocketAddr,
        /// What the kernel said.
        source: io::Error,
    },
    /// It went somewhere, but no worker answered.
    #[error("a probe connection to {to} did not arrive at the relay")]
    NotIntercepted {
        /// The redirected address.
        to: SocketAddr,
    },
}

// === impl Canaries ===

impl Canaries {
    /// The token for a connection from `client`, if that is a probe.
    #[must_use]
    pub fn answer(&self, ClientAddr(client): ClientAddr) -> Option<Token> {
        if self.pending.load(Ordering::Acquire) == 0 {
            return None;
        }
        let token = self.lock().get(&client).copied();
        token.or_else(|| self.was_given_up(client).then(Token::default))
    }

    fn was_given_up(&self, client: SocketAddr) -> bool {
        let mut given_up = self.given_up.lock();
        let before = given_up.len();
        given_up.retain(|(_, until)| Instant::now() < *until);
        self.pending.fetch_sub(before - given_up.len(), Ordering::Release);
        given_up.iter().any(|(source, _)| *source == client)
    }

    fn expect(&self, source: SocketAddr) -> Expected<'_> {
        let token = RandomState::new().hash_one(source).to_ne_bytes();
        self.lock().insert(source, token);
        self.pending.fetch_add(1, Ordering::Release);
        Expected { canaries: self, source, token, answered: false }
    }

    fn lock(&self) -> parking_lot::MutexGuard<'_, HashMap<SocketAddr, Token>> {
        self.tokens.lock()
    }
}

/// A probe under way.
struct Expected<'a> {
    canaries: &'a Canaries,
    source: SocketAddr,
    token: Token,
    answered: bool,
}

impl Drop for Expected<'_> {
    fn drop(&mut self) {
        if self.answered {
            self.canaries.pending.fetch_sub(1, Ordering::Release);
        } else {
            // It goes on being counted as pending until it is forgotten.
            let mut given_up = self.canaries.given_up.lock();
            given_up.push((self.source, Instant::now() + REMEMBERED));
        }
        self.canaries.lock().remove(&self.source);
    }
}

/// Calls `port` inside the workload's namespace and waits for the relay's answer.
///
/// # Errors
/// When the call fails or is answered by somebody else.
pub async fn probe(workload: &Workload, family: Family, port: u16) -> Result<(), CanaryError> {
    let ip: IpAddr = match family {
        Family::V4 => Ipv4Addr::LOCALHOST.into(),
        Family::V6 => Ipv6Addr::LOCALHOST.into(),
    };
    let to = SocketAddr::new(ip, port);
    let in_call = |source| CanaryError::Io { to, source };

    let socket = workload.netns.tcp_socket(ip).map_err(in_call)?;
    socket.bind(&SocketAddr::new(ip, 0).into()).map_err(in_call)?;
    let socket = TcpSocket::from_std_stream(socket.into());
    let mut expected = workload.canaries.expect(socket.local_addr().map_err(in_call)?);
    let mut token = Token::default();
    let answer = timeout(PATIENCE, async {
        let mut stream = socket.connect(to).await.map_err(in_call)?;
        stream.read_exact(&mut token).await.map_err(|_| CanaryError::NotIntercepted { to })
    });
    match answer.await {
        Ok(Ok(_)) if token == expected.token => {
            expected.answered = true;
            Ok(())
        }
        Ok(Err(error)) => Err(error),
        Ok(Ok(_)) | Err(_) => Err(CanaryError::NotIntercepted { to }),
    }
}
