//! The daemon under test: the real binary, run in the node of a topology.

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

use crate::{
    BpfKind, Metrics, Namespace, Process, Topology, bpf, http, process::rss_kib, wait_until,
};

/// Maximum time for anything that the daemon should do at once, on a busy machine.
const TIMEOUT: Duration = Duration::from_secs(10);

/// A running daemon; dropping it kills it.
#[derive(Debug)]
pub struct Daemon {
    process: Process,
    node: Namespace,
    workloads: PathBuf,
    admin: SocketAddr,
}

/// A workloads file with one pod, named after its namespace, and one rule.
pub fn workload(pod: &Namespace, redirect: &str) -> String {
    format!(
        "workloads:\n  - name: {}\n    netns: {}\n    \
         annotations:\n      debug.redirect: \"{redirect}\"\n",
        pod.label(),
        pod.netns_path().display(),
    )
}

/// The daemon's binary: `INTERCEPTOR_BIN`, or else the one next to the running program.
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
        "no daemon at {}; run `cargo build -p interceptor`, or set INTERCEPTOR_BIN to its path",
        path.display(),
    );
    Ok(path)
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // A graceful end takes 1.5 s. Tests that need one send SIGTERM themselves, and a killed
        // daemon must leave nothing behind either.
        if env::var_os("INTERCEPTOR_KEEP").is_none_or(|value| value != "1") {
            self.process.kill();
        }
    }
}

impl Daemon {
    /// Starts the daemon in the node and waits until its admin endpoint answers.
    pub fn start(topology: &Topology, workloads: &str, extra_args: &[&str]) -> Result<Self> {
        Self::start_with(topology, workloads, |command| {
            command.args(extra_args);
            Ok(())
        })
    }

    /// Starts the daemon with one rule for `pod`, and waits until the rule is active.
    pub fn start_active(topology: &Topology, pod: &Namespace, rule: &str) -> Result<Self> {
        let daemon = Self::start(topology, &workload(pod, rule), &[])?;
        daemon.wait_active(pod.label())?;
        Ok(daemon)
    }

    /// As [`start`](Self::start). `adapt` may change the command: its arguments, its environment,
    /// or its confinement by [`CommandExt`](crate::CommandExt).
    pub fn start_with(
        topology: &Topology,
        workloads: &str,
        adapt: impl FnOnce(&mut Command) -> Result<()>,
    ) -> Result<Self> {
        let mut daemon = Self::launch(topology, workloads, adapt)?;
        let port = daemon.admin.port();
        daemon.process.wait_for_port(port, TIMEOUT)?;
        let (node, admin) = (daemon.node.clone(), daemon.admin);
        wait_until("the daemon's admin endpoint", TIMEOUT, || http::get(&node, admin, "/livez"))?;
        Ok(daemon)
    }

    /// As [`start_with`](Self::start_with) without the wait, for a daemon that should refuse to
    /// start.
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

    /// `GET` of a path of the admin endpoint.
    ///
    /// # Errors
    /// A response other than 2xx is an error, too.
    pub fn get(&self, path: &str) -> Result<String> {
        http::get(&self.node, self.admin, path)
    }

    /// `GET /metrics`.
    pub fn metrics(&self) -> Result<Metrics> {
        Metrics::parse(&self.get("/metrics")?)
    }

    /// One number of `/metrics`, as [`Metrics::sum`]. NaN, which equals no number, if the scrape
    /// fails.
    pub fn metric(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.metrics().map_or(f64::NAN, |metrics| metrics.sum(name, labels))
    }

    /// One workload of `/state`.
    pub fn workload(&self, name: &str) -> Result<Value> {
        let state = self.state()?;
        let mut workloads = state["workloads"].as_array().into_iter().flatten();
        workloads
            .find(|workload| workload["name"] == name)
            .cloned()
            .with_context(|| format!("no workload {name:?} in {state}"))
    }

    /// Waits until the workload has rules and all of them are active. Returns `/state`.
    pub fn wait_active(&self, workload: &str) -> Result<Value> {
        self.wait_rules(workload, "active")
    }

    /// Waits until the workload has rules and all of them are in `state`: `active`, `pending`,
    /// `refused` or `expired`. Returns `/state`.
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

    /// Waits until `wanted` accepts `/state`, and returns it. `what` describes that state in the
    /// error.
    pub fn wait_state(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Result<Value> {
        wait_until(what, TIMEOUT, || {
            let state = self.state().map_err(|error| format!("{error:#}"))?;
            if wanted(&state) { Ok(state) } else { Err(state.to_string()) }
        })
    }

    /// Waits until `wanted` accepts a number of `/metrics`, and returns it.
    pub fn wait_metric(
        &self,
        name: &str,
        labels: &[(&str, &str)],
        wanted: impl Fn(f64) -> bool,
    ) -> Result<f64> {
        wait_until(&format!("{name}{labels:?}"), TIMEOUT, || {
            let value = self.metric(name, labels);
            if wanted(value) { Ok(value) } else { Err(value) }
        })
    }

    /// Replaces the workloads file in one step, as editors do.
    pub fn rewrite_workloads(&self, workloads: &str) -> Result<()> {
        replace(&self.workloads, workloads)
    }

    /// The path of the workloads file.
    pub fn workloads_file(&self) -> &Path {
        &self.workloads
    }

    /// Sends a signal to the daemon.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        self.process.signal(signal)
    }

    /// Waits until the daemon has ended.
    pub fn wait(&mut self) -> Result<ExitStatus> {
        self.process.wait(TIMEOUT)
    }

    /// Everything that the daemon has printed.
    pub fn logs(&self) -> String {
        self.process.logs()
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// The number of its open files.
    pub fn open_files(&self) -> Result<usize> {
        let files =
            fs::read_dir(format!("/proc/{}/fd", self.pid())).context("count the daemon's files")?;
        Ok(files.count())
    }

    /// Its resident memory, in KiB.
    pub fn rss_kib(&self) -> Result<u64> {
        rss_kib(self.pid())
    }

    /// The processor time that it has used, user and system.
    pub fn cpu_time(&self) -> Result<Duration> {
        let stat = self.proc("stat")?;
        // The second field is the program's name in brackets, which may contain anything. The
        // fields 14 and 15 are utime and stime.
        let (_, fields) = stat.rsplit_once(')').context("read stat")?;
        let ticks = fields.split_whitespace().skip(11).take(2).map(str::parse::<u64>);
        let ticks = ticks.sum::<Result<u64, _>>().context("read stat")?;
        let per_second = sysconf(SysconfVar::CLK_TCK)?.context("ticks per second")?;
        Ok(Duration::from_secs_f64(ticks as f64 / per_second as f64))
    }

    /// The BPF objects that the daemon holds; none may outlive it.
    pub fn bpf_objects(&self) -> Result<Vec<(BpfKind, u32)>> {
        bpf::held_by(self.pid())
    }

    fn proc(&self, file: &str) -> Result<String> {
        let path = Path::new("/proc").join(self.pid().to_string()).join(file);
        fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))
    }
}

/// Writes a new file beside the old one and renames it, so that no reader sees half of it.
fn replace(file: &Path, content: &str) -> Result<()> {
    let new = file.with_extension("new");
    fs::write(&new, content).with_context(|| format!("write {}", new.display()))?;
    fs::rename(&new, file).with_context(|| format!("replace {}", file.display()))
}
