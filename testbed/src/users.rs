//! User namespaces, and network namespaces that belong to them.

use std::{
    fs::{self, File},
    path::Path,
    process::Command,
};

use anyhow::{Context as _, Result};
use nix::mount::{MsFlags, mount};

use crate::{Namespace, Process, command};

/// The id map: first id inside, first id outside, count. Kubelets give each pod 65536 ids of its
/// own.
const IDS: &str = "0 655360 65536";

/// Creates a network namespace that belongs to a new user namespace, and mounts it at its path.
/// Returns a process inside of both.
pub(crate) fn create(netns: &Namespace) -> Result<Process> {
    let mut sleep = Command::new("sleep");
    sleep.arg("infinity");
    command::own_users_and_netns(&mut sleep);
    // Both namespaces exist when this returns: spawning returns after exec.
    let sandbox = netns.spawn(&mut sleep)?;
    let process = Path::new("/proc").join(sandbox.pid().to_string());
    for map in ["uid_map", "gid_map"] {
        fs::write(process.join(map), IDS).with_context(|| format!("write {map}"))?;
    }
    let at = netns.netns_path();
    File::create_new(at).with_context(|| format!("create {}", at.display()))?;
    mount(Some(&process.join("ns/net")), at, None::<&str>, MsFlags::MS_BIND, None::<&str>)
        .with_context(|| format!("mount a network namespace on {}", at.display()))?;
    Ok(sandbox)
}
