//! Proves that a rule's ports are intercepted: a rule is active only after a canary connection to
//! each of them has arrived at the relay.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use interceptor_common::{port::Port, steal::Family};
use tokio::{
    io::AsyncReadExt as _,
    net::TcpSocket,
    time::{sleep, timeout},
};

use crate::{
    backoff::Backoff,
    relay::{canary::Token, workload::Workload},
};

/// The delays after a canary that failed.
const RETRY: Backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(5));

/// Maximum time that a canary may take: it never leaves the node.
const TIMEOUT: Duration = Duration::from_millis(500);

/// The progress of a proof.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proof {
    /// No canary has been answered yet.
    UnderWay,
    /// Every port of the rule was intercepted.
    Proven,
    /// The last canary failed, for this reason. The proof continues.
    Failed(String),
}

/// Why a port is not proven to be intercepted.
#[derive(Debug, thiserror::Error)]
enum CanaryError {
    /// The connection could not be made.
    #[error("test connection to {to}: {source}")]
    Io {
        /// The redirected address.
        to: SocketAddr,
        /// What the kernel reported.
        source: io::Error,
    },
    /// The connection was made, but no worker answered it.
    #[error("a test connection to {to} did not arrive at the relay")]
    NotIntercepted {
        /// The redirected address.
        to: SocketAddr,
    },
}

/// Sends canaries to `ports` in every family that the workload has listeners for, until all ports
/// are proven. Reports each result to `report`.
pub async fn prove(workload: Arc<Workload>, ports: Vec<Port>, report: impl Fn(Proof)) {
    let mut retry = RETRY;
    loop {
        match prove_once(&workload, &ports).await {
            Ok(()) => return report(Proof::Proven),
            Err(error) => report(Proof::Failed(error.to_string())),
        }
        sleep(retry.failed()).await;
    }
}

async fn prove_once(workload: &Workload, ports: &[Port]) -> Result<(), CanaryError> {
    for family in [Family::V4, Family::V6] {
        if !workload.listeners.iter().any(|listener| listener.is_ipv4() == (family == Family::V4)) {
            continue;
        }
        for port in ports {
            send_canary(workload, family, port.number()).await?;
        }
    }
    Ok(())
}

/// Connects to `port` inside the workload's namespace and waits for the relay's answer.
///
/// # Errors
/// When the connection fails, or anything but the relay answers it.
async fn send_canary(workload: &Workload, family: Family, port: u16) -> Result<(), CanaryError> {
    let ip: IpAddr = match family {
        Family::V4 => Ipv4Addr::LOCALHOST.into(),
        Family::V6 => Ipv6Addr::LOCALHOST.into(),
    };
    let to = SocketAddr::new(ip, port);
    let io_error = |source| CanaryError::Io { to, source };

    let socket = workload.netns.tcp_socket(ip).map_err(io_error)?;
    socket.bind(&SocketAddr::new(ip, 0).into()).map_err(io_error)?;
    let socket = TcpSocket::from_std_stream(socket.into());
    let mut expected = workload.canaries.expect(socket.local_addr().map_err(io_error)?);
    let mut token = Token::default();
    let answer = timeout(TIMEOUT, async {
        let mut stream = socket.connect(to).await.map_err(io_error)?;
        stream.read_exact(&mut token).await.map_err(|_| CanaryError::NotIntercepted { to })
    });
    match answer.await {
        Ok(Ok(_)) if expected.is_answered_by(token) => Ok(()),
        Ok(Err(error)) => Err(error),
        Ok(Ok(_)) | Err(_) => Err(CanaryError::NotIntercepted { to }),
    }
}
