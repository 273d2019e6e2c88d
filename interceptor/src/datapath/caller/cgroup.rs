//! Finds the root of the node's cgroup v2 hierarchy. A program attached there runs for every
//! process of the node.
//!
//! Only cgroup v2 runs programs. It is mounted at `/sys/fs/cgroup`, beside v1 at
//! `/sys/fs/cgroup/unified`, or elsewhere. By default, a container sees only its own part of it. A
//! program attached there would run for no other process.

use std::{
    fs::{self, File},
    io,
    os::unix::ffi::OsStringExt as _,
    path::{Path, PathBuf},
};

use nix::sys::statfs::{CGROUP2_SUPER_MAGIC, fstatfs};

/// The root of the node's cgroups, open.
#[derive(Debug)]
pub struct CgroupRoot {
    /// The folder, to attach programs to.
    pub file: File,
    /// The folder's path.
    pub path: PathBuf,
}

/// Why the root was not found.
#[derive(Debug, thiserror::Error)]
pub enum CgroupError {
    /// The host has cgroup v1 only, or the container has no cgroup mount.
    #[error("no cgroup v2 file system is mounted")]
    NotMounted,
    /// The mount shows only the container's own cgroup.
    #[error("{path} is this container's own cgroup, not the node's", path = path.display())]
    OwnOnly {
        /// The mount point.
        path: PathBuf,
    },
    /// A file can't be read.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The kernel's error.
        source: io::Error,
    },
}

/// One cgroup v2 mount in `/proc/self/mountinfo`.
#[derive(Debug, PartialEq, Eq)]
struct Mount {
    /// The cgroup at its root, relative to the root of the process' cgroup namespace.
    begins_with: PathBuf,
    /// The mount point.
    path: PathBuf,
}

// === impl CgroupRoot ===

impl CgroupRoot {
    /// Looks through all mounts.
    ///
    /// # Errors
    /// When no mount shows a cgroup above those of the other pods.
    pub fn find() -> Result<Self, CgroupError> {
        let mounts = mounts(&read("/proc/self/mountinfo")?);
        let own = own_cgroup(&read("/proc/self/cgroup")?);
        let (mut above, mut own_only) = (None, None);
        for Mount { begins_with, path } in mounts {
            let Some(file) = open(&path)? else { continue };
            // Every cgroup but the root of the hierarchy has this file.
            let is_root = !path.join("cgroup.type").exists();
            let found = Self { file, path };
            if is_root {
                return Ok(found);
            }
            // A node may be a container itself. All its pods are below its own cgroup then.
            if own.as_ref().is_some_and(|own| is_above(&begins_with, own)) {
                above.get_or_insert(found);
            } else {
                own_only.get_or_insert(found.path);
            }
        }
        match (above, own_only) {
            (Some(found), _) => Ok(found),
            (None, Some(path)) => Err(CgroupError::OwnOnly { path }),
            (None, None) => Err(CgroupError::NotMounted),
        }
    }
}

fn read(path: &str) -> Result<String, CgroupError> {
    fs::read_to_string(path).map_err(|source| CgroupError::Io { path: path.into(), source })
}

/// Opens the folder. `None` if another file system is mounted over it.
fn open(path: &Path) -> Result<Option<File>, CgroupError> {
    let in_it = |source| CgroupError::Io { path: path.to_owned(), source };
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        result => result.map_err(in_it)?,
    };
    let fs = fstatfs(&file).map_err(|error| in_it(error.into()))?;
    Ok((fs.filesystem_type() == CGROUP2_SUPER_MAGIC).then_some(file))
}

/// The cgroup v2 mounts of a `mountinfo`. Its fields are id, parent, device, root, mount point, …,
/// `-`, type, … (proc_pid_mountinfo(5)).
fn mounts(mountinfo: &str) -> Vec<Mount> {
    let mount = |line: &str| {
        let (mount, filesystem) = line.split_once(" - ")?;
        let mut fields = mount.split(' ').skip(3);
        let (begins_with, path) = (fields.next()?, fields.next()?);
        (filesystem.split(' ').next() == Some("cgroup2"))
            .then(|| Mount { begins_with: unescaped(begins_with), path: unescaped(path) })
    };
    mountinfo.lines().filter_map(mount).collect()
}

/// Decodes octal escapes such as `\040`.
fn unescaped(field: &str) -> PathBuf {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field.as_bytes();
    while let [first, after @ ..] = rest {
        rest = after;
        let escaped = (*first == b'\\')
            .then(|| after.get(..3).and_then(|digits| std::str::from_utf8(digits).ok()))
            .flatten()
            .and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match escaped {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[3..];
            }
            None => bytes.push(*first),
        }
    }
    std::ffi::OsString::from_vec(bytes).into()
}

/// The process' own cgroup in `/proc/self/cgroup`. The line of cgroup v2 begins with `0::`.
fn own_cgroup(text: &str) -> Option<PathBuf> {
    text.lines().find_map(|line| line.strip_prefix("0::")).map(PathBuf::from)
}

/// Whether `cgroup` is strictly above `own`. Both are relative to the process' cgroup namespace,
/// where `/..` leads out of it.
fn is_above(cgroup: &Path, own: &Path) -> bool {
    let is_outside = |path: &Path| path.starts_with("/..");
    match (is_outside(cgroup), is_outside(own)) {
        // The path above the namespace's root is unknown. Only direct parents of it are surely
        // above us.
        (true, false) => cgroup.components().skip(1).all(|part| part.as_os_str() == ".."),
        (false, false) => own.starts_with(cgroup) && own != cgroup,
        (_, true) => false,
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[test]
    fn finds_cgroup_v2_among_other_mounts() {
        let mountinfo = r"
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
33 31 0:30 / /sys/fs/cgroup/cpuacct rw,relatime - cgroup cgroup rw,cpuacct
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime shared:4 - cgroup2 cgroup2 rw
99 31 0:38 /../../.. /host/a\040cgroup ro,relatime - cgroup2 cgroup rw,nsdelegate
";
        let mount = |begins_with: &str, path: &str| Mount {
            begins_with: begins_with.into(),
            path: path.into(),
        };
        assert_eq!(
            mounts(mountinfo),
            [mount("/", "/sys/fs/cgroup/unified"), mount("/../../..", "/host/a cgroup")]
        );
    }

    #[test]
    fn the_own_cgroup_is_that_of_version_2() {
        let text = "9:name=systemd:/a\n4:memory:/b\n0::/kubepods/pod1/c\n";
        assert_eq!(own_cgroup(text), Some("/kubepods/pod1/c".into()));
        assert_eq!(own_cgroup("9:name=systemd:/a\n"), None);
    }

    #[rstest]
    // A container with its own cgroup namespace: its default view, and the node's root.
    #[case("/", "/", false)]
    #[case("/../../..", "/", true)]
    // A cousin of our cgroup.
    #[case("/../other", "/", false)]
    // Without such a namespace.
    #[case("/kubepods/pod1/c", "/kubepods/pod1/c", false)]
    #[case("/", "/kubepods/pod1/c", true)]
    #[case("/kubepods/pod2", "/kubepods/pod1/c", false)]
    #[case("/kubepods/pod", "/kubepods/pod1/c", false)]
    // A process that was moved out of its namespace: the relation is unknown.
    #[case("/..", "/../elsewhere", false)]
    fn a_cgroup_is_above_its_descendants_only(
        #[case] cgroup: &str,
        #[case] own: &str,
        #[case] above: bool,
    ) {
        assert_eq!(is_above(Path::new(cgroup), Path::new(own)), above);
    }
}
