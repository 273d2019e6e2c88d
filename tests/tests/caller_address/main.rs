//! Connections that fall back: the app sees the address and port of the client, as without the
//! relay.

#![forbid(unsafe_code)]

mod attached;
mod lost;
mod shown;

use anyhow::{Context as _, Result, ensure};
use testbed::{BpfKind, Connection, Daemon, Namespace, bpf_inventory};

/// A rule whose target refuses, so that the app serves.
fn refused_rule(laptop: &Namespace) -> String {
    format!("8080 -> {}:1", laptop.ip4())
}

/// Fails unless `app` answers and sees the client's own address.
fn check_client_seen(connection: &mut Connection, app: &str) -> Result<()> {
    let answer = connection.ask()?;
    let own = connection.stream().local_addr()?;
    ensure!(answer.tag == app && answer.peer == Some(own), "client {own} got {answer:?}");
    Ok(())
}

/// The daemon's counters: (connections that show the client's address at present, connections that
/// did not show it).
fn counts(daemon: &Daemon) -> Result<(u64, u64)> {
    let state = daemon.state()?;
    let report = &state["caller_address"];
    let number = |key: &str| report[key].as_u64().with_context(|| format!("no {key} in {report}"));
    let counts = (number("shown")?, number("not_shown")?);
    let metrics = daemon.metrics()?;
    let measured = ["interceptor_callers_shown", "interceptor_callers_not_shown_total"]
        .map(|name| metrics.sum(name, &[]) as u64);
    ensure!(measured == [counts.0, counts.1], "status has {counts:?}, metrics have {measured:?}");
    Ok(counts)
}

/// The number of the daemon's links: (to network namespaces, to the cgroup root).
fn links(daemon: &Daemon) -> Result<(usize, usize)> {
    let held = bpf_inventory()?.still_here(&daemon.bpf_objects()?);
    let (netns, cgroup): (Vec<_>, Vec<_>) = held
        .into_iter()
        .filter(|object| object.kind == BpfKind::Link)
        .partition(|link| link.netns_inode.is_some());
    Ok((netns.len(), cgroup.len()))
}
