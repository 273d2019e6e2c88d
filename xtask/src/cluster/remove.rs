//! Removes the cluster: processes by their noted ids and control groups, everything else by
//! comparison with the state before. It continues after a failure, reports all of them, and can run
//! again.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use testbed::wait_until;

use super::{
    Part, State,
    before::{self, Before, FOLDERS},
    network::{BRIDGE, COMMENT, LAPTOP_LINK, LAPTOP_NETNS, NODE_LINK, NODE_NETNS, POD_BRIDGE},
    node,
};
use crate::run;

pub(crate) fn remove(state: &State) -> Result<()> {
    if !state.exists() {
        eprintln!("there is no cluster");
        return Ok(());
    }
    let started = Instant::now();
    // This is noted before any change. Without it there is nothing else to remove.
    if let Some(before) = Before::read(state)? {
        // First the parts that would start pods again.
        let mut done = Part::all(state)
            .iter()
            .map(|part| (part.name().to_owned(), part.stop(true)))
            .collect::<Vec<_>>();
        done.extend([
            ("processes of pods".to_owned(), end_pods()),
            ("containerd's shims".to_owned(), end_shims(state)),
            ("mounts".to_owned(), unmount(state, &before)),
            ("network".to_owned(), remove_links()),
            ("iptables".to_owned(), remove_chains(&before)),
            ("control groups".to_owned(), remove_cgroups()),
            ("folders".to_owned(), remove_new_entries(&before)),
            ("sysctls".to_owned(), restore_sysctls(&before)),
        ]);
        let failures = done
            .into_iter()
            .filter_map(|(what, done)| Some(format!("\n  {what}: {:#}", done.err()?)));
        let failures = failures.collect::<String>();
        ensure!(failures.is_empty(), "the removal is not complete:{failures}");
    }
    fs::remove_dir_all(state.path())
        .with_context(|| format!("remove {}", state.path().display()))?;
    eprintln!("removed in {:.1?}", started.elapsed());
    Ok(())
}

/// All processes in the control groups of the nodes.
fn end_pods() -> Result<()> {
    let groups = || node::cgroup_roots().into_iter().map(|root| root.join("interceptor-cluster"));
    wait_until("the end of the pods' processes", Duration::from_secs(20), || {
        let pids = groups().flat_map(|group| processes_in(&group)).collect::<Vec<_>>();
        for pid in &pids {
            let _ = kill(Pid::from_raw(*pid), Signal::SIGKILL);
        }
        if pids.is_empty() { Ok(()) } else { Err(format!("{pids:?}")) }
    })
}

fn processes_in(group: &Path) -> Vec<i32> {
    let own = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
    let mut pids = own.lines().filter_map(|line| line.parse().ok()).collect::<Vec<_>>();
    for inside in folders_in(group) {
        pids.extend(processes_in(&inside));
    }
    pids
}

fn folders_in(group: &Path) -> Vec<PathBuf> {
    let entries = group.read_dir().into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect()
}

/// The shims outlive containerd. Each got an address when it started.
fn end_shims(state: &State) -> Result<()> {
    let address = format!("{}/", state.path().display());
    wait_until("the end of containerd's shims", Duration::from_secs(10), || {
        let mut left = 0;
        for process in Path::new("/proc").read_dir().into_iter().flatten().flatten() {
            let Some(pid) = process.file_name().to_str().and_then(|name| name.parse::<i32>().ok())
            else {
                continue;
            };
            let command = fs::read(process.path().join("cmdline")).unwrap_or_default();
            let command = String::from_utf8_lossy(&command);
            let mut words = command.split('\0');
            let is_shim =
                words.next().is_some_and(|program| program.ends_with("containerd-shim-runc-v2"));
            if is_shim && words.any(|word| word.starts_with(&address)) {
                left += 1;
                let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            }
        }
        if left == 0 { Ok(()) } else { Err(format!("{left} left")) }
    })
}

/// The mounts in the cluster's folder, and the namespaces of its pods; the latest mount first.
fn unmount(state: &State, before: &Before) -> Result<()> {
    let inside = format!("{}/", state.path().display());
    for mount in before::mounts().iter().rev() {
        let pod =
            mount.at.starts_with("/run/netns/cni-") && !before.had_entry(Path::new(&mount.at));
        if mount.at.starts_with(&inside) || pod {
            run::output(Command::new("umount").arg("--lazy").arg(&mount.at))?;
        }
    }
    Ok(())
}

fn remove_links() -> Result<()> {
    for name in [LAPTOP_NETNS, NODE_NETNS] {
        if Path::new("/run/netns").join(name).exists() {
            run::output(Command::new("ip").args(["netns", "delete", name]))?;
        }
    }
    for link in [LAPTOP_LINK, NODE_LINK, POD_BRIDGE, BRIDGE] {
        if Path::new("/sys/class/net").join(link).exists() {
            let deleted = run::output(Command::new("ip").args(["link", "delete", link]));
            // The other end of a pair disappears with its namespace, at any moment.
            if Path::new("/sys/class/net").join(link).exists() {
                deleted?;
            }
        }
    }
    Ok(())
}

/// The chains of kube-proxy, kubelet and the CNI plugins that came with the cluster, with all rules
/// that name them.
fn remove_chains(before: &Before) -> Result<()> {
    for family in ["iptables", "ip6tables"] {
        let Some(save) = run::find(&format!("{family}-save")) else { continue };
        for table in ["nat", "filter", "mangle"] {
            let Ok(saved) = run::output(Command::new(&save).args(["-t", table])) else { continue };
            let kept = without(&saved, |chain| {
                (chain.starts_with("KUBE-") || chain.starts_with("CNI-"))
                    && !before.had_chain(chain)
            });
            if kept != saved {
                restore(family, &kept)?;
            }
        }
    }
    Ok(())
}

/// The output of iptables-save without our chains, the rules in them and to them, and rules with
/// our comment.
fn without(saved: &str, ours: impl Fn(&str) -> bool) -> String {
    let keeps = |line: &&str| {
        let chain = line.strip_prefix(':').and_then(|line| line.split(' ').next());
        let mut words = line.split(' ');
        !chain.is_some_and(&ours)
            && !(line.starts_with("-A") && (words.any(&ours) || line.contains(COMMENT)))
    };
    saved.lines().filter(keeps).flat_map(|line| [line, "\n"]).collect()
}

fn restore(family: &str, rules: &str) -> Result<()> {
    let mut restore = Command::new(format!("{family}-restore"));
    let mut child =
        restore.arg("-w").stdin(Stdio::piped()).spawn().context("run iptables-restore")?;
    let mut stdin = child.stdin.take().context("no input for iptables-restore")?;
    std::io::Write::write_all(&mut stdin, rules.as_bytes()).context("tell iptables-restore")?;
    drop(stdin);
    let status = child.wait().context("wait for iptables-restore")?;
    ensure!(status.success(), "{family}-restore: {status}");
    Ok(())
}

fn remove_cgroups() -> Result<()> {
    fn remove(group: &Path) -> std::io::Result<()> {
        folders_in(group).iter().try_for_each(|inside| remove(inside))?;
        fs::remove_dir(group)
    }
    for group in node::cgroup_roots().iter().map(|root| root.join("interceptor-cluster")) {
        // A killed process leaves its group a moment later.
        wait_until(&format!("the end of {}", group.display()), Duration::from_secs(5), || {
            if group.exists() { remove(&group) } else { Ok(()) }
        })?;
    }
    Ok(())
}

/// Files of containerd, kubelet and the plugins in folders with fixed names.
fn remove_new_entries(before: &Before) -> Result<()> {
    let sockets = fs::read_to_string("/proc/net/unix").unwrap_or_default();
    for folder in FOLDERS.map(Path::new) {
        for entry in before::entries(folder) {
            let path = Path::new(&entry);
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            // Namespaces have owners of all kinds, and a socket may have a listener.
            let ours = !folder.ends_with("netns") || name.starts_with("cni-");
            if before.had_entry(path) || !ours || sockets.contains(&entry) {
                continue;
            }
            let is_folder = path.symlink_metadata().is_ok_and(|metadata| metadata.is_dir());
            let removed = if is_folder { fs::remove_dir_all(path) } else { fs::remove_file(path) };
            removed.with_context(|| format!("remove {entry}"))?;
        }
        // Only if they came with the cluster and are empty.
        let mut folder = folder;
        while !before.had_folder(folder) && fs::remove_dir(folder).is_ok() {
            let Some(parent) = folder.parent() else { break };
            folder = parent;
        }
    }
    let others = before::mounts().iter().any(|mount| mount.at.starts_with("/run/netns/"));
    if !before.had_shared_netns() && !others && before::is_shared_mount("/run/netns") {
        run::output(Command::new("umount").arg("/run/netns"))?;
    }
    Ok(())
}

fn restore_sysctls(before: &Before) -> Result<()> {
    for (key, value) in before.sysctls() {
        let path = Path::new("/proc/sys").join(key);
        // A link of the machine may be gone, with its settings.
        let now = fs::read_to_string(&path).ok();
        if now.is_some_and(|now| now.trim() != value) {
            fs::write(&path, value).with_context(|| format!("set {key} to {value}"))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_chains_and_the_rules_with_them_go() {
        let saved = "\
*nat
:PREROUTING ACCEPT [1:2]
:KUBE-SERVICES - [0:0]
:DOCKER - [0:0]
-A PREROUTING -m comment --comment \"kubernetes service portals\" -j KUBE-SERVICES
-A PREROUTING -j DOCKER
-A KUBE-SERVICES -d 10.96.0.1/32 -j KUBE-SVC-X
-A FORWARD -s 10.244.0.0/16 -m comment --comment interceptor-cluster -j ACCEPT
COMMIT
";
        let kept = without(saved, |chain| chain.starts_with("KUBE-"));
        assert_eq!(
            kept,
            "*nat\n:PREROUTING ACCEPT [1:2]\n:DOCKER - [0:0]\n-A PREROUTING -j DOCKER\nCOMMIT\n"
        );
    }
}
