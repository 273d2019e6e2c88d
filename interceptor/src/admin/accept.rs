//! The connections of the admin endpoint: few, and none that only waits.
//!
//! Strangers may reach one of its addresses, and what they use up is what redirected connections need. When there are as
//! many as may be, the oldest goes: whoever asks and is answered, as the kubelet and Prometheus are, gets through.

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

/// Connections at one time. Their files are part of the reserve that relayed connections leave (`limits.rs`).
const MAX_CONNECTIONS: usize = 16;
/// A connection without a whole request for this long is closed.
const IDLE: Duration = Duration::from_secs(60);
/// After the kernel had no connection to give, as when files run out.
const PAUSE: Duration = Duration::from_millis(100);

/// Serves until the runtime ends.
pub async fn serve(listener: TcpListener, router: Router) -> Infallible {
    let mut open = VecDeque::<AbortHandle>::new();
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::debug!(%error, "accept at the admin endpoint");
                sleep(PAUSE).await;
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
            .header_read_timeout(IDLE)
            .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router.clone()));
        let task = tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection of the admin endpoint");
            }
        });
        open.push_back(task.abort_handle());
        // Whoever has asked is answered before the next one comes, however many come.
        yield_now().await;
    }
}
