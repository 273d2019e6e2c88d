//! Upstream connections: to the target, or back to the application past our own program.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use futures_util::{StreamExt as _, stream::FuturesUnordered};
use socket2::{Socket, TcpKeepalive};
use tokio::{
    net::TcpStream,
    time::{Instant, sleep, timeout_at},
};

use super::{
    loop_guard::{Hops, Registration},
    route::{Addresses, Destination},
    stats::{FellBack, Outcome, Passed, Refused},
    workload::Workload,
};
use crate::{
    config::policy::Dial,
    datapath::{caller::ShownCaller, steal::bypass::BypassEntry},
    netns::{self, addresses::bind_to_own},
};

/// A target with several addresses: the next is tried beside the others after this long (RFC 8305, section 8).
const STAGGER: Duration = Duration::from_millis(250);

/// Whether an application that says nothing for a minute is still there: within one kernel the first question is answered.
const SAME_KERNEL: TcpKeepalive = TcpKeepalive::new().with_time(Duration::from_secs(60));

/// An open connection to whoever serves the caller.
#[derive(Debug)]
pub struct Upstream {
    /// Taken back before the connection is closed: after that its source may become somebody else's.
    _shown: Option<ShownCaller>,
    /// The connection.
    pub stream: TcpStream,
    /// Held as long as the connection: the program's leave to pass, for an address inside the namespace.
    _own: Option<BypassEntry>,
    /// Held as long as the connection: what it was made for.
    _remembered: Option<Registration>,
}

/// Who will speak first on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ack {
    /// This side, at once: the last packet of the handshake goes out with it.
    Delayed,
    /// Whoever has something to say.
    Immediate,
}

/// On whose behalf a target is called.
#[derive(Clone, Debug)]
pub struct Cause {
    /// The redirected ports that led here.
    pub path: Arc<Hops>,
    /// The pod's address that the caller called, and so probably the one that the target is called from.
    pub called: IpAddr,
}

/// Why a target has no connection for the caller.
#[derive(Debug)]
enum DialError {
    /// The address is the redirected port itself.
    Loop,
    Io(io::Error),
}

// === impl DialError ===

impl DialError {
    fn outcome(&self) -> Outcome {
        let Self::Io(error) = self else { return Outcome::Passed(Passed::Loop) };
        Outcome::FellBack(match error.kind() {
            io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset => {
                FellBack::TargetRefused
            }
            io::ErrorKind::TimedOut => FellBack::TargetTimeout,
            io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => {
                FellBack::TargetUnreachable
            }
            _ if is_exhaustion(error) => FellBack::Exhausted,
            _ => FellBack::ConnectFailed,
        })
    }
}

/// Opens a connection to one of the target's addresses, within the workload's connect time-out.
///
/// # Errors
/// The outcome to count when the application has to serve instead.
pub async fn to_target(
    workload: &Workload,
    destination: &Destination,
    cause: Cause,
    word: Ack,
) -> Result<Upstream, Outcome> {
    if destination.circuit.is_open() {
        return Err(Outcome::FellBack(FellBack::CircuitOpen));
    }
    let result = to_addresses(workload, &destination.addresses(), Some(cause), word).await;
    match &result {
        // Whoever comes next meets the same: the application serves him without a detour.
        Err(Outcome::FellBack(FellBack::Exhausted)) => workload.hold_off(),
        Ok(_) | Err(Outcome::FellBack(FellBack::TargetRefused)) => {
            destination.circuit.answered();
        }
        Err(Outcome::FellBack(FellBack::TargetTimeout | FellBack::TargetUnreachable)) => {
            if destination.circuit.silent() {
                destination.tripped.notify_one();
            }
        }
        Err(_) => {}
    }
    result
}

/// Opens a connection to the first of `addresses` that answers, whatever the circuit says. Without a `cause` it is
/// nobody's: a try.
///
/// # Errors
/// As [`to_target`].
pub async fn to_addresses(
    workload: &Workload,
    addresses: &Addresses,
    cause: Option<Cause>,
    word: Ack,
) -> Result<Upstream, Outcome> {
    let addresses = match addresses {
        Addresses::Known(addresses) => addresses.as_slice(),
        Addresses::Unresolved => return Err(Outcome::FellBack(FellBack::Unresolved)),
        Addresses::Denied => return Err(Outcome::FellBack(FellBack::TargetDenied)),
    };
    let deadline = Instant::now() + workload.connect_timeout;
    let dialled = match addresses {
        [address] => timeout_at(deadline, connect_to_target(workload, *address, cause, word)).await,
        addresses => timeout_at(deadline, first_to_answer(workload, addresses, cause, word)).await,
    };
    match dialled {
        Ok(result) => result.map_err(|error| {
            if matches!(&error, DialError::Io(error) if is_shortage(error)) {
                workload.pressure.report();
            }
            error.outcome()
        }),
        Err(_elapsed) => Err(Outcome::FellBack(FellBack::TargetTimeout)),
    }
}

/// Tries each address in turn, the next one as soon as the last has failed or has been silent for a moment.
async fn first_to_answer(
    workload: &Workload,
    addresses: &[SocketAddr],
    cause: Option<Cause>,
    word: Ack,
) -> Result<Upstream, DialError> {
    let mut untried = addresses.iter();
    let mut attempts = FuturesUnordered::new();
    let mut error = DialError::Io(io::ErrorKind::AddrNotAvailable.into());
    loop {
        let next = untried.next();
        if let Some(&address) = next {
            attempts.push(connect_to_target(workload, address, cause.clone(), word));
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
    word: Ack,
) -> Result<Upstream, DialError> {
    // An IPv4 address in IPv6's clothes is called as what it is: loops are found by addresses.
    let to = SocketAddr::new(to.ip().to_canonical(), to.port());
    let mut socket = target_socket(workload, to.ip()).map_err(DialError::Io)?;
    // An address of the pod itself leads past our own program; any other can't meet it on the way out.
    let mut inside = workload.dial == Dial::Pod && bind_to_own(&socket, to.ip());
    if inside && !workload.netns.has_address(to.ip()).map_err(DialError::Io)? {
        // A pod that may bind to any address: that one is the target's.
        socket = target_socket(workload, to.ip()).map_err(DialError::Io)?;
        inside = false;
    }
    if inside && workload.is_redirected(to.port()) {
        return Err(DialError::Loop);
    }
    let source = inside.then(|| local_addr(&socket)).transpose().map_err(DialError::Io)?;
    connect(workload, socket, Ends { source, to }, cause, word).await.map_err(DialError::Io)
}

/// A socket to call a target from.
fn target_socket(workload: &Workload, ip: IpAddr) -> io::Result<Socket> {
    let socket = match workload.dial {
        Dial::Pod => workload.tcp_socket(ip)?,
        Dial::Node => netns::tcp_socket(ip)?,
    };
    // Lets the application's connections share local ports with these when the range runs out.
    socket.set_reuse_address(true)?;
    Ok(socket)
}

/// Opens a connection to the application on behalf of `caller`, at the address that he called.
///
/// # Errors
/// The outcome to count: nobody serves this caller.
pub async fn to_app(
    workload: &Workload,
    caller: SocketAddr,
    original: SocketAddr,
    word: Ack,
) -> Result<Upstream, Outcome> {
    let mut ports = workload.source_ports.candidates();
    let mut port = ports.next();
    loop {
        let error = match connect_to_app(workload, caller, original, port.unwrap_or(0), word).await
        {
            Ok(upstream) => return Ok(upstream),
            Err(error) => error,
        };
        let again = match error.raw_os_error() {
            Some(libc::EMFILE | libc::ENFILE) => workload.pressure.lend(),
            Some(libc::EADDRINUSE | libc::EADDRNOTAVAIL) => {
                port = ports.next();
                port.is_some()
            }
            _ => false,
        };
        if !again {
            return Err(Outcome::Refused(match error.kind() {
                io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset => {
                    Refused::AppRefused
                }
                _ if is_exhaustion(&error) => {
                    // Whoever comes next would meet the same: the kernel leaves him with the application.
                    if is_shortage(&error) {
                        workload.pressure.report();
                    }
                    workload.hold_off();
                    Refused::Exhausted
                }
                _ => Refused::AppFailed,
            }));
        }
    }
}

async fn connect_to_app(
    workload: &Workload,
    caller: SocketAddr,
    original: SocketAddr,
    port: u16,
    word: Ack,
) -> io::Result<Upstream> {
    let socket = workload.tcp_socket(original.ip())?;
    socket.set_reuse_address(true)?;
    // From the very address that is called: it is local, whatever routes say, and so known before connecting.
    let mut source = original;
    source.set_port(port);
    socket.bind(&source.into())?;
    // Before the application can have accepted. The source is never the caller's own, even if he calls from the same
    // address: his connection has it, and the kernel lets no second one have the same two ends.
    let source = local_addr(&socket)?;
    let shown = workload.callers.show(source, original.port(), caller);
    let upstream =
        connect(workload, socket, Ends { source: Some(source), to: original }, None, word).await?;
    if shown.is_none() {
        workload.callers.count_lost();
    }
    Ok(Upstream { _shown: shown, ..upstream })
}

/// The ends of a connection to be.
struct Ends {
    /// Known if both ends are inside the namespace.
    source: Option<SocketAddr>,
    to: SocketAddr,
}

/// Connects `socket`. One that stays inside the namespace is entered as the relay's own first.
async fn connect(
    workload: &Workload,
    socket: Socket,
    Ends { source, to }: Ends,
    cause: Option<Cause>,
    word: Ack,
) -> io::Result<Upstream> {
    socket.set_tcp_nodelay(true)?;
    if word == Ack::Delayed {
        socket.set_tcp_quickack(false)?;
    }
    let own = match source {
        Some(source) => {
            // The kernel forgets an end that its application has closed after a minute (`tcp_fin_timeout`), without a word to
            // a caller who keeps his own open.
            socket.set_tcp_keepalive(&SAME_KERNEL)?;
            Some(workload.bypass.register(source)?)
        }
        None => {
            socket.set_keepalive(true)?;
            None
        }
    };
    let remembered = match cause {
        Some(Cause { path, called }) => {
            let dialling = workload.loop_guard.dialling(called);
            send_syn(&socket, to)?;
            Some(dialling.remember(local_addr(&socket)?, path))
        }
        None => {
            send_syn(&socket, to)?;
            None
        }
    };
    // Inside the namespace the handshake is through by now, unless the queue of the application is full.
    let is_connected = own.is_some() && socket.peer_addr().is_ok();
    let stream = TcpStream::from_std(socket.into())?;
    if !is_connected {
        stream.writable().await?;
        if let Some(error) = stream.take_error()? {
            return Err(error);
        }
    }
    Ok(Upstream { _shown: None, stream, _own: own, _remembered: remembered })
}

fn send_syn(socket: &Socket, to: SocketAddr) -> io::Result<()> {
    match socket.connect(&to.into()) {
        Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => Ok(()),
        result => result,
    }
}

fn local_addr(socket: &Socket) -> io::Result<SocketAddr> {
    socket.local_addr()?.as_socket().ok_or_else(|| io::ErrorKind::AddrNotAvailable.into())
}

/// Whether an error says that this side ran out of something, rather than anything about the peer.
fn is_exhaustion(error: &io::Error) -> bool {
    is_shortage(error)
        || matches!(
            error.raw_os_error(),
            Some(libc::EADDRNOTAVAIL | libc::EADDRINUSE | libc::EAGAIN)
        )
}

/// Whether an error says that the process, or the system, is out of file descriptors or memory.
#[must_use]
pub fn is_shortage(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM))
}
