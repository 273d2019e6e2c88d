//! What is shown.

use std::{
    net::SocketAddr,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::Signal;
use testbed::{
    Answer, BpfObject, Connection, Daemon, Load, Namespace, Protocol, TcpService, Topology,
    bpf_inventory, call, netns_inventory, nginx, wait_until,
};

use super::narrator::Narrator;

const SOON: Duration = Duration::from_secs(5);
/// The promise: the app serves again within a second.
const GIVEN_BACK_WITHIN: Duration = Duration::from_secs(1);

pub(crate) fn play(keep: bool) -> Result<()> {
    let bpf_before = bpf_inventory()?;
    let mut tell = Narrator::new();

    tell.step(
        "A pod with an app, a developer's laptop, and a client, each in a network namespace of its own",
    );
    let t = Topology::new("demo")?;
    let (pod, laptop, client) = (t.pod("web")?, t.host("laptop")?, t.host("client")?);
    let _app = nginx(&pod, 8080, "app")?;
    let _laptop_app = TcpService::http(&laptop, (laptop.ip4(), 3000), "laptop")?;
    let netns_before = netns_inventory(&pod)?;
    let web = SocketAddr::from((pod.ip4(), 8080));
    let mut kept_open =
        Connection::open(&client, web, Protocol::Http).context("connect to the app")?;
    expect("app", &kept_open.ask()?)?;
    tell.say(format_args!("nsenter --net={} curl {web}", client.netns_path().display()));
    tell.seen(format_args!(
        "the app answers; it is an nginx in the pod, at {web}. The connection stays open"
    ));

    let rule = format!("8080 -> {}:3000", laptop.ip4());
    tell.step("The daemon starts and reads a rule");
    let started = Instant::now();
    let daemon = Daemon::start(&t, &testbed::workload(&pod, &rule), &[])?;
    daemon.wait_active("web").inspect_err(|_| eprint!("{}", daemon.logs()))?;
    tell.say(format_args!("debug.redirect: \"{rule}\""));
    tell.seen(format_args!(
        "its status says active, {:.0?} after it was started",
        started.elapsed()
    ));

    tell.step("The same call arrives at the laptop");
    let answer = call(&client, web, Protocol::Http).context("call the pod")?;
    expect("laptop", &answer)?;
    tell.seen("the laptop answers in place of the app");
    expect("app", &kept_open.ask().context("ask on the connection that was opened before")?)?;
    tell.seen("the connection that was opened before stays with the app");
    ensure!(
        netns_inventory(&pod)?.diff(&netns_before).is_empty(),
        "the pod has new rules or routes"
    );
    tell.seen("the pod has no new route, no packet filter rule, no container");

    tell.step("The daemon is killed while 200 calls come in each second");
    let held = daemon.bpf_objects()?;
    let held = bpf_inventory()?.still_here(&held);
    let calls = Load::new(&client, web)
        .protocol(Protocol::Http)
        .threads(4)
        .interval(Duration::from_millis(20));
    let calls = calls.start()?;
    calls.wait_for_tag("laptop", SOON)?;
    calls.wait_for_calls(50, SOON)?;
    let killed = Instant::now();
    daemon.signal(Signal::SIGKILL)?;
    let back = calls.wait_for_tag("app", SOON).context("the app should serve again")?;
    calls.wait_for_calls(100, SOON)?;
    let report = calls.stop();
    tell.say(format_args!("kill -9 {}", daemon.pid()));
    tell.seen(format_args!(
        "the app serves again: it answers a call that began {:.0?} later",
        back - killed
    ));
    let late = report.failures_after(killed + GIVEN_BACK_WITHIN);
    ensure!(late.is_empty(), "calls failed long after the daemon was gone: {report}");
    let failures = report.failures();
    ensure!(
        failures.iter().all(|call| call.started + call.duration >= killed),
        "calls failed before: {report}"
    );
    let failed = if failures.is_empty() { "none".to_owned() } else { failures.len().to_string() };
    tell.seen(format_args!(
        "of {} calls {failed} failed; the longest took {:.0?}",
        report.calls.len(),
        report.longest(),
    ));
    expect("app", &kept_open.ask().context("ask on the connection that was opened before")?)?;
    tell.seen("the connection that was opened before is still open");

    tell.step("Nothing is left");
    drop(daemon);
    // The kernel frees what nobody uses in the background.
    wait_until("the end of all BPF objects of the daemon", SOON, || {
        let left = left_over(&bpf_before, &held).map_err(|error| format!("{error:#}"))?;
        if left.is_empty() {
            Ok(())
        } else {
            Err(left.iter().map(|object| format!("{object}; ")).collect::<String>())
        }
    })?;
    tell.seen(format_args!("no BPF program, map or link of the {} that it had", held.len()));
    let diff = netns_inventory(&pod)?.diff(&netns_before);
    ensure!(diff.is_empty(), "the pod's namespace has changed:\n{diff}");
    tell.seen("addresses, routes, rules, packet filters of the pod are as before");
    tell.end();

    if keep {
        stay(&t, &pod, &client, web, &rule)?;
    }
    Ok(())
}

fn expect(tag: &str, answer: &Answer) -> Result<()> {
    ensure!(answer.tag == tag, "expected an answer by {tag:?}, but {:?} answered", answer.tag);
    Ok(())
}

/// What the daemon had and is still there, or looks like it and belongs to no process. Others may use BPF meanwhile.
fn left_over(before: &testbed::BpfInventory, held: &[BpfObject]) -> Result<Vec<BpfObject>> {
    let now = bpf_inventory()?;
    let ids = held.iter().map(|object| (object.kind, object.id)).collect::<Vec<_>>();
    let mut left = now.still_here(&ids);
    let alike = |object: &BpfObject| {
        held.iter().any(|ours| {
            (ours.kind, ours.type_number, &ours.name)
                == (object.kind, object.type_number, &object.name)
        })
    };
    left.extend(now.orphans_since(before)?.into_iter().filter(|object| alike(object)));
    Ok(left)
}

/// Everything once more, for people to play with. Ctrl-C ends the program, and removes it all.
fn stay(
    t: &Topology,
    pod: &Namespace,
    client: &Namespace,
    web: SocketAddr,
    rule: &str,
) -> Result<()> {
    let daemon = Daemon::start(t, &testbed::workload(pod, rule), &[])?;
    daemon.wait_active("web")?;
    println!("\nThe daemon runs again, pid {}. In another terminal:", daemon.pid());
    println!("  nsenter --net={} curl {web}", client.netns_path().display());
    println!(
        "  nsenter --net={} {} status",
        t.node().netns_path().display(),
        testbed::binary()?.display()
    );
    println!("  nsenter --net={} curl 127.0.0.1:9469/metrics", t.node().netns_path().display());
    println!("  $EDITOR {}", daemon.workloads_file().display());
    println!("  kill -9 {}", daemon.pid());
    println!("To look around:\n{}Ctrl-C removes everything.", t.how_to_enter());
    loop {
        thread::park();
    }
}
