//! `helm uninstall` when daemons can't clean up: a node is away, or the Job does not run.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use interceptor_e2e::{Fixture, Kind, Manifest, Pod, run, run_on_nodes};
use rstest::rstest;

/// Starts an active redirect on each of these nodes.
fn redirected(f: &Fixture, nodes: &[&'static str]) -> Result<Vec<Pod>> {
    let pods = nodes.iter().map(|&node| {
        let pod = f.start(Manifest::new(Kind::Pod, &format!("on-{node}")).on(node))?.pod()?;
        pod.annotate("debug.redirect", &f.to_laptop())?;
        pod.wait_active()?;
        Ok(pod)
    });
    pods.collect()
}

/// The command of the documentation that removes the conditions from all pods.
fn documented_command() -> Result<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/install.md");
    let text = fs::read_to_string(path).context("read docs/install.md")?;
    let blocks = text.split("```sh\n").skip(1).filter_map(|block| block.split("```").next());
    let mut found = blocks.filter(|block| block.contains("$patch"));
    found.next().map(str::to_owned).context("docs/install.md has no such command")
}

#[rstest]
#[case::and_the_cluster_knows_it(true)]
#[case::and_the_cluster_does_not_know_it_yet(false)]
fn helm_uninstall_takes_less_than_a_minute_while_a_node_is_away(#[case] is_known: bool) {
    run_on_nodes(2, "uninstall-away", |f| {
        f.installed(&[])?;
        let pods = redirected(f, &["node1", "node2"])?;
        // The daemon there goes on, which is the worst case: it could write its conditions again.
        let kubelet = f.cluster.stop_part("node2-kubelet")?;
        if is_known {
            let away = ["wait", "--for=condition=Ready=Unknown", "node/node2", "--timeout=120s"];
            f.cluster.kubectl(&away)?;
        }

        let started = Instant::now();
        f.product.uninstall()?;
        let took = started.elapsed();
        println!("helm uninstall took {took:.1?}");
        assert!(took < Duration::from_secs(60), "{took:?}");
        for pod in &pods {
            ensure!(pod.active()?.is_none(), "{} has a condition", pod.name());
        }
        // Longer than a daemon waits before it restores its conditions.
        std::thread::sleep(Duration::from_secs(8));
        ensure!(pods[1].active()?.is_none(), "a daemon has restored its condition");

        kubelet.start()?;
        for pod in &pods {
            pod.wait_for_answer(pod.name())?;
        }
        Ok(())
    });
}

#[test]
fn a_documented_command_removes_what_an_uninstall_without_hooks_leaves() {
    run("uninstall-no-hooks", |f| {
        f.installed(&[])?;
        let pods = redirected(f, &["node1"])?;
        f.product.uninstall_without_hooks()?;
        pods[0].wait_for_answer(pods[0].name())?;
        let left = pods[0].active()?;
        ensure!(left.is_some(), "no condition was left, so this would test nothing");

        f.cluster.shell(&documented_command()?)?;
        pods[0].wait_untouched()
    });
}
