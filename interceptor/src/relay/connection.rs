//! One stolen connection, from being accepted to its end.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::{io::AsyncWriteExt as _, net::TcpStream, time::Instant};

use super::{
    dial::{self, Cause, Upstream},
    health,
    lineage::Hop,
    pipe::{Ending, pipe},
    proxy_v2,
    route::Route,
    socket,
    stats::{Outcome, Passed},
    workload::Workload,
};

/// Serves the connection that `peer` made to a redirected port of `workload`.
pub async fn serve(workload: Arc<Workload>, mut client: TcpStream, peer: SocketAddr) {
    // sk_lookup keeps the addresses of the connection: this is what the caller called.
    let Ok(original) = client.local_addr() else { return };
    if workload.listeners.contains(&original) && !workload.is_redirected(original.port()) {
        workload.strays.fetch_add(1, Ordering::Relaxed);
        return socket::reset_on_close(&client);
    }
    if let Some(token) = workload.probes.answer(peer) {
        // A probe that hung up has its answer already: none.
        let _ = client.write_all(&token).await;
        return;
    }
    let Some(route) = workload.route(original.port()) else {
        workload.unrouted.fetch_add(1, Ordering::Relaxed);
        return match dial::to_app(&workload, peer, original).await {
            Ok(app) => carry(&workload, &client, &app.stream, Vec::new(), [None, None]).await,
            Err(_) => socket::reset_on_close(&client),
        };
    };
    let _active = route.stats.activate();
    let started = Instant::now();

    let path = workload.lineage.extend(peer, Hop { workload: workload.id, port: original.port() });
    let dialled = match path {
        None => Err(Outcome::Passed(Passed::Loop)),
        Some(_) if route.is_withdrawn() => Err(Outcome::Passed(Passed::RuleRemoved)),
        Some(_) if health::is_probe(&workload, &client, peer, original.port()).await => {
            Err(Outcome::Passed(Passed::HealthCheck))
        }
        Some(path) => {
            let cause = Cause { path, called: original.ip() };
            dial::to_target(&workload, &route.destination, cause).await
        }
    };
    match dialled {
        Ok(upstream) => {
            route.stats.connect_seconds.observe(started.elapsed().as_secs_f64());
            settle(&workload, &route, peer, original, Outcome::Redirected);
            to_target(&workload, &route, client, peer, original, upstream).await;
        }
        Err(outcome) => match dial::to_app(&workload, peer, original).await {
            Ok(app) => {
                settle(&workload, &route, peer, original, outcome);
                carry(&workload, &client, &app.stream, Vec::new(), [None, None]).await;
            }
            Err(outcome) => {
                settle(&workload, &route, peer, original, outcome);
                socket::reset_on_close(&client);
            }
        },
    }
}

async fn to_target(
    workload: &Workload,
    route: &Route,
    client: TcpStream,
    peer: SocketAddr,
    original: SocketAddr,
    upstream: Upstream,
) {
    let first = match route.proxy_protocol {
        Some(interceptor_rule::ProxyProtocol::V2) => proxy_v2::header(peer, original),
        None => Vec::new(),
    };
    let moved = route.stats.bytes().map(Some);
    carry(workload, &client, &upstream.stream, first, moved).await;
}

/// Counts and logs who serves the connection, once.
fn settle(workload: &Workload, route: &Route, peer: SocketAddr, original: SocketAddr, outcome: Outcome) {
    route.stats.count(outcome);
    tracing::debug!(
        target: "access",
        workload = %workload.name,
        %peer,
        %original,
        outcome = outcome.outcome(),
        reason = outcome.reason(),
    );
}

/// Moves bytes until the end, and makes it the end that both sides would have seen without us.
async fn carry(
    workload: &Workload,
    client: &TcpStream,
    upstream: &TcpStream,
    first: Vec<u8>,
    moved: [Option<&AtomicU64>; 2],
) {
    let _cut = ResetIfCut { workload, streams: [client, upstream] };
    let survivor = match pipe(client, upstream, first, moved).await {
        Ending::Closed => return,
        Ending::ABroke => upstream,
        Ending::BBroke => client,
    };
    // What the broken side said before is in the survivor's send queue, which a reset would throw away.
    socket::drained(survivor).await;
    socket::reset_on_close(survivor);
}

/// Whenever the task ends: in a namespace that is gone, a FIN would wait for an answer that can't come.
struct ResetIfCut<'a> {
    workload: &'a Workload,
    streams: [&'a TcpStream; 2],
}

impl Drop for ResetIfCut<'_> {
    fn drop(&mut self) {
        if self.workload.cut.load(Ordering::Relaxed) {
            self.streams.into_iter().for_each(socket::reset_on_close);
        }
    }
}
