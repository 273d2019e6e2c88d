//! The app sees the caller's address and port, as if we were not there, whenever it serves him in the target's place.

mod attached;
mod lost;
mod shown;

use anyhow::{Context as _, Result, ensure};
use testbed::{BpfKind, Connection, Daemon, Namespace, bpf_inventory};

/// A rule with a target that refuses, so that the app serves.
fn refused(laptop: &Namespace) -> String {
    format!("8080 -> {}:1", laptop.ip4())
}

/// What the app says of a caller, which should be what the caller says of himself.
fn sees_the_caller(connection: &mut Connection, app: &str) -> Result<()> {
    let answer = connection.ask()?;
    let own = connection.stream().local_addr()?;
    ensure!(answer.tag == app && answer.peer == Some(own), "the caller {own} is told {answer:?}");
    Ok(())
}

/// What the daemon says of callers' addresses: (connections shown at present, connections not shown).
fn counts(daemon: &Daemon) -> Result<(u64, u64)> {
    let state = daemon.state()?;
    let told = &state["caller_address"];
    let number = |key: &str| told[key].as_u64().with_context(|| format!("no {key} in {told}"));
    let counts = (number("shown")?, number("not_shown")?);
    let metrics = daemon.metrics()?;
    let measured = ["interceptor_callers_shown", "interceptor_callers_not_shown_total"]
        .map(|name| metrics.sum(name, &[]) as u64);
    ensure!(measured == [counts.0, counts.1], "status says {counts:?}, metrics say {measured:?}");
    Ok(counts)
}

/// The daemon's links, those at the root of the cgroups apart: (network namespaces, cgroups).
fn links(daemon: &Daemon) -> Result<(usize, usize)> {
    let held = bpf_inventory()?.still_here(&daemon.bpf_objects()?);
    let (netns, cgroup): (Vec<_>, Vec<_>) = held
        .into_iter()
        .filter(|object| object.kind == BpfKind::Link)
        .partition(|link| link.netns_inode.is_some());
    Ok((netns.len(), cgroup.len()))
}
