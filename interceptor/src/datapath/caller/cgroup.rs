//! Where the cgroups of everybody on this node begin: what a program has to be attached to, to run for all of them.
//!
//! Only cgroup v2 runs programs. It is at `/sys/fs/cgroup`, or beside v1 at `/sys/fs/cgroup/unified`, or wherever it is
//! mounted. A container sees its own part of it by default, and a program attached there would run for nobody else.

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
    /// What programs are attached to.
    pub file: File,
    /// Where it was found.
    pub path: PathBuf,
}

/// Why there is none.
#[derive(Debug, thiserror::Error)]
pub enum CgroupError {
    /// Cgroup v1 only, or a container that is shown none.
    #[error("no cgroup v2 file system is mounted")]
    NotMounted,
    /// A container's own view.
    #[error("{path} is this container's own cgroup, not the node's", path = path.display())]
    OwnOnly {
        /// Where it is mounted.
        path: PathBuf,
    },
    /// The kernel did not let us look.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// What was looked at.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
}

/// One cgroup v2 file system, of `/proc/self/mountinfo`.
#[derive(Debug, PartialEq, Eq)]
struct Mount {
    /// Which cgroup it begins with, seen from the root of the process' cgroup namespace.
    begins_with: PathBuf,
    /// Where it is.
    path: PathBuf,
}

// === impl CgroupRoot ===

impl CgroupRoot {
    /// Looks through everything that is mounted.
    ///
    /// # Errors
    /// When nothing there is above the cgroups of others.
    pub fn find() -> Result<Self, CgroupError> {
        let mounts = mounts(&read("/proc/self/mountinfo")?);
        let own = own_cgroup(&read("/proc/self/cgroup")?);
        let (mut above, mut own_only) = (None, None);
        for Mount { begins_with, path } in mounts {
            let Some(file) = open(&path)? else { continue };
            // Every cgroup has this file, but the root of them all.
            let is_root = !path.join("cgroup.type").exists();
            let found = Self { file, path };
            if is_root {
                return Ok(found);
            }
            // A node may be a container itself: all that is on it is below its own cgroup, not below the machine's root.
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

/// Opens the folder, unless something else is mounted over it.
fn open(path: &Path) -> Result<Option<File>, CgroupError> {
    let in_it = |source| CgroupError::Io { path: path.to_owned(), source };
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        result => result.map_err(in_it)?,
    };
    let fs = fstatfs(&file).map_err(|error| in_it(error.into()))?;
    Ok((fs.filesystem_type() == CGROUP2_SUPER_MAGIC).then_some(file))
}

/// The cgroup v2 file systems of a `mountinfo`. See proc_pid_mountinfo(5): id, parent, device, root, mount point, …, `-`,
/// type, …
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

/// Undoes `\040` and the like.
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

/// The process' own cgroup, of `/proc/self/cgroup`: the line of cgroup v2 begins with `0::`.
fn own_cgroup(text: &str) -> Option<PathBuf> {
    text.lines().find_map(|line| line.strip_prefix("0::")).map(PathBuf::from)
}

/// Whether `cgroup` is strictly above `own`; both as the process' cgroup namespace has them, where `/..` leads out of it.
fn is_above(cgroup: &Path, own: &Path) -> bool {
    let is_outside = |path: &Path| path.starts_with("/..");
    match (is_outside(cgroup), is_outside(own)) {
        // Our own way is not known beyond the namespace's root, but anything right above that root is above us.
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
    // A container with a cgroup namespace of its own: what it is shown by default, and what the node has.
    #[case("/", "/", false)]
    #[case("/../../..", "/", true)]
    // Not ours: a cousin.
    #[case("/../other", "/", false)]
    // Without such a namespace.
    #[case("/kubepods/pod1/c", "/kubepods/pod1/c", false)]
    #[case("/", "/kubepods/pod1/c", true)]
    #[case("/kubepods/pod2", "/kubepods/pod1/c", false)]
    #[case("/kubepods/pod", "/kubepods/pod1/c", false)]
    // Moved out of its namespace: nothing is known.
    #[case("/..", "/../elsewhere", false)]
    fn above_means_above_others_too(#[case] cgroup: &str, #[case] own: &str, #[case] above: bool) {
        assert_eq!(is_above(Path::new(cgroup), Path::new(own)), above);
    }
}
