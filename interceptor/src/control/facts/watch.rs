//! Waits for kernel events that may change the state of workloads. Nothing here polls on a timer.
//!
//! - The workloads file: inotify on its folder, since editors and `mv` replace the file itself.
//! - Namespaces: they appear and vanish as mounts. `/proc/self/mountinfo` reports an exceptional
//!   condition when the mounts change (proc(5)). That covers folders that do not exist yet.
//! - Processes: a pidfd becomes readable when its process ends (Linux 5.3).

use std::{
    fs::{self, File},
    io,
    os::{fd::OwnedFd, unix::fs::MetadataExt as _},
    path::{Path, PathBuf},
};

use rustix::{
    fs::inotify::{self, CreateFlags, WatchFlags},
    process::{Pid, PidfdFlags, pidfd_open},
};
use tokio::io::{Interest, unix::AsyncFd};

/// Changes of one file, however a program writes or replaces it.
#[derive(Debug)]
pub struct FileWatch {
    inotify: AsyncFd<OwnedFd>,
    folder: PathBuf,
    /// Device and inode of the watched folder.
    identity: (u64, u64),
}

/// Changes of the mounts that this process sees.
#[derive(Debug)]
pub struct MountWatch {
    mountinfo: AsyncFd<OwnedFd>,
}

// === impl FileWatch ===

impl FileWatch {
    /// Watches the folder of `path`.
    ///
    /// # Errors
    /// When there is no such folder, or no inotify instance left (`fs.inotify.max_user_instances`).
    pub fn new(path: &Path) -> io::Result<Self> {
        let folder = match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        let inotify = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        // Any name in the folder counts: Kubernetes replaces a mounted ConfigMap by renaming a
        // link beside the file. Not IN_MODIFY: a file is read when its writer closes it.
        let events = WatchFlags::CLOSE_WRITE
            | WatchFlags::MOVED_TO
            | WatchFlags::CREATE
            | WatchFlags::DELETE
            | WatchFlags::DELETE_SELF
            | WatchFlags::MOVE_SELF;
        inotify::add_watch(&inotify, folder, events)?;
        Ok(Self {
            inotify: watched(inotify, Interest::READABLE)?,
            folder: folder.to_owned(),
            identity: identity(folder)?,
        })
    }

    /// Whether the folder's path still leads to the watched folder.
    #[must_use]
    pub fn is_current(&self) -> bool {
        identity(&self.folder).is_ok_and(|identity| identity == self.identity)
    }

    /// Waits for the next change.
    ///
    /// # Errors
    /// When the watch is broken.
    pub async fn changed(&mut self) -> io::Result<()> {
        // Space for many events at once. Their content does not matter.
        let mut events = [0; 4096];
        loop {
            let mut ready = self.inotify.readable().await?;
            match ready
                .try_io(|inotify| rustix::io::read(inotify, &mut events).map_err(io::Error::from))
            {
                Ok(read) => return read.map(drop),
                Err(_would_block) => {}
            }
        }
    }
}

// === impl MountWatch ===

impl MountWatch {
    /// Watches the mounts that this process sees.
    ///
    /// # Errors
    /// When `/proc` is not mounted.
    pub fn new() -> io::Result<Self> {
        let file = File::open("/proc/self/mountinfo")?;
        Ok(Self { mountinfo: watched(file.into(), Interest::PRIORITY)? })
    }

    /// Waits for the next change.
    ///
    /// # Errors
    /// When the watch is broken.
    pub async fn changed(&mut self) -> io::Result<()> {
        self.mountinfo.ready(Interest::PRIORITY).await?.clear_ready();
        Ok(())
    }
}

/// Waits for the process `pid` to end.
///
/// # Errors
/// When there is no such process (any more).
pub async fn process_ended(pid: u32) -> io::Result<()> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or(io::ErrorKind::InvalidInput)?;
    let pidfd = watched(pidfd_open(pid, PidfdFlags::empty())?, Interest::READABLE)?;
    pidfd.readable().await?.retain_ready();
    Ok(())
}

fn identity(folder: &Path) -> io::Result<(u64, u64)> {
    let meta = fs::metadata(folder)?;
    Ok((meta.dev(), meta.ino()))
}

#[expect(unsafe_code, reason = "tokio asks for a promise about the file descriptor")]
fn watched(fd: OwnedFd, interest: Interest) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an OwnedFd keeps its descriptor open and always names the same one.
    Ok(unsafe { AsyncFd::register_with_interest(fd, interest) }?)
}
