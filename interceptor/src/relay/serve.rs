//! The first decision about a connection that a worker accepted.
//!
//! To the left: the worker. To the right: the app ([`pass`]), a target ([`Stolen::redirect`]), or
//! protocol detection ([`detect::serve`]) if the rules depend on what the client sends.

use std::sync::{Arc, atomic::Ordering};

use interceptor_condition::Needs;

use super::{
    addr::{ClientAddr, OrigDst},
    detect,
    dial::Ack,
    health,
    local::Origin,
    loop_guard::Hop,
    netns_stream::NetnsStream,
    pipe::Before,
    record::ConnRecord,
    route::Route,
    select::Choice,
    stats::{Outcome, Passed, Refused},
    stolen::Stolen,
    stream::Stream,
    workload::Workload,
};

/// Serves the connection that a client made to a redirected port of `workload`.
pub async fn serve(
    workload: Arc<Workload>,
    stream: Stream,
    client_addr: ClientAddr,
    original: OrigDst,
) {
    let client = NetnsStream::new(stream, &workload.gone);
    if workload.listeners.contains(&original.0) && !workload.is_redirected(original.port()) {
        // A connection straight to the relay's own listener: there is no app behind it.
        workload.strays.fetch_add(1, Ordering::Relaxed);
        return client.reset_on_close();
    }
    if let Some(token) = workload.canaries.answer(client_addr) {
        // A canary that has closed its end does not need the answer.
        let _ = client.write_all(&token).await;
        return;
    }
    // Boxed: else every connection would take the memory that only these need.
    let is_gone = workload.loop_watch.is_on()
        && !Box::pin(workload.loop_watch.hold(&client, original.port())).await;
    let routes = workload.routes(original.port()).unwrap_or_else(|| {
        workload.unrouted.fetch_add(1, Ordering::Relaxed);
        Arc::default()
    });
    let record = ConnRecord::open(
        Arc::clone(&workload.name),
        client_addr,
        original,
        &routes,
        &workload.farewell,
    );
    if is_gone {
        return record.record_all(Outcome::Refused(Refused::ClientGone));
    }
    let hop = Hop { workload: workload.id, port: original.port() };
    let path = workload.loop_guard.extend(client_addr, hop);
    let carried = workload.capacity.carry();
    let origin = Origin::of(&workload, &routes, client_addr, original);
    let proxy_header = Box::default();
    let stolen = Stolen {
        workload,
        client,
        client_addr,
        original,
        origin,
        path,
        carried,
        record,
        proxy_header,
    };
    if stolen.path.is_loop() {
        return pass(&stolen, Passed::Loop).await;
    }
    if routes.iter().all(|route| route.is_withdrawn()) {
        return pass(&stolen, Passed::RuleRemoved).await;
    }
    let is_full = |route: &Arc<Route>| stolen.workload.capacity.is_exceeded_by(route.stats.share());
    if routes.iter().any(is_full) {
        return pass(&stolen, Passed::RuleAtLimit).await;
    }
    let workload = &stolen.workload;
    if stolen.is_spared() || health::is_probe(workload, &stolen.client, client_addr, original).await
    {
        return pass(&stolen, Passed::HealthCheck).await;
    }
    match stolen.choose(None, Needs::Connection) {
        Choice::Target(route) => stolen.redirect(&route).await,
        Choice::App => pass(&stolen, Passed::NotMatched).await,
        // Boxed: else every connection would take the memory that only these need.
        Choice::Later => Box::pin(detect::serve(stolen)).await,
    }
}

/// Hands a connection that no rule takes to the app.
async fn pass(stolen: &Stolen, why: Passed) {
    if let Some(app) = stolen.app_or_refuse(Ack::Immediate).await {
        stolen.record.record_all(Outcome::Passed(why));
        stolen.pass_on(&app, Before::default()).await;
    }
}
