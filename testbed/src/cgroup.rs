//! A cgroup for a daemon that runs as in a container.

use std::{
    fs,
    path::{Path, PathBuf},
    process,
    time::Duration,
};

use anyhow::{Context as _, Result};

use crate::wait_until;

/// A cgroup of version 2. Dropping it waits for the end of its processes and removes it.
#[derive(Debug)]
pub struct Cgroup {
    path: PathBuf,
}

impl Cgroup {
    /// Creates one directly below the root.
    pub fn new(name: &str) -> Result<Self> {
        let mounts = fs::read_to_string("/proc/self/mounts").context("list mounts")?;
        let mut mounts = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
        let root =
            mounts.find(|fields| fields[2] == "cgroup2").context("no cgroup v2 is mounted")?[1];
        let path = Path::new(root).join(format!("interceptor-{name}-{}", process::id()));
        fs::create_dir(&path).with_context(|| format!("create {}", path.display()))?;
        Ok(Self { path })
    }

    /// The path of its directory.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // A process that has ended stays in its cgroup for a moment.
        let removed =
            wait_until("an empty cgroup", Duration::from_secs(5), || fs::remove_dir(&self.path));
        if let Err(error) = removed {
            eprintln!("--- {error:#}; to remove it: rmdir {}", self.path.display());
        }
    }
}
