//! Starts the parts in the order in which they need each other, and prints what to try.

use std::{env, fs, os::unix::fs::symlink, path::Path, time::Instant};

use anyhow::{Context as _, Result, bail};

use super::{
    Families, Part, Runtime, State,
    addresses::{LAPTOP, LAPTOP_PORT},
    before, control_plane, foreign, images,
    kubectl::kubectl,
    network, node, pki, remove,
    state::Node,
};
use crate::{heartbeat::step, run};

/// Starts the parts that do not run, and loads the image.
pub(crate) fn up(
    state: &State,
    nodes: u8,
    binaries: &Path,
    runtime: Option<&Path>,
    image: &Path,
) -> Result<()> {
    let started = Instant::now();
    let wanted = match nodes {
        1 => vec![Node::first(state)],
        _ => vec![Node::first(state), Node::second(state)],
    };
    if is_up(state, &wanted)? {
        eprintln!("the cluster is up already");
        images::load(state, image)?;
        explain(state);
        return Ok(());
    }
    if Part::all(state).iter().all(|part| part.pid().is_none()) {
        foreign::refuse()?;
    }
    step("the control plane and the nodes", "about 20 s");
    fs::create_dir_all(state.path()).with_context(|| format!("make {}", state.path().display()))?;
    before::note(state)?;
    link_binaries(state, binaries)?;
    Runtime::note(state, runtime)?;
    pki::make(state, &wanted)?;
    give_to_the_user(state)?;
    let families = Families::of_machine();
    network::bridge(families)?;
    control_plane::start_store(state, families)?;
    for one in &wanted {
        let prefix = if one.name == "node1" {
            Vec::new()
        } else {
            network::second_node(state, one, families)?
        };
        node::start(state, one, families, &prefix)?;
    }
    control_plane::start_controllers(state, families)?;
    network::laptop(state, families)?;
    for one in &wanted {
        let node = format!("node/{}", one.name);
        kubectl(state, &["wait", "--for=create", "--timeout=60s", &node])?;
        kubectl(state, &["wait", "--for=condition=Ready", "--timeout=60s", &node])?;
    }
    kubectl(state, &["wait", "--for=create", "--timeout=60s", "serviceaccount/default"])?;
    eprintln!(
        "{} in {:.1?}",
        if nodes == 1 { "one node is ready" } else { "two nodes are ready" },
        started.elapsed()
    );

    step("loading the images, and the demo's pods", "about 10 s");
    images::load(state, image)?;
    let demo = run::workspace().join("cluster/demo.yaml");
    kubectl(state, &["apply", "--filename", &demo.display().to_string()])?;
    kubectl(state, &["rollout", "status", "deployment/web", "--timeout=60s"])?;
    eprintln!("the demo's pods are ready after {:.1?}", started.elapsed());
    explain(state);
    Ok(())
}

/// Whether all parts run. Removes what is left of a cluster that ended with the machine. A cluster
/// that runs only in part is an error.
fn is_up(state: &State, wanted: &[Node]) -> Result<bool> {
    let (running, ended): (Vec<_>, Vec<_>) =
        Part::all(state).into_iter().partition(|part| part.pid().is_some());
    if running.is_empty() {
        if state.exists() {
            eprintln!("removing what an earlier cluster left");
            remove::remove(state)?;
        }
        return Ok(false);
    }
    if let Some(part) = ended.first() {
        bail!(
            "the cluster runs without its part {name:?}: `cargo xtask cluster start {name}`, \
             or `cargo xtask cluster down` and then up again",
            name = part.name(),
        );
    }
    Ok(wanted.iter().all(|node| Part::named(state, &format!("{}-kubelet", node.name)).is_ok()))
}

fn link_binaries(state: &State, binaries: &Path) -> Result<()> {
    let link = state.join("bin");
    if !link.exists() {
        symlink(binaries, &link).with_context(|| format!("link to {}", binaries.display()))?;
    }
    Ok(())
}

/// Lets a user who ran this by sudo use kubectl without sudo.
fn give_to_the_user(state: &State) -> Result<()> {
    let id = |key| env::var(key).ok().and_then(|id| id.parse::<u32>().ok());
    let (Some(user), group) = (id("SUDO_UID"), id("SUDO_GID")) else { return Ok(()) };
    for file in ["admin.key", "admin.crt", "admin.kubeconfig"] {
        let path = state.join("pki").join(file);
        std::os::unix::fs::chown(&path, Some(user), group)
            .with_context(|| format!("give {}", path.display()))?;
    }
    Ok(())
}

/// Prints the lines that make the cluster usable in a shell, and three commands that try the
/// product.
fn explain(state: &State) {
    let bin = state.join("bin");
    println!(
        "
export KUBECONFIG={kubeconfig} PATH={bin}:$PATH

# Install it, redirect the pod to the laptop, and call the Service web by its node port:
helm install interceptor deploy/charts/interceptor -n interceptor-system --create-namespace \\
    --wait --set image.repository=localhost/interceptor --set image.pullPolicy=Never
kubectl annotate pod -l app=web --overwrite \\
    debug.redirect='8080 -> {LAPTOP}:{LAPTOP_PORT}'
curl http://10.99.0.1:30080/

`cargo xtask cluster down` removes all of it.",
        kubeconfig = state.kubeconfig("admin").display(),
        bin = bin.display(),
    );
}
