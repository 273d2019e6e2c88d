//! Canary connections: the daemon's own proof that a redirected port is really intercepted.
//!
//! The canary binds, enters its source address here, and connects to the redirected port as any
//! process in the pod would. A worker that accepts a connection from that source answers with the
//! canary's token. The canary sends nothing, so one that reaches the app instead leaves no byte
//! there. The connecting side is in `control/facts/canary.rs`.

use std::{
    collections::HashMap,
    hash::{BuildHasher as _, RandomState},
    net::SocketAddr,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use parking_lot::Mutex;
use tokio::time::Instant;

use super::addr::ClientAddr;

/// Maximum time after which a canary that was given up may still arrive.
const REMEMBERED: Duration = Duration::from_secs(5);

/// What a worker sends to a canary.
pub type Token = [u8; 8];

/// The canaries of one workload that are on their way, by source address.
#[derive(Debug, Default)]
pub struct Canaries {
    /// The number of entries in both collections. While it is zero, accepting a connection costs
    /// one load.
    pending: AtomicUsize,
    tokens: Mutex<HashMap<SocketAddr, Token>>,
    /// Sources of canaries that were given up, with the end of [`REMEMBERED`]. A connection from
    /// one of them is not a client's.
    given_up: Mutex<Vec<(SocketAddr, Instant)>>,
}

/// A canary on its way.
#[derive(Debug)]
#[must_use = "a worker answers the canary only while this lives"]
pub struct Expected<'a> {
    canaries: &'a Canaries,
    source: SocketAddr,
    token: Token,
    answered: bool,
}

// === impl Canaries ===

impl Canaries {
    /// Announces a canary that connects from `source`. Call this before connecting.
    pub fn expect(&self, source: SocketAddr) -> Expected<'_> {
        let token = RandomState::new().hash_one(source).to_ne_bytes();
        self.tokens.lock().insert(source, token);
        self.pending.fetch_add(1, Ordering::Release);
        Expected { canaries: self, source, token, answered: false }
    }

    /// The token for a connection from `client`, if that is a canary.
    #[must_use]
    pub fn answer(&self, ClientAddr(client): ClientAddr) -> Option<Token> {
        if self.pending.load(Ordering::Acquire) == 0 {
            return None;
        }
        let token = self.tokens.lock().get(&client).copied();
        token.or_else(|| self.was_given_up(client).then(Token::default))
    }

    fn was_given_up(&self, client: SocketAddr) -> bool {
        let mut given_up = self.given_up.lock();
        let before = given_up.len();
        given_up.retain(|(_, until)| Instant::now() < *until);
        self.pending.fetch_sub(before - given_up.len(), Ordering::Release);
        given_up.iter().any(|(source, _)| *source == client)
    }
}

// === impl Expected ===

impl Expected<'_> {
    /// Whether `token` is the one that a worker of this daemon sends to this canary. If so, the
    /// canary has arrived.
    pub fn is_answered_by(&mut self, token: Token) -> bool {
        self.answered = token == self.token;
        self.answered
    }
}

impl Drop for Expected<'_> {
    fn drop(&mut self) {
        if self.answered {
            self.canaries.pending.fetch_sub(1, Ordering::Release);
        } else {
            // It stays pending until it is forgotten.
            let mut given_up = self.canaries.given_up.lock();
            given_up.push((self.source, Instant::now() + REMEMBERED));
        }
        self.canaries.tokens.lock().remove(&self.source);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_canary_on_its_way_is_answered() {
        let canaries = Canaries::default();
        let source = SocketAddr::from(([127, 0, 0, 1], 40_000));
        let stranger = ClientAddr(SocketAddr::from(([127, 0, 0, 1], 40_001)));
        assert_eq!(canaries.answer(ClientAddr(source)), None);
        let mut expected = canaries.expect(source);
        assert_eq!(canaries.answer(stranger), None);
        let token = canaries.answer(ClientAddr(source)).expect("a token");
        assert!(!expected.is_answered_by(Token::default()));
        assert!(expected.is_answered_by(token));
        drop(expected);
        assert_eq!(canaries.answer(ClientAddr(source)), None, "arrived, and forgotten");
    }

    #[test]
    fn a_canary_that_was_given_up_is_no_client() {
        let canaries = Canaries::default();
        let source = SocketAddr::from(([127, 0, 0, 1], 40_000));
        drop(canaries.expect(source));
        assert_eq!(canaries.answer(ClientAddr(source)), Some(Token::default()));
    }
}
