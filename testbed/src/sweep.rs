//! Removes namespaces: those of a topology that ends, and those that killed test runs left behind.

use std::{
    collections::HashSet,
    env, fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process::{self, Command},
    sync::Once,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::ip;

/// Removes what earlier runs left behind, except topologies that were kept by `INTERCEPTOR_KEEP=1`.
pub fn sweep() {
    for prefix in leftovers() {
        let owner = owner(&prefix).unwrap_or_default();
        let lives = Path::new("/proc").join(owner.to_string()).exists();
        if !lives && !dir(&prefix).join("kept").exists() {
            remove(&prefix);
        }
    }
}

/// Removes every topology of this process, before an early exit.
pub fn remove_own() {
    for prefix in leftovers() {
        if owner(&prefix) == Some(process::id()) {
            remove(&prefix);
        }
    }
}

pub(crate) fn sweep_once() {
    static ONCE: Once = Once::new();
    ONCE.call_once(sweep);
}

/// Removes the namespaces of one topology with all processes inside, and its folder.
pub(crate) fn remove(prefix: &str) {
    let names =
        namespaces().into_iter().filter(|name| prefix_of(name) == Some(prefix)).collect::<Vec<_>>();
    // A process keeps its namespace alive after the name is gone, and no later sweep would find it.
    let inodes =
        names.iter().filter_map(|name| inode(&Path::new("/run/netns").join(name))).collect();
    end_processes_in(&inodes);
    let script = names.iter().map(|name| format!("netns delete {name}\n")).collect::<String>();
    if let Err(error) = ip::batch(Command::new("ip").arg("-force"), &script) {
        eprintln!("remove {prefix}: {error:#}");
    }
    let _ = fs::remove_dir_all(dir(prefix));
}

fn end_processes_in(namespaces: &HashSet<u64>) {
    let own = inode(Path::new("/proc/self/ns/net"));
    for pid in fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
    {
        let netns = inode(&Path::new("/proc").join(&pid).join("ns/net"));
        if netns.is_some_and(|inode| namespaces.contains(&inode) && Some(inode) != own)
            && let Ok(pid) = pid.parse()
        {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }
}

/// The prefixes `ic<pid>x<number>` of all topologies on this machine.
fn leftovers() -> HashSet<String> {
    namespaces().iter().filter_map(|name| prefix_of(name)).map(str::to_owned).collect()
}

fn namespaces() -> Vec<String> {
    let entries = fs::read_dir("/run/netns").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
}

/// `ic12x3` of `ic12x3-web`; `None` for a name of another form, which is not a topology's.
fn prefix_of(name: &str) -> Option<&str> {
    let (prefix, _) = name.split_once('-')?;
    owner(prefix).map(|_| prefix)
}

/// 12 of `ic12x3`.
fn owner(prefix: &str) -> Option<u32> {
    let (pid, number) = prefix.strip_prefix("ic")?.split_once('x')?;
    number.parse::<u32>().ok()?;
    pid.parse().ok()
}

fn dir(prefix: &str) -> PathBuf {
    env::temp_dir().join(prefix)
}

fn inode(path: &Path) -> Option<u64> {
    fs::metadata(path).ok().map(|meta| meta.ino())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_other_programs_have_no_prefix() {
        assert_eq!(prefix_of("ic12x3-web"), Some("ic12x3"));
        for foreign in
            ["web", "cni-1234", "ic12-web", "icx-web", "ic12x-web", "ice12x3-web", "ic12x3"]
        {
            assert_eq!(prefix_of(foreign), None, "{foreign}");
        }
    }
}
