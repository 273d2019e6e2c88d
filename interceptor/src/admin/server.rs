//! The admin endpoint.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Json, Router,
    extract::State,
    http::{StatusCode, header::CONTENT_TYPE},
    response::IntoResponse,
    routing::get,
};
use interceptor_common::heartbeat::STALE_AFTER_MS;
use prometheus_client::{encoding::text::encode, registry::Registry as MetricRegistry};
use tokio::net::TcpListener;

use super::{accept, state::report};
use crate::{control::registry::Registry, datapath::Callers, relay::worker::Shared};

/// The address that is used when none is asked for. Loopback: nothing here is for strangers.
pub const DEFAULT_ADDR: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 9469);

/// What the answers are made of.
pub struct Admin {
    /// What the control side publishes.
    pub registry: Arc<Registry>,
    /// What the workers publish.
    pub shared: Arc<Shared>,
    /// Whether applications see callers' addresses.
    pub callers: Arc<Callers>,
    /// What is measured.
    pub metrics: MetricRegistry,
}

/// Serves everything until the runtime ends.
pub async fn serve(listener: TcpListener, admin: Arc<Admin>) {
    accept::serve(listener, for_strangers().route("/state", get(state)).with_state(admin)).await;
}

/// Serves what may be seen from outside of the node, until the runtime ends.
pub async fn serve_strangers(listener: TcpListener, admin: Arc<Admin>) {
    accept::serve(listener, for_strangers().with_state(admin)).await;
}

fn for_strangers() -> Router<Arc<Admin>> {
    Router::new()
        .route("/metrics", get(metrics))
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
}

async fn metrics(State(admin): State<Arc<Admin>>) -> impl IntoResponse {
    let mut text = String::new();
    match encode(&mut text, &admin.metrics) {
        Ok(()) => {
            let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            (StatusCode::OK, [(CONTENT_TYPE, kind)], text).into_response()
        }
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

/// Alive as the kernel program sees it: every worker goes round its loop.
async fn livez(State(admin): State<Arc<Admin>>) -> impl IntoResponse {
    let age = admin.shared.heartbeat_age();
    if age < Duration::from_millis(STALE_AFTER_MS) {
        (StatusCode::OK, "ok\n".to_owned())
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, format!("a worker has been stuck for {age:.1?}\n"))
    }
}

/// Ready: every workload that was written at start has been looked at.
async fn readyz(State(admin): State<Arc<Admin>>) -> impl IntoResponse {
    if admin.registry.is_ready() {
        (StatusCode::OK, "ok\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "arming workloads\n")
    }
}

async fn state(State(admin): State<Arc<Admin>>) -> impl IntoResponse {
    Json(report(&admin.registry, &admin.shared, &admin.callers))
}
