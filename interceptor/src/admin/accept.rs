//! The connections of the admin endpoint, bounded in number.
//!
//! One listener may be exposed to other hosts. Connections it holds compete with redirected ones
//! for file descriptors. When the maximum is reached, the oldest connection is closed. Clients that
//! get their answer at once, such as the kubelet and Prometheus, are served even then.

use std::{collections::VecDeque, convert::Infallible, time::Duration};

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    net::TcpListener,
    task::{AbortHandle, yield_now},
    time::sleep,
};

/// Maximum number of connections at one time. Their file descriptors are part of the reserve that
/// relayed connections leave (`limits.rs`).
const MAX_CONNECTIONS: usize = 16;
/// Maximum time for a whole request head to arrive.
const HEAD_TIMEOUT: Duration = Duration::from_secs(60);
/// The pause after a failed accept, as when file descriptors run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves until the runtime ends.
pub async fn serve(listener: TcpListener, router: Router) -> Infallible {
    let mut open = VecDeque::<AbortHandle>::new();
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::debug!(%error, "could not accept a connection to the admin endpoint");
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        open.retain(|connection| !connection.is_finished());
        if open.len() >= MAX_CONNECTIONS
            && let Some(oldest) = open.pop_front()
        {
            oldest.abort();
        }
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT)
            .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router.clone()));
        let task = tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection to the admin endpoint failed");
            }
        });
        open.push_back(task.abort_handle());
        // Lets the connections answer before the next one is accepted.
        yield_now().await;
    }
}
