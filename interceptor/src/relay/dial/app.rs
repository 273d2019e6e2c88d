//! Dialling the app, past our own kernel program.

use std::io;

use super::connect::{Ack, Ends, connect, is_exhaustion, is_shortage, local_addr};
use crate::relay::{
    addr::{ClientAddr, OrigDst},
    stats::{Outcome, Refused},
    upstream::Upstream,
    workload::Workload,
};

/// Why the app has no connection for a client.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct AppDialError(#[from] io::Error);

// === impl AppDialError ===

impl From<AppDialError> for Outcome {
    fn from(AppDialError(error): AppDialError) -> Self {
        Self::Refused(match error.kind() {
            io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset => {
                Refused::AppRefused
            }
            _ if is_exhaustion(&error) => Refused::Exhausted,
            _ => Refused::AppFailed,
        })
    }
}

/// Opens a connection to the app on behalf of `client`, at the address that it connected to.
///
/// # Errors
/// When the app refuses it, or this side has no port, file descriptor or memory left for it.
pub async fn to_app(
    workload: &Workload,
    client: ClientAddr,
    original: OrigDst,
    ack: Ack,
) -> Result<Upstream, AppDialError> {
    let mut ports = workload.source_ports.candidates();
    let mut port = ports.next();
    loop {
        let error = match connect_from(workload, client, original, port.unwrap_or(0), ack).await {
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
        if again {
            continue;
        }
        if is_shortage(&error) {
            workload.pressure.report();
        }
        if is_exhaustion(&error) {
            // The next client would meet the same shortage, so the kernel leaves it with the app.
            workload.hold_off();
        }
        return Err(error.into());
    }
}

/// Dials the app from `port`; 0 is the kernel's choice.
async fn connect_from(
    workload: &Workload,
    client: ClientAddr,
    original: OrigDst,
    port: u16,
    ack: Ack,
) -> io::Result<Upstream> {
    let socket = workload.tcp_socket(original.ip())?;
    socket.set_reuse_address(true)?;
    // Bound to the address that is dialled. It is local whatever the routes are, so the source is
    // known before connecting.
    let mut source = original.0;
    source.set_port(port);
    socket.bind(&source.into())?;
    // Before the app can accept. The source differs from the client's, even if the client connects
    // from the same address: the kernel allows no two connections with the same two ends.
    let source = local_addr(&socket)?;
    let shown = workload.callers.show(source, original.port(), client.0);
    let ends = Ends { source: Some(source), to: original.0 };
    let upstream = connect(workload, socket, ends, None, ack).await?;
    if shown.is_none() {
        workload.callers.count_not_shown();
    }
    Ok(Upstream { shown, ..upstream })
}
