//! What runs.

use anyhow::Result;

use super::{Part, State, kubectl::kubectl};

pub(crate) fn status(state: &State) -> Result<()> {
    if !state.exists() {
        println!("there is no cluster; `cargo xtask cluster up` starts one");
        return Ok(());
    }
    println!("parts, with their logs in {}:", state.join("log").display());
    for part in Part::all(state) {
        match part.pid() {
            Some(pid) => println!("  {:20} pid {pid}", part.name()),
            None => {
                println!("  {:20} does not run; `cargo xtask cluster start {}`", part.name(), part.name())
            }
        }
    }
    for what in ["nodes", "pods"] {
        let all: &[&str] = if what == "pods" { &["--all-namespaces"] } else { &[] };
        match kubectl(state, &[&["get", what, "--output=wide", "--request-timeout=5s"], all].concat()) {
            Ok(table) => println!("\n{}", table.trim_end()),
            Err(error) => println!("\nno {what}: {error:#}"),
        }
    }
    println!(
        "\nexport KUBECONFIG={} PATH={}:$PATH",
        state.kubeconfig("admin").display(),
        state.join("bin").display()
    );
    Ok(())
}
