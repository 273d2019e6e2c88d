//! What runs.

use std::{
    fmt::Write as _,
    io::{self, Write as _},
};

use anyhow::Result;

use super::{Part, Runtime, State, kubectl::kubectl};

pub(crate) fn status(state: &State) -> Result<()> {
    if !state.exists() {
        println!("there is no cluster; `cargo xtask cluster up` starts one");
        return Ok(());
    }
    let mut told = format!(
        "runtime: {}\nparts, with their logs in {}:\n",
        Runtime::of(state),
        state.join("log").display()
    );
    for part in Part::all(state) {
        let name = part.name();
        match part.pid() {
            Some(pid) => writeln!(told, "  {name:20} pid {pid}")?,
            None => writeln!(told, "  {name:20} does not run; `cargo xtask cluster start {name}`")?,
        }
    }
    for what in ["nodes", "pods"] {
        let all: &[&str] = if what == "pods" { &["--all-namespaces"] } else { &[] };
        match kubectl(
            state,
            &[&["get", what, "--output=wide", "--request-timeout=5s"], all].concat(),
        ) {
            Ok(table) => write!(told, "\n{table}")?,
            Err(error) => writeln!(told, "\nno {what}: {error:#}")?,
        }
    }
    let (kubeconfig, bin) = (state.kubeconfig("admin"), state.join("bin"));
    writeln!(told, "\nexport KUBECONFIG={} PATH={}:$PATH", kubeconfig.display(), bin.display())?;
    // Whoever reads only the first lines, as `head` does, has no interest in the others.
    let _ = io::stdout().write_all(told.as_bytes());
    Ok(())
}
