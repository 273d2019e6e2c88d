//! One stolen connection, from being accepted to its end.

use std::{
    net::SocketAddr,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use socket2::SockRef;
use tokio::{io::AsyncWriteExt as _, net::TcpStream, time::Instant};

use super::{
    dial::{self, Upstream},
    lineage::{Hop, Path},
    pipe::{Ending, pipe},
    proxy_v2,
    route::Route,
    stats::{Outcome, Passed},
    workload::Workload,
};

/// Serves the connection that `peer` made to a redirected port of `workload`.
pub async fn serve(workload: Arc<Workload>, mut client: TcpStream, peer: SocketAddr) {
    // sk_lookup keeps the addresses of the connection: this is what the caller called.
    let Ok(original) = client.local_addr() else { return };
    if workload.listeners.contains(&original) {
        workload.strays.fetch_add(1, Ordering::Relaxed);
        return reset(&client);
    }
    if let Some(token) = workload.probes.answer(peer) {
        // A probe that hung up has its answer already: none.
        let _ = client.write_all(&token).await;
        return;
    }
    let Some(route) = workload.route(original.port()) else {
        // The port was given back so long ago that its counters are gone.
        return pass_unrouted(&workload, client, original).await;
    };
    let _active = route.stats.activate();
    let started = Instant::now();

    let path = workload.lineage.extend(peer, Hop { workload: workload.id, port: original.port() });
    let dialled = match path {
        None => Err(Outcome::Passed(Passed::Loop)),
        Some(_) if route.is_withdrawn() => Err(Outcome::Passed(Passed::RuleRemoved)),
        Some(path) => dial::to_target(&workload, &route.destination).await.map(|upstream| (upstream, path)),
    };
    match dialled {
        Ok((upstream, path)) => {
            route.stats.connect_seconds.observe(started.elapsed().as_secs_f64());
            log(&workload, &route, peer, original, Outcome::Redirected);
            to_target(&workload, &route, client, peer, original, upstream, path).await;
        }
        Err(outcome) => {
            let outcome = match dial::to_app(&workload, original).await {
                Ok(app) => {
                    log(&workload, &route, peer, original, outcome);
                    let ending = pipe(&client, &app.stream, Vec::new(), [None, None]).await;
                    return end(ending, &client, &app.stream);
                }
                Err(outcome) => outcome,
            };
            log(&workload, &route, peer, original, outcome);
            reset(&client);
        }
    }
}

async fn to_target(
    workload: &Workload,
    route: &Route,
    client: TcpStream,
    peer: SocketAddr,
    original: SocketAddr,
    upstream: Upstream,
    path: Path,
) {
    let _remembered = upstream.stream.local_addr().ok().map(|local| workload.lineage.remember(local, path));
    let first = match route.proxy_protocol {
        Some(interceptor_rule::ProxyProtocol::V2) => proxy_v2::header(peer, original),
        None => Vec::new(),
    };
    let moved = route.stats.bytes().map(Some);
    let ending = pipe(&client, &upstream.stream, first, moved).await;
    end(ending, &client, &upstream.stream);
}

async fn pass_unrouted(workload: &Workload, client: TcpStream, original: SocketAddr) {
    match dial::to_app(workload, original).await {
        Ok(app) => {
            let ending = pipe(&client, &app.stream, Vec::new(), [None, None]).await;
            end(ending, &client, &app.stream);
        }
        Err(_) => reset(&client),
    }
}

fn log(workload: &Workload, route: &Route, peer: SocketAddr, original: SocketAddr, outcome: Outcome) {
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

fn end(ending: Ending, client: &TcpStream, upstream: &TcpStream) {
    if ending == Ending::Reset {
        reset(client);
        reset(upstream);
    }
}

/// Makes the close that follows send an RST, as a server does that dies or has nobody listening.
fn reset(stream: &TcpStream) {
    // Fails only on a socket that is no longer connected, and then there is nobody to tell.
    let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
}
