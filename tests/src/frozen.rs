//! Threads of a process that are stopped while its other threads run, as if their loop was blocked.
//!
//! SIGSTOP stops a whole process. ptrace(2) stops single threads.

use std::{fs, marker::PhantomData, path::Path};

use anyhow::{Context as _, Result, ensure};
use nix::{
    sys::{
        ptrace,
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
    unistd::Pid,
};

/// Stopped threads. Dropping this lets them run again.
#[derive(Debug)]
pub struct Frozen {
    threads: Vec<Pid>,
    /// ptrace: only the thread that attached can detach.
    _here: PhantomData<*const ()>,
}

/// The threads of a process whose names begin with `prefix`.
pub fn threads(pid: u32, prefix: &str) -> Result<Vec<Pid>> {
    let tasks = Path::new("/proc").join(pid.to_string()).join("task");
    let mut found = Vec::new();
    for task in fs::read_dir(&tasks).context("list threads")?.flatten() {
        let name = fs::read_to_string(task.path().join("comm")).unwrap_or_default();
        let id = task.file_name().to_str().and_then(|id| id.parse().ok());
        found.extend(id.filter(|_| name.starts_with(prefix)).map(Pid::from_raw));
    }
    ensure!(!found.is_empty(), "process {pid} has no thread named {prefix}…");
    found.sort();
    Ok(found)
}

impl Frozen {
    /// Stops these threads, and returns when all have stopped.
    pub fn new(threads: &[Pid]) -> Result<Self> {
        let mut frozen = Self { threads: Vec::new(), _here: PhantomData };
        for &thread in threads {
            ptrace::attach(thread).with_context(|| format!("stop thread {thread}"))?;
            frozen.threads.push(thread);
            // __WALL: also for threads other than the main thread.
            let status =
                waitpid(thread, Some(WaitPidFlag::__WALL)).context("wait for a thread to stop")?;
            ensure!(
                matches!(status, WaitStatus::Stopped(..)),
                "thread {thread} did not stop: {status:?}"
            );
        }
        Ok(frozen)
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        for &thread in &self.threads {
            // Fails only if the thread has ended.
            let _ = ptrace::detach(thread, None);
        }
    }
}
