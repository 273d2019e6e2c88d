//! The images of the cluster itself: `pause` for every pod, and `guest`, the app in demo and tests.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use super::{State, archive::Archive, state::Node};
use crate::{arch::Arch, build, cargo, run, setup::rust};

pub(crate) const PAUSE: &str = "localhost/pause:1";
/// Also has a shell and the usual commands, for `kubectl exec`.
const GUEST: &str = "localhost/guest:1";

/// The commands of busybox that are useful in a pod.
const COMMANDS: [&str; 21] = [
    "sh", "cat", "env", "grep", "head", "hostname", "id", "ip", "ls", "mount", "nc", "netstat",
    "nslookup", "ps", "sed", "sleep", "tail", "timeout", "top", "wc", "wget",
];

/// The program in both images. It is also the server on the laptop.
pub(crate) fn guest() -> Result<PathBuf> {
    Ok(folder()?.join("guest"))
}

/// The archives of both images.
pub(crate) fn archives() -> Result<[PathBuf; 2]> {
    let folder = folder()?;
    Ok([folder.join("pause.tar"), folder.join("guest.tar")])
}

/// Builds the program, and writes the archives if the program changed.
pub(crate) fn build() -> Result<()> {
    let triple = Arch::host()?.target();
    rust::target(triple)?;
    run::output(
        cargo::plain()
            .args(["build", "--quiet", "--release", "-p", "guest", "--target", triple])
            .env("CARGO_PROFILE_RELEASE_STRIP", "symbols")
            .current_dir(run::workspace()),
    )?;
    let built = build::target()?.join(triple).join("release/guest");
    let program = fs::read(&built).with_context(|| format!("read {}", built.display()))?;
    let kept = guest()?;
    let archives = archives()?;
    if archives.iter().all(|archive| archive.exists())
        && fs::read(&kept).is_ok_and(|kept| kept == program)
    {
        return Ok(());
    }

    let folder = folder()?;
    let [pause, guest] = archives;
    let tree = Archive::begin(folder.join("tree"))?;
    tree.file(&built, "/guest")?;
    tree.write(PAUSE, &["/guest", "pause"], &pause)?;

    let tree = Archive::begin(folder.join("tree"))?;
    tree.file(&built, "/guest")?;
    tree.program(&run::find("busybox").context("find busybox")?, "/bin/busybox")?;
    for command in COMMANDS {
        tree.link(&format!("/bin/{command}"), "busybox")?;
    }
    tree.write(GUEST, &["/guest", "serve"], &guest)?;

    // Last: as long as the old program is here, the next run does all of this again.
    let new = kept.with_extension("new");
    fs::copy(&built, &new).context("keep the program")?;
    fs::rename(&new, &kept).context("keep the program")
}

/// Imports an archive on every node that runs.
pub(crate) fn load(state: &State, archive: &Path) -> Result<()> {
    state.nodes()?.iter().try_for_each(|node| import(node, archive))
}

/// Imports an archive on a node. The image names are in the archive.
pub(crate) fn import(node: &Node, archive: &Path) -> Result<()> {
    let mut ctr = Command::new("ctr");
    ctr.arg("--address")
        .arg(node.socket())
        .args(["--namespace", "k8s.io", "images", "import"])
        .arg(archive);
    run::output(&mut ctr)
        .with_context(|| format!("give {} to {}", archive.display(), node.name))
        .map(drop)
}

fn folder() -> Result<PathBuf> {
    Ok(build::target()?.join("cluster"))
}
