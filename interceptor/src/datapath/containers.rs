//! Finds the cgroups of a pod's containers.
//!
//! Each container has a cgroup whose name contains the container's id. It is a folder in the pod's
//! cgroup, below a folder called `kubepods`. Names and depth differ by the kubelet's driver:
//!
//! ```text
//! cgroupfs  kubepods/burstable/pod<uid>/<id>
//! systemd   kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod<uid>.slice/
//!           cri-containerd-<id>.scope
//! ```
//!
//! In a node that is a container itself, `kubepods` is further down, and has other words before
//! it.

use std::{
    collections::VecDeque,
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use crate::{config::workloads::ContainerId, netns::sock_diag::CgroupId};

/// Maximum number of folders that a search reads.
const MAX_SEARCHED: usize = 16_384;
/// Maximum depth of a search outside `kubepods`.
const MAX_DEPTH: usize = 6;
/// Maximum number of cgroups of one pod that are read.
const MAX_CGROUPS: usize = 1024;

/// The cgroup of a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodCgroup {
    folder: PathBuf,
}

/// A cgroup of a pod's container, or of its sandbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerCgroup {
    /// The name of its folder.
    name: String,
    /// Its number, and those of all cgroups below it.
    pub cgroups: Vec<CgroupId>,
}

/// A folder that a search has still to read.
struct Unread {
    path: PathBuf,
    depth: usize,
    /// Whether it is `kubepods`, or below it.
    has_pods: bool,
}

// === impl PodCgroup ===

impl PodCgroup {
    /// Searches below `root` for the cgroup of the pod `uid`: by its uid, or by the id of one of
    /// its containers. Static pods have another uid in the name of their cgroup.
    #[must_use]
    pub fn find(root: &Path, uid: &str, ids: &[&ContainerId]) -> Option<Self> {
        // The systemd driver replaces `-`, which separates the levels of slices.
        let uids = [uid.to_owned(), uid.replace('-', "_")];
        let has_id = |name: &str| {
            !name.contains("conmon") && ids.iter().any(|id| name.contains(id.as_str()))
        };
        let mut unread = VecDeque::new();
        unread.push_back(Unread { path: root.to_owned(), depth: 0, has_pods: false });
        for _ in 0..MAX_SEARCHED {
            let Unread { path, depth, has_pods } = unread.pop_front()?;
            for (name, child) in folders(&path) {
                if has_id(&name) {
                    return Some(Self { folder: path });
                }
                if is_pod(&name) && uids.iter().any(|uid| !uid.is_empty() && name.contains(uid)) {
                    return Some(Self { folder: child });
                }
                let depth = depth + 1;
                let has_pods = has_pods || name.contains("kubepods");
                let next = Unread { path: child, depth, has_pods };
                if has_pods {
                    unread.push_front(next);
                } else if depth < MAX_DEPTH {
                    unread.push_back(next);
                }
            }
        }
        None
    }

    /// Whether it still exists.
    #[must_use]
    pub fn exists(&self) -> bool {
        self.folder.is_dir()
    }

    /// Its containers at present.
    #[must_use]
    pub fn containers(&self) -> Vec<ContainerCgroup> {
        let mut budget = MAX_CGROUPS;
        let containers = folders(&self.folder).into_iter().map(|(name, path)| {
            let mut cgroups = Vec::new();
            add_below(&path, &mut cgroups, &mut budget);
            ContainerCgroup { name, cgroups }
        });
        containers.collect()
    }
}

// === impl ContainerCgroup ===

impl ContainerCgroup {
    /// Whether it belongs to the container with this id.
    #[must_use]
    pub fn is_of(&self, id: &ContainerId) -> bool {
        self.name.contains(id.as_str())
    }
}

/// Whether the name is that of a pod's cgroup. One that names a container, too, holds that one
/// only: `kubepods-burstable-pod<uid>.slice:cri-containerd:<id>`.
fn is_pod(name: &str) -> bool {
    name.contains("pod") && !name.contains(':')
}

/// Adds the number of the cgroup at `path`, and those below it, within the budget.
fn add_below(path: &Path, cgroups: &mut Vec<CgroupId>, budget: &mut usize) {
    if *budget == 0 {
        return;
    }
    *budget -= 1;
    let Ok(folder) = fs::metadata(path) else { return };
    cgroups.push(CgroupId(folder.ino()));
    for (_, child) in folders(path) {
        add_below(&child, cgroups, budget);
    }
}

/// The folders in a folder, each with its name. None if it is gone.
fn folders(path: &Path) -> Vec<(String, PathBuf)> {
    let folder = |entry: io::Result<fs::DirEntry>| {
        let entry = entry.ok()?;
        // The kind comes with the entry: no system call per file. Links are no folders.
        entry.file_type().ok().filter(fs::FileType::is_dir)?;
        Some((entry.file_name().to_str()?.to_owned(), entry.path()))
    };
    fs::read_dir(path).into_iter().flatten().filter_map(folder).collect()
}

#[cfg(test)]
mod tests {
    use std::{env, process, thread};

    use rstest::rstest;

    use super::*;

    const UID: &str = "2f7a3c1e-0b1d-4e55-9a51-0f3f6f9d8a11";
    const UID_: &str = "2f7a3c1e_0b1d_4e55_9a51_0f3f6f9d8a11";

    fn id(digit: char) -> ContainerId {
        let id = format!("containerd://{}", digit.to_string().repeat(64));
        ContainerId::new(&id).expect("an id")
    }

    /// A folder with these folders in it. `ID` stands for the id `aaa…`.
    struct Tree(PathBuf);

    impl Tree {
        fn new(folders: &[&str]) -> Self {
            let test = thread::current().name().unwrap_or("a test").replace(':', "-");
            let root = env::temp_dir().join(format!("interceptor-{}-{test}", process::id()));
            fs::create_dir_all(&root).expect("create");
            for folder in folders {
                let folder = folder.replace("ID", id('a').as_str());
                fs::create_dir_all(root.join(folder)).expect("create");
            }
            Self(root)
        }
    }

    impl Drop for Tree {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[rstest]
    #[case::cgroupfs(format!("kubepods/burstable/pod{UID}"), "ID")]
    #[case::guaranteed(format!("kubepods/pod{UID}"), "ID")]
    #[case::systemd(
        format!("kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod{UID_}.slice"),
        "cri-containerd-ID.scope"
    )]
    #[case::cri_o(
        format!("kubepods.slice/kubepods-pod{UID_}.slice"),
        "crio-ID.scope/container"
    )]
    #[case::kind(
        format!("kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-pod{UID_}.slice"),
        "cri-containerd-ID.scope"
    )]
    #[case::node_in_a_container(format!("docker/f00/kubelet/kubepods/burstable/pod{UID}"), "ID")]
    #[case::cgroup_root(format!("cluster/node1/kubepods/burstable/pod{UID}"), "ID")]
    // A static pod: the kubelet names its cgroup after a hash.
    #[case::static_pod("kubepods/burstable/pod7b9d4e0a1c2f", "ID")]
    fn a_pod_is_found_in_every_layout(#[case] pod: String, #[case] container: &str) {
        let other = "kubepods/burstable/pod11111111-2222-3333-4444-555555555555/bbb";
        let tree = Tree::new(&[&format!("{pod}/{container}"), "system.slice/ssh.service", other]);
        let found = PodCgroup::find(&tree.0, UID, &[&id('a')]).expect("the pod's cgroup");
        assert_eq!(found.folder, tree.0.join(&pod));
        let containers = found.containers();
        assert_eq!(containers.len(), 1);
        assert!(containers[0].is_of(&id('a')) && !containers[0].is_of(&id('b')));
        // Every folder of the container has a number.
        assert_eq!(containers[0].cgroups.len(), container.split('/').count());
        let path = tree.0.join(pod).join(container.replace("ID", id('a').as_str()));
        let inode = fs::metadata(path).expect("exists").ino();
        assert!(containers[0].cgroups.contains(&CgroupId(inode)));
    }

    #[test]
    fn a_restarted_container_is_found_by_the_pods_uid() {
        let tree = Tree::new(&[&format!("kubepods/pod{UID}/ID")]);
        let found = PodCgroup::find(&tree.0, UID, &[&id('c')]).expect("the pod's cgroup");
        assert!(found.exists());
        assert!(!found.containers()[0].is_of(&id('c')));
        fs::remove_dir_all(tree.0.join("kubepods")).expect("remove");
        assert!(!found.exists() && found.containers().is_empty());
    }

    #[test]
    fn another_pods_cgroup_is_not_taken_for_the_pods() {
        let conmon = "kubepods/pod11111111-2222-3333-4444-555555555555/crio-conmon-ID.scope";
        let tree = Tree::new(&[conmon, "system.slice/x"]);
        assert_eq!(PodCgroup::find(&tree.0, UID, &[&id('a')]), None);
    }

    #[test]
    fn a_search_ends_in_the_deepest_tree() {
        let deep = vec!["a"; 200].join("/");
        let tree = Tree::new(&[&deep]);
        assert_eq!(PodCgroup::find(&tree.0, UID, &[]), None);
    }
}
