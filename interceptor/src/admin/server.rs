//! The paths of the admin endpoint and their answers.

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

/// The default address. Loopback, because `/state` names targets.
pub const DEFAULT_ADDR: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 9469);

/// The sources of the answers.
pub struct Admin {
    /// The state that the control side publishes.
    pub registry: Arc<Registry>,
    /// The state that the workers publish.
    pub shared: Arc<Shared>,
    /// Whether apps see clients' addresses.
    pub callers: Arc<Callers>,
    /// The metrics.
    pub metrics: MetricRegistry,
}

/// Serves every path until the runtime ends.
pub async fn serve(listener: TcpListener, admin: Arc<Admin>) {
    accept::serve(listener, public_paths().route("/state", get(state)).with_state(admin)).await;
}

/// Serves the paths that other hosts may see, until the runtime ends: all but `/state`.
pub async fn serve_public(listener: TcpListener, admin: Arc<Admin>) {
    accept::serve(listener, public_paths().with_state(admin)).await;
}

fn public_paths() -> Router<Arc<Admin>> {
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

/// Alive, by the rule of the kernel program: the heartbeat of every worker is fresh.
async fn livez(State(admin): State<Arc<Admin>>) -> impl IntoResponse {
    let age = admin.shared.heartbeat_age();
    if age < Duration::from_millis(STALE_AFTER_MS) {
        (StatusCode::OK, "ok\n".to_owned())
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, format!("a worker has been stuck for {age:.1?}\n"))
    }
}

/// Ready: the reconciler has looked at every workload that was specified at the start.
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
