//! One owner for each port of a network namespace, over all daemons of a node.
//!
//! Two of our programs on one port would each mistake the other's connections to the app for those
//! of clients. They would pass each connection back and forth until the limit of open connections.
//! The kernel can't tell the two apart, so a port has one owner: one workload of one daemon.
//!
//! A claim holds the port within this daemon and, by a [name], among the daemons of the node.

mod name;

use std::{collections::HashMap, fmt, sync::Arc, time::Duration};

use interceptor_common::port::Port;
use parking_lot::Mutex;
use tokio::{
    runtime::Handle,
    time::{Instant, sleep, sleep_until},
};

use self::name::{HoldError, Holder, PortName};
use super::task::OwnedTask;
use crate::netns::NetnsId;

/// How long the name of a released port stays held.
///
/// Clients whose handshake was under way are accepted in this time and passed on to the app. The
/// next daemon would take these connections for those of further clients.
const HANDOVER: Duration = Duration::from_millis(200);

/// Minimum time between two attempts to take a port that another daemon holds.
const PAUSE: Duration = Duration::from_millis(100);

/// The ports that this daemon has claimed.
#[derive(Clone, Debug)]
pub struct Claims {
    state: Arc<Mutex<State>>,
    /// What this daemon says of itself to other daemons.
    introduction: Arc<str>,
}

#[derive(Debug, Default)]
struct State {
    /// The workload that owns each port.
    owners: HashMap<ClaimedPort, Arc<str>>,
    /// The names of released ports, for [`HANDOVER`]. Each has a number of its own.
    released: HashMap<ClaimedPort, (u64, PortName)>,
    /// The number of the last released name.
    last: u64,
}

type ClaimedPort = (NetnsId, Port);

/// A workload owns the port until this is dropped.
#[derive(Debug)]
#[must_use = "the port is free again when this is dropped"]
pub struct Claim {
    claims: Claims,
    port: ClaimedPort,
    name: Option<PortName>,
}

/// Why a port can't be claimed.
#[derive(Debug, thiserror::Error)]
pub enum ClaimError {
    /// Another workload of this daemon has it.
    #[error(
        "port {port} of this network namespace has rules of workload {owner}; \
         write all rules for it there"
    )]
    Workload {
        /// The port.
        port: Port,
        /// The workload that owns it.
        owner: Arc<str>,
    },
    /// Another daemon of this node has it.
    #[error("{0}")]
    Daemon(Contest),
    /// Whether another daemon has it is not known.
    #[error("find out whether another daemon of this node redirects port {port}: {source}")]
    Unknown {
        /// The port.
        port: Port,
        /// The kernel's error.
        source: std::io::Error,
    },
}

/// A port that another daemon of this node holds.
#[derive(Debug)]
pub struct Contest {
    port: Port,
    holder: Holder,
}

/// Waits for the other daemon to release a port. Ends with its owner.
#[derive(Debug)]
pub struct Wait {
    message: Arc<str>,
    task: OwnedTask,
}

// === impl Claims ===

impl Claims {
    /// No claims yet. This daemon calls itself `instance` to other daemons of the node.
    #[must_use]
    pub fn new(instance: Option<&str>) -> Self {
        let introduction = name::introduction(instance);
        Self { state: Arc::default(), introduction }
    }

    /// Claims a port of `netns` for the workload `name`.
    ///
    /// # Errors
    /// When a workload owns it already, even this one, or another daemon of this node.
    pub async fn claim(
        &self,
        netns: NetnsId,
        port: Port,
        name: &Arc<str>,
    ) -> Result<Claim, ClaimError> {
        let claimed = (netns, port);
        let released = {
            let mut state = self.state.lock();
            if let Some(owner) = state.owners.get(&claimed) {
                return Err(ClaimError::Workload { port, owner: Arc::clone(owner) });
            }
            state.owners.insert(claimed, Arc::clone(name));
            state.released.remove(&claimed)
        };
        // From here on, dropping the claim gives the port back.
        let mut claim = Claim { claims: self.clone(), port: claimed, name: None };
        claim.name = Some(match released {
            Some((_, name)) => name,
            None => match PortName::hold(netns, port, &self.introduction).await {
                Ok(name) => name,
                Err(HoldError::Held(holder)) => {
                    return Err(ClaimError::Daemon(Contest { port, holder }));
                }
                Err(HoldError::Io(source)) => return Err(ClaimError::Unknown { port, source }),
            },
        });
        Ok(claim)
    }

    /// The number of claimed ports. Each has a file descriptor.
    #[must_use]
    pub fn count(&self) -> usize {
        self.state.lock().owners.len()
    }
}

// === impl Claim ===

impl Drop for Claim {
    fn drop(&mut self) {
        let mut state = self.claims.state.lock();
        state.owners.remove(&self.port);
        let (Some(name), Ok(runtime)) = (self.name.take(), Handle::try_current()) else { return };
        state.last += 1;
        let number = state.last;
        state.released.insert(self.port, (number, name));
        let (shared, port) = (Arc::clone(&self.claims.state), self.port);
        runtime.spawn(async move {
            sleep(HANDOVER).await;
            // Another release of the same port has its own time.
            let mut state = shared.lock();
            if state.released.get(&port).is_some_and(|(last, _)| *last == number) {
                state.released.remove(&port);
            }
        });
    }
}

// === impl Contest ===

impl Contest {
    /// Calls `then` when the other daemon has released the port, or has ended.
    pub fn wait(self, then: impl FnOnce() + Send + 'static) -> Wait {
        let message = Arc::from(self.to_string());
        let mut holder = self.holder;
        let task = OwnedTask::spawn(async move {
            let earliest = Instant::now() + PAUSE;
            holder.ended().await;
            sleep_until(earliest).await;
            then();
        });
        Wait { message, task }
    }
}

impl fmt::Display for Contest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { port, holder } = self;
        write!(
            f,
            "another interceptor on this node redirects port {port} here: {holder}. This one takes \
             the port when that one releases it. Keep one installation for each pod"
        )
    }
}

// === impl Wait ===

impl Wait {
    /// Why the port is not claimed. `None` when it may be free.
    #[must_use]
    pub fn message(&self) -> Option<&Arc<str>> {
        (!self.task.is_over()).then_some(&self.message)
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU16;

    use super::*;
    use crate::netns::HomeNetns;

    /// A namespace and a port that no other test claims.
    fn fixture(number: u16) -> (NetnsId, Port, Arc<str>) {
        let home = HomeNetns::capture().expect("procfs");
        (home.id(), Port::tcp(NonZeroU16::new(number).expect("not zero")), Arc::from("web"))
    }

    /// Two daemons in one network namespace.
    fn two() -> (Claims, Claims) {
        (Claims::new(Some("a/first")), Claims::new(Some("b/second")))
    }

    #[tokio::test]
    async fn a_port_has_one_owner_over_all_daemons() {
        let (netns, port, web) = fixture(1);
        let (first, second) = two();
        let claim = first.claim(netns, port, &web).await.expect("free");
        let error = first.claim(netns, port, &web).await.expect_err("owned");
        assert!(matches!(error, ClaimError::Workload { .. }), "{error}");
        let error = second.claim(netns, port, &web).await.expect_err("held");
        let message = error.to_string();
        assert!(message.contains("port 1 ") && message.contains("a/first"), "{message}");
        assert_eq!((first.count(), second.count()), (1, 0));
        drop(claim);
    }

    #[tokio::test]
    async fn the_next_daemon_is_told_that_a_port_is_free() {
        let (netns, port, web) = fixture(2);
        let (first, second) = two();
        let claim = first.claim(netns, port, &web).await.expect("free");
        let Err(ClaimError::Daemon(contest)) = second.claim(netns, port, &web).await else {
            panic!("the first daemon holds it");
        };
        let (told, is_told) = tokio::sync::oneshot::channel();
        let wait = contest.wait(move || told.send(()).expect("the test waits"));
        assert!(wait.message().is_some_and(|message| message.contains("a/first")));
        drop(claim);
        is_told.await.expect("the first daemon has released the port");
        let _claim = second.claim(netns, port, &web).await.expect("free");
    }

    #[tokio::test]
    async fn a_daemon_takes_a_port_back_at_once() {
        let (netns, port, web) = fixture(3);
        let (first, second) = two();
        drop(first.claim(netns, port, &web).await.expect("free"));
        let again = first.claim(netns, port, &web).await.expect("just released by itself");
        sleep(2 * HANDOVER).await;
        second.claim(netns, port, &web).await.expect_err("the first has it again");
        drop(again);
    }
}
