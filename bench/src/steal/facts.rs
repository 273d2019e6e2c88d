//! Describes the machine that the numbers belong to.

use std::fs;

use serde::Serialize;

use crate::cpus;

/// The facts that a reader needs to compare two runs.
#[derive(Serialize)]
pub(crate) struct Facts {
    kernel: String,
    cpu: String,
    cpus: usize,
    memory_gib: f64,
    load_average: String,
    haproxy: Option<String>,
    iptables: Option<String>,
}

impl Facts {
    /// Collects the facts. The load average is that of this moment, before the run adds to it.
    pub(crate) fn collect() -> Self {
        Self {
            kernel: read("/proc/sys/kernel/osrelease"),
            cpu: field("/proc/cpuinfo", "model name").unwrap_or_else(|| "unknown".into()),
            cpus: cpus::allowed().map_or(0, |cpus| cpus.len()),
            memory_gib: field("/proc/meminfo", "MemTotal")
                .and_then(|line| line.split_ascii_whitespace().next()?.parse::<f64>().ok())
                .map_or(0.0, |kib| (kib / 1024.0 / 1024.0 * 10.0).round() / 10.0),
            load_average: load_average(),
            haproxy: version("haproxy", "-v"),
            iptables: version("iptables", "--version"),
        }
    }

    /// The lines for the head of the report.
    pub(crate) fn line(&self) -> String {
        let Self { kernel, cpu, cpus, memory_gib, load_average, haproxy, iptables } = self;
        let peer = |version: &Option<String>| version.clone().unwrap_or_else(|| "none".into());
        format!(
            "Linux {kernel}, {cpus} x {cpu}, {memory_gib} GiB; \
             load average before the run {load_average}\npeers: {}; {}",
            peer(haproxy),
            peer(iptables)
        )
    }
}

/// The three load averages.
pub(crate) fn load_average() -> String {
    read("/proc/loadavg").split_ascii_whitespace().take(3).collect::<Vec<_>>().join(" ")
}

fn read(path: &str) -> String {
    fs::read_to_string(path).map_or_else(|_| "unknown".into(), |text| text.trim().into())
}

fn field(path: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().into())
}

fn version(program: &str, flag: &str) -> Option<String> {
    let output = std::process::Command::new(program).arg(flag).output().ok()?;
    Some(String::from_utf8_lossy(&output.stdout).lines().next()?.trim().into())
}
