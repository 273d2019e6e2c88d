//! A program in the background, inside a namespace: nginx, the daemon.

use std::{
    fs::{self, File},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use nix::{
    sys::signal::{Signal, kill, killpg},
    unistd::Pid,
};

use crate::{Namespace, TcpState, sockets::tcp_sockets_here, wait_until};

/// A running program. Dropping it ends the program and its children.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
    netns: Namespace,
}

impl Namespace {
    /// Starts a [`command`](Self::command) in the background. Its output goes to a log; dropping
    /// the returned process ends it.
    pub fn spawn(&self, command: &mut Command) -> Result<Process> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let program = Path::new(command.get_program()).file_name().unwrap_or_default();
        let name = program.to_string_lossy().into_owned();
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let log = self.dir().join(format!("{}-{name}-{number}.log", self.label()));
        let output = File::create(&log).with_context(|| format!("create {}", log.display()))?;
        let child = command
            .stdin(Stdio::null())
            .stdout(output.try_clone().context("share the log")?)
            .stderr(output)
            // A process group of its own, so that its workers end with it and Ctrl-C in the
            // terminal does not reach it.
            .process_group(0)
            .spawn()
            .with_context(|| format!("start {name} in {}", self.label()))?;
        Ok(Process { name, child, log, netns: self.clone() })
    }
}

impl Process {
    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Kills the process, if it has not ended.
    pub(crate) fn kill(&mut self) {
        // `Child::kill` does nothing after a successful wait: another process may have the id by
        // then.
        let _ = self.child.kill();
    }

    /// Sends a signal to the process, not to its children.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        kill(self.nix_pid(), signal).with_context(|| format!("send {signal} to {}", self.name))
    }

    /// Everything that it has printed, both streams.
    pub fn logs(&self) -> String {
        fs::read(&self.log)
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default()
    }

    /// The exit status, if the process has ended.
    pub fn exited(&mut self) -> Result<Option<ExitStatus>> {
        self.child.try_wait().with_context(|| format!("check whether {} has ended", self.name))
    }

    /// Waits until the process has ended.
    pub fn wait(&mut self, timeout: Duration) -> Result<ExitStatus> {
        let what = format!("the end of {}", self.name);
        wait_until(&what, timeout, || self.child.try_wait().ok().flatten())
    }

    /// Waits until a socket of the namespace listens on the TCP port, without connecting to it.
    pub fn wait_for_port(&mut self, port: u16, timeout: Duration) -> Result<()> {
        let what = format!("{} to listen on port {port}", self.name);
        let netns = self.netns.clone();
        let exited = wait_until(&what, timeout, || {
            if netns.run(|| listens(port)) {
                return Some(None);
            }
            self.child.try_wait().ok().flatten().map(Some)
        })?;
        if let Some(status) = exited {
            bail!(
                "{} ended ({status}) instead of listening on port {port}:\n{}",
                self.name,
                self.logs()
            );
        }
        Ok(())
    }

    fn nix_pid(&self) -> Pid {
        // Linux process ids are below 2^22.
        Pid::from_raw(self.child.id().cast_signed())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if std::env::var_os("INTERCEPTOR_KEEP").is_some_and(|value| value == "1") {
            eprintln!(
                "--- {} keeps running: pid {}, log {}",
                self.name,
                self.pid(),
                self.log.display()
            );
            return;
        }
        let group = self.nix_pid();
        if let Ok(None) = self.child.try_wait() {
            // SIGTERM first, since a database that is killed leaves shared memory behind.
            let _ = killpg(group, Signal::SIGTERM);
            let _ = killpg(group, Signal::SIGCONT);
            let ended = wait_until("a graceful end", Duration::from_secs(2), || {
                self.child.try_wait().ok().flatten()
            });
            if ended.is_ok() {
                return;
            }
        }
        let _ = killpg(group, Signal::SIGKILL);
        let _ = self.child.wait();
    }
}

/// The resident memory of a process, in KiB.
pub fn rss_kib(pid: u32) -> Result<u64> {
    let path = format!("/proc/{pid}/status");
    let status = fs::read_to_string(&path).with_context(|| format!("read {path}"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    line.trim().trim_end_matches(" kB").parse().with_context(|| format!("VmRSS in {path}"))
}

/// Whether a TCP socket listens on `port` in the namespace of the calling thread.
fn listens(port: u16) -> bool {
    let mut sockets = tcp_sockets_here().into_iter();
    sockets.any(|socket| socket.state == TcpState::Listen && socket.local.port() == port)
}
