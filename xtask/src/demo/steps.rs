//! The steps of the demo: what happens, and what is checked.

use std::{
    net::SocketAddr,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::Signal;
use testbed::{
    Answer, BpfObject, Connection, Daemon, Load, Namespace, Protocol, TcpService, Topology,
    bpf_inventory, netns_inventory, nginx, wait_until,
};

use super::narrator::{Entry, Measured, Narrator, Traffic};

/// Maximum time for anything that should happen at once.
const TIMEOUT: Duration = Duration::from_secs(5);
/// The promise: the app serves again within a second.
const GIVEN_BACK_WITHIN: Duration = Duration::from_secs(1);
const WORKLOAD: &str = "web";

/// Runs the demo, and returns all that it showed. With `keep`, ends only by a signal.
pub(crate) fn play(keep: bool) -> Result<Vec<Entry>> {
    let bpf_before = bpf_inventory()?;
    let mut tell = Narrator::new();

    tell.step("An app in a pod, a developer's laptop and a client, each in its own namespace");
    let t = Topology::new("demo")?;
    let (pod, laptop, client) = (t.pod(WORKLOAD)?, t.host("laptop")?, t.host("client")?);
    let _app = nginx(&pod, 8080, "app")?;
    let _laptop_app = TcpService::http(&laptop, (laptop.ip4(), 3000), "laptop")?;
    let netns_before = netns_inventory(&pod)?;
    let web = SocketAddr::from((pod.ip4(), 8080));
    tell.traffic(Traffic::App);
    curl(&mut tell, &client, web, None, "app")?;
    let mut kept_open =
        Connection::open(&client, web, Protocol::Http).context("connect to the app")?;
    expect("app", &kept_open.ask()?)?;
    tell.checked("nginx in the pod answers; the client keeps a second connection open");

    tell.step("A rule takes one user's requests to the laptop");
    let target = format!("8080 -> {}:3000", laptop.ip4());
    let condition = r#"request.headers["x-user"] == "debug""#;
    let rule = format!("{target} when {condition}");
    tell.rule(&rule);
    let started = Instant::now();
    // The condition's quotes stand in a YAML string.
    let workload = testbed::workload(&pod, &rule.replace('"', r#"\""#));
    let daemon = Daemon::start(&t, &workload, &[])?;
    daemon.wait_active(WORKLOAD).inspect_err(|_| eprint!("{}", daemon.logs()))?;
    let took = milliseconds(started.elapsed());
    tell.checked(format_args!("in force {took} after the daemon was started"));
    tell.traffic(Traffic::Split);
    curl(&mut tell, &client, web, Some("x-user: debug"), "laptop")?;
    curl(&mut tell, &client, web, None, "app")?;

    tell.step("Another rule takes the whole port");
    tell.rule(&target);
    let written = Instant::now();
    daemon.rewrite_workloads(&testbed::workload(&pod, &target))?;
    wait_for_whole_port(&daemon)?;
    let took = milliseconds(written.elapsed());
    tell.checked(format_args!("in force {took} after it was written"));
    tell.traffic(Traffic::Laptop);
    curl(&mut tell, &client, web, None, "laptop")?;
    expect("app", &kept_open.ask().context("ask on the connection that was open before")?)?;
    tell.checked("the connection that was open before stays with the app");
    ensure!(
        netns_inventory(&pod)?.diff(&netns_before).is_empty(),
        "the pod has new rules or routes"
    );
    tell.checked("the pod has no new route and no new packet filter rule");

    tell.step("The daemon is killed while 200 requests come in each second");
    let held = daemon.bpf_objects()?;
    let held = bpf_inventory()?.still_here(&held);
    kill_under_load(&mut tell, &daemon, &client, web)?;
    expect("app", &kept_open.ask().context("ask on the connection that was open before")?)?;
    tell.checked("the connection that was open before is still open");

    tell.step("Nothing stays behind");
    drop(daemon);
    // The kernel frees unused objects in the background.
    wait_until("the end of all BPF objects of the daemon", TIMEOUT, || {
        let left = left_over(&bpf_before, &held).map_err(|error| format!("{error:#}"))?;
        if left.is_empty() {
            Ok(())
        } else {
            Err(left.iter().map(|object| format!("{object}; ")).collect::<String>())
        }
    })?;
    tell.checked(format_args!(
        "none of the daemon's {} BPF programs, maps and links is left",
        Measured(held.len())
    ));
    let diff = netns_inventory(&pod)?.diff(&netns_before);
    ensure!(diff.is_empty(), "the pod's namespace has changed:\n{diff}");
    tell.checked("the pod's addresses, routes and packet filters are as before");
    let entries = tell.end();

    if keep {
        stay(&t, &pod, &client, web, &target)?;
    }
    Ok(entries)
}

/// Calls the pod with curl from the client's namespace, and checks who answers.
fn curl(
    tell: &mut Narrator,
    client: &Namespace,
    web: SocketAddr,
    header: Option<&str>,
    tag: &str,
) -> Result<()> {
    let quoted = header.map(|header| format!("-H '{header}' ")).unwrap_or_default();
    tell.command("client", format_args!("curl {quoted}{web}"));
    let mut command = client.command("curl");
    command.args(["--silent", "--show-error", "--fail", "--max-time", "5"]);
    command.args(header.iter().flat_map(|header| ["-H", header])).arg(format!("http://{web}/"));
    let output = crate::run::output(&mut command)?;
    // The name of the server is followed by the addresses that it sees.
    let answer = output.split_whitespace().next().unwrap_or_default();
    ensure!(answer == tag, "expected an answer by {tag:?}, but {answer:?} answered");
    tell.output(answer);
    Ok(())
}

/// Waits until the rule without a condition is in force.
fn wait_for_whole_port(daemon: &Daemon) -> Result<()> {
    daemon.wait_state("the rule for the whole port to be active", |state| {
        let rule = &state["workloads"][0]["rules"][0];
        rule["state"] == "active"
            && rule["rule"].as_str().is_some_and(|rule| !rule.contains("when"))
    })?;
    Ok(())
}

/// Kills the daemon with SIGKILL in the midst of calls, and checks that the app serves them.
fn kill_under_load(
    tell: &mut Narrator,
    daemon: &Daemon,
    client: &Namespace,
    web: SocketAddr,
) -> Result<()> {
    let calls = Load::new(client, web)
        .protocol(Protocol::Http)
        .threads(4)
        .interval(Duration::from_millis(20));
    let calls = calls.start()?;
    calls.wait_for_tag("laptop", TIMEOUT)?;
    calls.wait_for_calls(50, TIMEOUT)?;
    tell.command("node", "kill -9 $(pidof interceptor)");
    tell.traffic(Traffic::Killed);
    let killed = Instant::now();
    daemon.signal(Signal::SIGKILL)?;
    let back = calls.wait_for_tag("app", TIMEOUT).context("the app should serve again")?;
    calls.wait_for_calls(100, TIMEOUT)?;
    let report = calls.stop();
    let late = report.failures_after(killed + GIVEN_BACK_WITHIN);
    ensure!(late.is_empty(), "requests failed long after the daemon was gone: {report}");
    let failures = report.failures();
    ensure!(
        failures.iter().all(|call| call.started + call.duration >= killed),
        "requests failed before: {report}"
    );
    tell.checked(format_args!(
        "the app answers a request sent {} after the kill",
        milliseconds(back - killed)
    ));
    let failed = if failures.is_empty() { "none".to_owned() } else { failures.len().to_string() };
    tell.checked(format_args!(
        "of {} requests {} failed; the slowest took {}",
        Measured(report.calls.len()),
        Measured(failed),
        milliseconds(report.longest()),
    ));
    Ok(())
}

fn milliseconds(duration: Duration) -> Measured<String> {
    Measured(format!("{:.0} ms", duration.as_secs_f64() * 1000.0))
}

fn expect(tag: &str, answer: &Answer) -> Result<()> {
    ensure!(answer.tag == tag, "expected an answer by {tag:?}, but {:?} answered", answer.tag);
    Ok(())
}

/// The daemon's objects that still exist, and new ones like them that belong to no process. Other
/// programs may use BPF meanwhile.
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

/// Starts the daemon again and leaves everything standing. A signal ends the program, and removes
/// it all.
fn stay(
    t: &Topology,
    pod: &Namespace,
    client: &Namespace,
    web: SocketAddr,
    rule: &str,
) -> Result<()> {
    let daemon = Daemon::start(t, &testbed::workload(pod, rule), &[])?;
    daemon.wait_active(WORKLOAD)?;
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
