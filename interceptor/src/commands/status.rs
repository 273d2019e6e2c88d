//! `interceptor status`: the daemon's state, fetched and laid out for people.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context as _, Result, bail};
use http_body_util::{BodyExt as _, Empty};
use hyper::{Request, StatusCode, body::Bytes, header::HOST};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, time::timeout};

use interceptor_api::{
    StateReport,
    state::{CallerAddressState, CallerAddressStatus},
};

const PATIENCE: Duration = Duration::from_secs(5);

/// Fetches the state document as it is.
///
/// # Errors
/// When the daemon can't be reached or does not answer as expected.
pub async fn fetch(admin: SocketAddr) -> Result<String> {
    timeout(PATIENCE, get(admin))
        .await
        .with_context(|| {
            format!("no answer from {admin} within {PATIENCE:?}; is the daemon hung?")
        })?
        .with_context(|| {
            format!("ask the daemon at {admin}; is it running, and is this its --admin address?")
        })
}

async fn get(admin: SocketAddr) -> Result<String> {
    let stream = TcpStream::connect(admin).await?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let request =
        Request::get("/state").header(HOST, admin.to_string()).body(Empty::<Bytes>::new())?;
    let response = sender.send_request(request).await?;
    if response.status() != StatusCode::OK {
        bail!("it answered {}", response.status());
    }
    let body = response.into_body().collect().await?.to_bytes();
    Ok(String::from_utf8(body.into())?)
}

/// The state for people.
#[must_use]
pub fn table(state: &StateReport) -> String {
    let mut text = String::new();
    if let Some(error) = &state.source_error {
        text += &format!("! {error}\n\n");
    }
    let CallerAddressStatus { state: kept, reason, remedy, .. } = &state.caller_address;
    if *kept != CallerAddressState::Kept {
        text += &format!(
            "! applications see the relay's address, not the caller's: {reason}\n  remedy: {remedy}\n\n"
        );
    }
    if state.workloads.is_empty() {
        text += "no workloads\n";
    }
    for workload in &state.workloads {
        text += &format!("{} ({}): {}", workload.name, workload.netns, workload.state);
        if !workload.message.is_empty() {
            text += &format!(": {}", workload.message);
        }
        text.push('\n');
        if let Some(CallerAddressStatus { state: here, reason, remedy, .. }) =
            &workload.caller_address
            && *kept == CallerAddressState::Kept
            && here != kept
        {
            text += &format!("  caller's address: {here}: {reason}\n    remedy: {remedy}\n");
        }
        for rule in &workload.rules {
            let what = rule.rule.as_deref().unwrap_or("(can't be read)");
            text += &format!("  {}: {what}\n", rule.annotation);
            text += &format!(
                "    {} ({}): {}\n",
                rule.state,
                rule.reason,
                rule.message.replace('\n', "\n    ")
            );
            let connections = &rule.connections;
            text += &format!(
                "    connections: {} open, {} redirected, {} fell back, {} passed, {} refused; bytes: {} to target, {} back\n",
                connections.active,
                connections.redirected,
                connections.fell_back,
                connections.passed,
                connections.refused,
                rule.bytes_to_target,
                rule.bytes_from_target,
            );
            if !rule.decisions.is_empty() {
                let said = rule.decisions.iter().filter(|(_, count)| **count > 0);
                let said: Vec<_> = said
                    .map(|(decision, count)| {
                        format!("{count} {}", decision.as_str().replace('_', " "))
                    })
                    .collect();
                let said = if said.is_empty() { "nothing yet".to_owned() } else { said.join(", ") };
                text += &format!("    asked about: {said}\n");
            }
            for pipe in &rule.piped {
                text += &format!(
                    "    not looked into: {} ({}, by the {})\n",
                    pipe.count, pipe.reason, pipe.side
                );
            }
            let explained: Vec<_> = rule
                .outcomes
                .iter()
                .filter(|outcome| !outcome.reason.is_empty())
                .map(|outcome| {
                    format!("{} {} ({})", outcome.count, outcome.outcome, outcome.reason)
                })
                .collect();
            if !explained.is_empty() {
                text += &format!("    not redirected: {}\n", explained.join(", "));
            }
        }
    }
    text
}
