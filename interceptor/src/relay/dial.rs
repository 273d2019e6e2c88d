//! Upstream connections: to a target ([`Target::dial`]), or to the app past our own program
//! ([`to_app`]).

mod app;
mod connect;

use std::{
    io,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use futures_util::{StreamExt as _, stream::FuturesUnordered};
use socket2::Socket;
use tokio::time::{Instant, sleep, timeout_at};

use self::connect::{Ends, connect, is_exhaustion, local_addr};
pub use self::{
    app::{AppDialError, to_app},
    connect::{Ack, Cause, is_shortage},
};
use super::{
    answer::Answer,
    stats::{FellBack, Outcome, Passed},
    target::{Addresses, Target},
    upstream::Upstream,
    workload::Workload,
};
use crate::{
    config::policy::Dial,
    netns::{self, addresses::bind_to_own},
};

/// Time after which the next of a target's addresses is tried beside the others (RFC 8305, section
/// 8).
const STAGGER: Duration = Duration::from_millis(250);

/// What a target is dialled for.
#[derive(Clone, Debug)]
pub enum Purpose {
    /// A client's connection. It waits for no target whose circuit is open.
    Client(Cause),
    /// To find out whether the target answers.
    Check,
    /// To find out where the target leads. The result does not concern the circuit.
    Probe,
}

/// Why a target has no connection for a client.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// Recent attempts got no answer, so the target was not dialled.
    #[error("the target was silent several times in a row")]
    CircuitOpen,
    /// The target's name has no address at present.
    #[error("the target's name has no address")]
    Unresolved,
    /// The policy refuses all addresses of the target's name.
    #[error("the policy refuses the target's addresses")]
    Denied,
    /// The target is a redirected port of the same pod, or leads back to it: the connection would
    /// come back to us.
    #[error("the target leads back to the redirected port")]
    Loop,
    /// No answer within the workload's connect time-out.
    #[error("no answer within the connect time-out")]
    Timeout,
    /// The kernel reported this.
    #[error(transparent)]
    Io(#[from] io::Error),
}

// === impl DialError ===

impl DialError {
    fn fell_back(&self) -> Option<FellBack> {
        Some(match self {
            Self::CircuitOpen => FellBack::CircuitOpen,
            Self::Unresolved => FellBack::Unresolved,
            Self::Denied => FellBack::TargetDenied,
            Self::Loop => return None,
            Self::Timeout => FellBack::TargetTimeout,
            Self::Io(error) => match error.kind() {
                io::ErrorKind::ConnectionRefused => FellBack::TargetRefused,
                // Behind the handshake: within it, a reset is a refusal.
                io::ErrorKind::ConnectionReset => FellBack::TargetClosed,
                io::ErrorKind::TimedOut => FellBack::TargetTimeout,
                io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => {
                    FellBack::TargetUnreachable
                }
                _ if is_exhaustion(error) => FellBack::Exhausted,
                _ => FellBack::ConnectFailed,
            },
        })
    }
}

impl From<DialError> for Outcome {
    fn from(error: DialError) -> Self {
        error.fell_back().map_or(Self::Passed(Passed::Loop), Self::FellBack)
    }
}

// === impl Target ===

impl Target {
    /// Opens a connection to the first address that answers, within the workload's connect
    /// time-out. The result opens or closes the circuit.
    ///
    /// # Errors
    /// When there is no address, none answers, or the circuit is open for a client. The app serves
    /// the client then.
    pub async fn dial(
        &self,
        workload: &Workload,
        purpose: Purpose,
        ack: Ack,
    ) -> Result<Upstream, DialError> {
        let is_probe = matches!(purpose, Purpose::Probe);
        let cause = match purpose {
            Purpose::Client(_) if self.is_silent() => return Err(DialError::CircuitOpen),
            Purpose::Client(cause) if self.suspicion().admit(&workload.probe_turn).await => {
                Some(cause)
            }
            Purpose::Client(_) => return Err(DialError::Loop),
            Purpose::Check | Purpose::Probe => None,
        };
        let is_for_client = cause.is_some();
        let mut dialled = to_addresses(workload, &self.addresses(), cause, ack).await;
        if let Ok(upstream) = &mut dialled {
            upstream.unanswered = is_for_client.then(|| self.suspicion().opened());
        }
        if is_probe {
            return dialled;
        }
        let silent = |answer| {
            if is_for_client { self.was_silent(answer) } else { self.failed_check(answer) }
        };
        match dialled.as_ref().err().map(DialError::fell_back) {
            None | Some(Some(FellBack::TargetClosed)) => self.answered(Answer::Accepts),
            Some(Some(FellBack::TargetRefused)) => self.answered(Answer::Refuses),
            Some(Some(FellBack::TargetTimeout)) => silent(Answer::Silent),
            Some(Some(FellBack::TargetUnreachable)) => silent(Answer::Unreachable),
            Some(Some(FellBack::ConnectFailed)) => self.showed(Answer::Forbidden),
            Some(None) => self.showed(Answer::Loops),
            // The next client would meet the same shortage, so the kernel leaves it with the app.
            Some(Some(FellBack::Exhausted)) if is_for_client => workload.hold_off(),
            Some(_) => {}
        }
        dialled
    }

    /// Finds out whether the target answers, and notes that. Its server does not notice: the
    /// handshake is broken off after the target's SYN-ACK, before `accept` would return.
    ///
    /// That rests on two facts. The ACK is delayed by up to 200 ms ([`Ack::Delayed`]), and a server
    /// drops a half-open connection at a reset (RFC 9293, section 3.10.7.4). A proxy on the way
    /// that accepts for the target answers in its place.
    pub async fn check(&self, workload: &Workload) {
        if let Ok(upstream) = self.dial(workload, Purpose::Check, Ack::Delayed).await {
            upstream.stream.reset_on_close();
        }
    }
}

async fn to_addresses(
    workload: &Workload,
    addresses: &Addresses,
    cause: Option<Cause>,
    ack: Ack,
) -> Result<Upstream, DialError> {
    let addresses = match addresses {
        Addresses::Known(addresses) => addresses.as_slice(),
        Addresses::Unresolved => return Err(DialError::Unresolved),
        Addresses::Denied => return Err(DialError::Denied),
    };
    let deadline = Instant::now() + workload.connect_timeout;
    let dialled = match addresses {
        [address] => timeout_at(deadline, connect_to_target(workload, *address, cause, ack)).await,
        addresses => timeout_at(deadline, first_to_answer(workload, addresses, cause, ack)).await,
    };
    let dialled = dialled.unwrap_or(Err(DialError::Timeout));
    if matches!(&dialled, Err(DialError::Io(error)) if is_shortage(error)) {
        workload.pressure.report();
    }
    dialled
}

/// Tries each address in turn, the next one as soon as the last has failed or has been silent for
/// [`STAGGER`].
async fn first_to_answer(
    workload: &Workload,
    addresses: &[SocketAddr],
    cause: Option<Cause>,
    ack: Ack,
) -> Result<Upstream, DialError> {
    let mut untried = addresses.iter();
    let mut attempts = FuturesUnordered::new();
    let mut error = DialError::Io(io::ErrorKind::AddrNotAvailable.into());
    loop {
        let next = untried.next();
        if let Some(&address) = next {
            attempts.push(connect_to_target(workload, address, cause.clone(), ack));
        }
        if attempts.is_empty() {
            return Err(error);
        }
        tokio::select! {
            Some(result) = attempts.next() => match result {
                Ok(upstream) => return Ok(upstream),
                Err(failure) => error = failure,
            },
            () = sleep(STAGGER), if untried.len() > 0 => {}
        }
    }
}

async fn connect_to_target(
    workload: &Workload,
    to: SocketAddr,
    cause: Option<Cause>,
    ack: Ack,
) -> Result<Upstream, DialError> {
    // An IPv4-mapped IPv6 address is dialled as IPv4: loops are found by addresses.
    let to = SocketAddr::new(to.ip().to_canonical(), to.port());
    let mut socket = target_socket(workload, to.ip())?;
    // A connection to an address of the pod itself meets our own program, and has to bypass it. Any
    // other connection leaves the namespace without meeting the program.
    let mut inside = workload.dial == Dial::Pod && bind_to_own(&socket, to.ip());
    if inside && !workload.netns.has_address(to.ip())? {
        // The pod may bind to any address (`ip_nonlocal_bind`), and this one is not its own.
        socket = target_socket(workload, to.ip())?;
        inside = false;
    }
    if inside && workload.is_redirected(to.port()) {
        return Err(DialError::Loop);
    }
    let source = inside.then(|| local_addr(&socket)).transpose()?;
    Ok(connect(workload, socket, Ends { source, to }, cause, ack).await?)
}

/// A socket to dial a target from.
fn target_socket(workload: &Workload, ip: IpAddr) -> io::Result<Socket> {
    let socket = match workload.dial {
        Dial::Pod => workload.tcp_socket(ip)?,
        Dial::Node => netns::tcp_socket(ip)?,
    };
    // Lets the app's connections share local ports with these when the range runs out.
    socket.set_reuse_address(true)?;
    Ok(socket)
}
