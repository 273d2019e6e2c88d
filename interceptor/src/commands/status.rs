//! `interceptor status`: fetches the daemon's state and shows it as a table.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context as _, Result, bail};
use http_body_util::{BodyExt as _, Empty};
use hyper::{Request, StatusCode, body::Bytes, header::HOST};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, time::timeout};

use interceptor_api::{
    Side, StateReport, Word,
    state::{
        CallerAddressState, CallerAddressStatus, ConnectionCounts, OutcomeCount, PipeCount,
        RuleStatus, WorkloadStatus,
    },
};

/// Maximum time for the daemon's answer.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Fetches the state document as text, without parsing it.
///
/// # Errors
/// The daemon can't be reached, does not answer in time, or answers with an error.
pub async fn fetch(admin: SocketAddr) -> Result<String> {
    timeout(TIMEOUT, get(admin))
        .await
        .with_context(|| format!("no answer from {admin} within {TIMEOUT:?}; is the daemon hung?"))?
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
        bail!("the daemon answered {}", response.status());
    }
    let body = response.into_body().collect().await?.to_bytes();
    Ok(String::from_utf8(body.into())?)
}

/// The state as a table.
#[must_use]
pub fn table(state: &StateReport) -> String {
    let mut text = String::new();
    if let Some(error) = &state.source_error {
        text += &format!("! {error}\n\n");
    }
    let CallerAddressStatus { state: node, reason, remedy, .. } = &state.caller_address;
    if *node != CallerAddressState::Kept {
        text += &format!(
            "! apps see the relay's address, not the client's: {reason}\n  remedy: {remedy}\n\n"
        );
    }
    let open = state.draining.iter().map(|(why, count)| format!("{count} {why}"));
    if !state.draining.is_empty() {
        let open = open.collect::<Vec<_>>().join(", ");
        text += &format!("! the daemon is ending; it waits for connections: {open}\n\n");
    }
    if state.workloads.is_empty() {
        text += "no workloads\n";
    }
    for status in &state.workloads {
        text += &workload(status, *node == CallerAddressState::Kept);
    }
    text
}

/// A workload with its rules. Says why clients' addresses are lost, if only this workload loses
/// them.
fn workload(status: &WorkloadStatus, kept_on_node: bool) -> String {
    let WorkloadStatus { name, netns, state, message, .. } = status;
    let mut text = format!("{name} ({netns}): {state}");
    if !message.is_empty() {
        text += &format!(": {message}");
    }
    text.push('\n');
    if let Some(CallerAddressStatus { state, reason, remedy, .. }) = &status.caller_address
        && kept_on_node
        && *state != CallerAddressState::Kept
    {
        text += &format!("  client's address: {state}: {reason}\n    remedy: {remedy}\n");
    }
    text + &status.rules.iter().map(rule).collect::<String>()
}

fn rule(status: &RuleStatus) -> String {
    let rule = status.rule.as_deref().unwrap_or("(invalid)");
    let message = status.message.replace('\n', "\n    ");
    let mut text = format!(
        "  {}: {rule}\n    {} ({}): {message}\n",
        status.annotation, status.state, status.reason
    );
    text += &traffic(status);
    if !status.decisions.is_empty() {
        text += &format!("    decisions: {}\n", decisions(status));
    }
    for PipeCount { side, reason, count } in &status.piped {
        text += &format!("    plain pipe: {count} ({reason}, by the {})\n", peer(side));
    }
    for (side, count) in &status.silent {
        text += &format!("    ended: {count} (the {} was silent)\n", peer(side));
    }
    let explained: Vec<_> = status
        .outcomes
        .iter()
        .filter(|outcome| !outcome.reason.is_empty())
        .map(|OutcomeCount { outcome, reason, count }| format!("{count} {outcome} ({reason})"))
        .collect();
    if !explained.is_empty() {
        text += &format!("    not redirected: {}\n", explained.join(", "));
    }
    text
}

fn traffic(status: &RuleStatus) -> String {
    let ConnectionCounts { active, redirected, fell_back, passed, refused } = status.connections;
    format!(
        "    connections: {active} open, {redirected} redirected, {fell_back} fell back, \
         {passed} passed, {refused} refused; bytes: {} to target, {} back\n",
        status.bytes_to_target, status.bytes_from_target,
    )
}

fn decisions(status: &RuleStatus) -> String {
    let some = status.decisions.iter().filter(|(_, count)| **count > 0);
    let some: Vec<_> = some
        .map(|(decision, count)| format!("{count} {}", decision.as_str().replace('_', " ")))
        .collect();
    if some.is_empty() { "none yet".to_owned() } else { some.join(", ") }
}

/// The peer whose bytes ended the framing.
fn peer(side: &Word<Side>) -> &str {
    if *side == Side::Client { "client" } else { side.as_str() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filled_document_is_laid_out_for_people() {
        let recorded = include_str!("../../../crates/api/tests/recorded/filled.json");
        let state = serde_json::from_str(recorded).expect("a document");
        assert_eq!(
            table(&state),
            "! w.yaml:1:1: wrong\n\n\
             ! apps see the relay's address, not the client's: no cgroup\n  remedy: mount it\n\n\
             ! the daemon is ending; it waits for connections: 3 tunnel\n\n\
             shop/web-0 (pod 10.244.1.2): armed\n\
             \x20 debug.redirect: 8080,8443 -> 10.20.0.7:3000 when request.path == \"/x\"\n\
             \x20   active (Intercepting): requests reach it\n\
             \x20   connections: 1 open, 2 redirected, 3 fell back, 4 passed, 5 refused; \
             bytes: 10 to target, 11 back\n\
             \x20   decisions: 7 earlier rule, 7 error, 7 fell back, 7 matched, 7 no match, \
             7 outside share, 7 undecided\n\
             \x20   plain pipe: 8 (http_0_9, by the client)\n\
             \x20   plain pipe: 9 (tunnel, by the server)\n\
             \x20   ended: 6 (the server was silent)\n\
             \x20   not redirected: 3 fell_back (target_timeout), 4 passed (daemon_hung), \
             5 refused (exhausted)\n\
             \x20 debug.redirect/bob: (invalid)\n\
             \x20   refused (RuleInvalid): column 6: expected `->`\n\
             \x20   connections: 0 open, 0 redirected, 0 fell back, 0 passed, 0 refused; \
             bytes: 0 to target, 0 back\n\
             shop/web-1 (pod): pending: no namespace\n"
        );
    }
}
