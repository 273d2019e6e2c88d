//! Shows what runs.

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
    let mut text = format!(
        "runtime: {}\nparts, with their logs in {}:\n",
        Runtime::of(state),
        state.join("log").display()
    );
    for part in Part::all(state) {
        let name = part.name();
        match part.pid() {
            Some(pid) => writeln!(text, "  {name:20} pid {pid}")?,
            None => writeln!(text, "  {name:20} does not run; `cargo xtask cluster start {name}`")?,
        }
    }
    for what in ["nodes", "pods"] {
        let all: &[&str] = if what == "pods" { &["--all-namespaces"] } else { &[] };
        match kubectl(
            state,
            &[&["get", what, "--output=wide", "--request-timeout=5s"], all].concat(),
        ) {
            Ok(table) => write!(text, "\n{table}")?,
            Err(error) => writeln!(text, "\nno {what}: {error:#}")?,
        }
    }
    let (kubeconfig, bin) = (state.kubeconfig("admin"), state.join("bin"));
    writeln!(text, "\nexport KUBECONFIG={} PATH={}:$PATH", kubeconfig.display(), bin.display())?;
    // An error here means that the reader, such as `head`, has closed the pipe.
    let _ = io::stdout().write_all(text.as_bytes());
    Ok(())
}
