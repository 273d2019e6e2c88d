//! Where a connection that a worker accepted goes: the first decision about it.
//!
//! To the left: the worker that accepted it. To the right: the app (`pass`), a target ([`Stolen::redirect`]), or
//! protocol detection ([`detect::serve`]) when the rules need to see what is sent.

use std::{
    net::SocketAddr,
    sync::{Arc, atomic::Ordering},
};

use interceptor_condition::Needs;
use tokio::{io::AsyncWriteExt as _, net::TcpStream};

use super::{
    detect,
    dial::{self, Ack},
    health,
    loop_guard::Hop,
    record::ConnRecord,
    select::{Choice, select},
    socket,
    stats::{Outcome, Passed},
    stolen::{Stolen, carry},
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
    if let Some(token) = workload.canaries.answer(peer) {
        // A probe that hung up has its answer already: none.
        let _ = client.write_all(&token).await;
        return;
    }
    let Some(routes) = workload.routes(original.port()) else {
        workload.unrouted.fetch_add(1, Ordering::Relaxed);
        return match dial::to_app(&workload, peer, original, Ack::Immediate).await {
            Ok(app) => {
                carry(&workload, &client, &app.stream, Default::default(), [None, None]).await
            }
            Err(_) => socket::reset_on_close(&client),
        };
    };
    let record = ConnRecord::open(Arc::clone(&workload.name), peer, original, &routes);
    let Some(path) =
        workload.loop_guard.extend(peer, Hop { workload: workload.id, port: original.port() })
    else {
        return pass(&workload, &client, peer, original, &record, Passed::Loop).await;
    };
    if routes.iter().all(|route| route.is_withdrawn()) {
        return pass(&workload, &client, peer, original, &record, Passed::RuleRemoved).await;
    }
    if health::is_probe(&workload, &client, peer, original.port()).await {
        return pass(&workload, &client, peer, original, &record, Passed::HealthCheck).await;
    }
    let stolen = Stolen { workload, client, peer, original, path, record };
    let choice = select(&routes, &stolen.facts(None), Needs::Connection);
    match choice {
        Choice::Target(route) => stolen.redirect(&route).await,
        Choice::App => {
            pass(
                &stolen.workload,
                &stolen.client,
                peer,
                original,
                &stolen.record,
                Passed::NotMatched,
            )
            .await;
        }
        // Boxed: it needs more memory than a connection that is not looked into, which would have it too.
        Choice::Later => Box::pin(detect::serve(stolen)).await,
    }
}

/// Hands a connection that is no rule's to the application.
async fn pass(
    workload: &Workload,
    client: &TcpStream,
    peer: SocketAddr,
    original: SocketAddr,
    record: &ConnRecord,
    why: Passed,
) {
    match dial::to_app(workload, peer, original, Ack::Immediate).await {
        Ok(app) => {
            record.record_all(Outcome::Passed(why));
            carry(workload, client, &app.stream, Default::default(), [None, None]).await;
        }
        Err(outcome) => {
            record.record_all(outcome);
            socket::reset_on_close(client);
        }
    }
}
