//! The daemon itself, the real binary, as a guest in the node of a topology.

use std::{
    env, fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, ExitStatus},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use nix::{
    sys::signal::Signal,
    unistd::{SysconfVar, sysconf},
};
use serde_json::Value;

use crate::{BpfKind, Metrics, Namespace, Process, Topology, bpf, http, wait_until};

/// How long anything that the daemon should do soon may take on a busy machine.
const SOON: Duration = Duration::from_secs(10);

/// A running daemon; it ends when this is dropped.
#[derive(Debug)]
pub struct Daemon {
    process: Process,
    node: Namespace,
    workloads: PathBuf,
    admin: SocketAddr,
}

/// A workloads file with one pod, called as its namespace is, and one rule.
pub fn workload(pod: &Namespace, redirect: &str) -> String {
    format!(
        "workloads:\n  - name: {}\n    netns: {}\n    annotations:\n      debug.redirect: \"{redirect}\"\n",
        pod.label(),
        pod.netns_path().display(),
    )
}

/// The daemon's binary: `INTERCEPTOR_BIN`, or else the one that was built next to the running program.
pub fn binary() -> Result<PathBuf> {
    let path = match env::var_os("INTERCEPTOR_BIN") {
        Some(path) => PathBuf::from(path),
        None => {
            let own = env::current_exe().context("find the running program")?;
            // <target>/<profile>/xtask, or <target>/<profile>/deps/<test>.
            let mut profile = own.parent().context("the folder of the running program")?;
            if profile.ends_with("deps") {
                profile = profile.parent().context("the folder of the profile")?;
            }
            profile.join("interceptor")
        }
    };
    ensure!(
        path.is_file(),
        "there is no daemon at {}; build it with `cargo build -p interceptor`, or name it in INTERCEPTOR_BIN",
        path.display(),
    );
    Ok(path)
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Its polite end takes a second and a half, and no test needs it that does not ask for it: whatever becomes of the
        // daemon, nothing is to stay behind.
        if env::var_os("INTERCEPTOR_KEEP").is_none_or(|value| value != "1") {
            self.process.kill();
        }
    }
}

impl Daemon {
    /// Starts it in the node, and waits until its admin endpoint answers.
    pub fn start(topology: &Topology, workloads: &str, extra_args: &[&str]) -> Result<Self> {
        Self::start_with(topology, workloads, |command| {
            command.args(extra_args);
            Ok(())
        })
    }

    /// As [`start`](Self::start), with a say in how: arguments, environment, or a [`CommandExt`](crate::CommandExt).
    pub fn start_with(
        topology: &Topology,
        workloads: &str,
        adapt: impl FnOnce(&mut Command) -> Result<()>,
    ) -> Result<Self> {
        let mut daemon = Self::launch(topology, workloads, adapt)?;
        let port = daemon.admin.port();
        daemon.process.wait_for_port(port, SOON)?;
        let (node, admin) = (daemon.node.clone(), daemon.admin);
        wait_until("the daemon's admin endpoint", SOON, || http::get(&node, admin, "/livez"))?;
        Ok(daemon)
    }

    /// As [`start_with`](Self::start_with), but waits for nothing: for a daemon that should refuse to start.
    pub fn launch(
        topology: &Topology,
        workloads: &str,
        adapt: impl FnOnce(&mut Command) -> Result<()>,
    ) -> Result<Self> {
        let node = topology.node();
        let admin = SocketAddr::from(([127, 0, 0, 1], 9469));
        let file = topology.dir().join("workloads.yaml");
        replace(&file, workloads)?;
        let mut command = node.command(binary()?);
        command.arg("run").arg("--workloads").arg(&file).args(["--admin", &admin.to_string()]);
        adapt(&mut command)?;
        Ok(Self { process: node.spawn(&mut command)?, node: node.clone(), workloads: file, admin })
    }

    /// `GET /state`.
    pub fn state(&self) -> Result<Value> {
        serde_json::from_str(&self.get("/state")?).context("read /state")
    }

    /// `GET` any path of the admin endpoint; an answer that is not 2xx is an error.
    pub fn get(&self, path: &str) -> Result<String> {
        http::get(&self.node, self.admin, path)
    }

    /// `GET /metrics`.
    pub fn metrics(&self) -> Result<Metrics> {
        Metrics::parse(&self.get("/metrics")?)
    }

    /// One number out of `/metrics`, as [`Metrics::sum`]; NaN, which equals nothing, if it can't be had.
    pub fn metric(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.metrics().map_or(f64::NAN, |metrics| metrics.sum(name, labels))
    }

    /// What `/state` says about one workload.
    pub fn workload(&self, name: &str) -> Result<Value> {
        let state = self.state()?;
        let mut workloads = state["workloads"].as_array().into_iter().flatten();
        workloads
            .find(|workload| workload["name"] == name)
            .cloned()
            .with_context(|| format!("no {name:?} in {state}"))
    }

    /// Waits until a workload has rules and all of them are active.
    pub fn wait_active(&self, workload: &str) -> Result<Value> {
        self.wait_rules(workload, "active")
    }

    /// Waits until a workload has rules and all of them are in `state`: `active`, `pending`, `refused`, `expired`.
    pub fn wait_rules(&self, workload: &str, state: &str) -> Result<Value> {
        self.wait_state(&format!("all rules of {workload} to be {state}"), |all| {
            let mut workloads = all["workloads"].as_array().into_iter().flatten();
            let rules = workloads
                .find(|one| one["name"] == workload)
                .and_then(|one| one["rules"].as_array());
            rules.is_some_and(|rules| {
                !rules.is_empty() && rules.iter().all(|rule| rule["state"] == state)
            })
        })
    }

    /// Waits until `/state` is as wanted, and gives it.
    pub fn wait_state(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Result<Value> {
        wait_until(what, SOON, || {
            let state = self.state().map_err(|error| format!("{error:#}"))?;
            if wanted(&state) { Ok(state) } else { Err(state.to_string()) }
        })
    }

    /// Waits until a number of `/metrics` is as wanted.
    pub fn wait_metric(
        &self,
        name: &str,
        labels: &[(&str, &str)],
        wanted: impl Fn(f64) -> bool,
    ) -> Result<f64> {
        wait_until(&format!("{name}{labels:?}"), SOON, || {
            let value = self.metric(name, labels);
            if wanted(value) { Ok(value) } else { Err(value) }
        })
    }

    /// Gives it other workloads, as an editor would: the file is replaced in one step.
    pub fn rewrite_workloads(&self, workloads: &str) -> Result<()> {
        replace(&self.workloads, workloads)
    }

    /// Its workloads file.
    pub fn workloads_file(&self) -> &Path {
        &self.workloads
    }

    /// Sends it a signal: SIGKILL, SIGSTOP, SIGCONT, SIGTERM.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        self.process.signal(signal)
    }

    /// Waits until it ended.
    pub fn wait(&mut self) -> Result<ExitStatus> {
        self.process.wait(SOON)
    }

    /// All that it printed.
    pub fn logs(&self) -> String {
        self.process.logs()
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// How many files it has open.
    pub fn open_files(&self) -> Result<usize> {
        let files =
            fs::read_dir(format!("/proc/{}/fd", self.pid())).context("count the daemon's files")?;
        Ok(files.count())
    }

    /// The memory that it has resident, in KiB.
    pub fn rss_kib(&self) -> Result<u64> {
        let status = self.proc("status")?;
        let line =
            status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
        line.trim().trim_end_matches(" kB").parse().context("read VmRSS")
    }

    /// The processor time that it used, user and system.
    pub fn cpu_time(&self) -> Result<Duration> {
        let stat = self.proc("stat")?;
        // The name of the program comes second, in brackets, and may contain anything; utime and stime are 14 and 15.
        let (_, fields) = stat.rsplit_once(')').context("read stat")?;
        let ticks = fields.split_whitespace().skip(11).take(2).map(str::parse::<u64>);
        let ticks = ticks.sum::<Result<u64, _>>().context("read stat")?;
        let per_second = sysconf(SysconfVar::CLK_TCK)?.context("ticks per second")?;
        Ok(Duration::from_secs_f64(ticks as f64 / per_second as f64))
    }

    /// The BPF objects that it holds; none of them may live on after it.
    pub fn bpf_objects(&self) -> Result<Vec<(BpfKind, u32)>> {
        bpf::held_by(self.pid())
    }

    fn proc(&self, file: &str) -> Result<String> {
        let path = Path::new("/proc").join(self.pid().to_string()).join(file);
        fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))
    }
}

/// Writes a file next to it and renames that: nobody ever sees half of it.
fn replace(file: &Path, content: &str) -> Result<()> {
    let new = file.with_extension("new");
    fs::write(&new, content).with_context(|| format!("write {}", new.display()))?;
    fs::rename(&new, file).with_context(|| format!("replace {}", file.display()))
}
