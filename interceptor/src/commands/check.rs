//! `interceptor check`: whether this host can run the daemon. Tries each requirement, and reports
//! its reason and remedy.

use std::{fs, io, path::Path};

use aya::{programs::ProgramType, sys::is_program_supported};
use nix::sched::{CloneFlags, setns};
use serde::Serialize;

use crate::{
    datapath::{Callers, Loader, PodPrograms},
    limits::OpenFiles,
};

/// The result for one requirement of the daemon.
#[derive(Debug, Serialize)]
pub struct Finding {
    /// The name of the requirement. Stable, because scripts match on it.
    pub name: &'static str,
    /// Whether the host meets it.
    pub verdict: Verdict,
    /// The state of the host.
    pub found: String,
    /// Why the daemon needs it.
    pub reason: &'static str,
    /// How to provide it; empty while there is nothing to do.
    pub remedy: String,
}

/// Whether the host meets a requirement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// The host meets it.
    Ok,
    /// The daemon works without it, but loses something.
    Warning,
    /// The daemon can't work without it.
    Missing,
}

/// Tries every requirement.
pub async fn run() -> Vec<Finding> {
    let mut findings = needed();
    findings.push(caller_address().await);
    findings
}

fn needed() -> Vec<Finding> {
    let mut findings = vec![kernel()];
    findings.extend(capabilities());
    findings.extend([enter_namespaces(), load_program(), netns_mounts(), open_files()]);
    findings
}

/// Whether nothing is missing.
#[must_use]
pub fn is_able(findings: &[Finding]) -> bool {
    findings.iter().all(|finding| finding.verdict != Verdict::Missing)
}

/// The findings as a table.
#[must_use]
pub fn table(findings: &[Finding]) -> String {
    let mut text = String::new();
    for Finding { name, verdict, found, reason, remedy } in findings {
        let mark = match verdict {
            Verdict::Ok => "ok     ",
            Verdict::Warning => "warning",
            Verdict::Missing => "MISSING",
        };
        text += &format!("{mark}  {name}: {found}\n");
        if *verdict != Verdict::Ok {
            text += &format!("         needed for: {reason}\n         remedy: {remedy}\n");
        }
    }
    text
}

fn finding(
    name: &'static str,
    reason: &'static str,
    result: Result<String, (String, String)>,
) -> Finding {
    match result {
        Ok(found) => Finding { name, verdict: Verdict::Ok, found, reason, remedy: String::new() },
        Err((found, remedy)) => Finding { name, verdict: Verdict::Missing, found, reason, remedy },
    }
}

fn kernel() -> Finding {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let release = release.trim();
    let remedy =
        "run Linux 5.9 or later with CONFIG_BPF_SYSCALL, CONFIG_BPF_JIT and CONFIG_INET".to_owned();
    let result = match is_program_supported(ProgramType::SkLookup) {
        Ok(true) => Ok(format!("sk_lookup programs (Linux {release})")),
        Ok(false) => Err((format!("Linux {release} has no sk_lookup programs"), remedy)),
        Err(error) => {
            Err((format!("could not ask Linux {release}: {error}"), "grant CAP_BPF".to_owned()))
        }
    };
    finding("kernel", "selecting the relay's listener for connections to a redirected port", result)
}

/// Bits of `CapEff`, linux/capability.h.
const CAPABILITIES: [(&str, u32, &str); 4] = [
    ("CAP_BPF", 39, "loading programs and creating maps"),
    ("CAP_NET_ADMIN", 12, "attaching programs to a network namespace"),
    ("CAP_PERFMON", 38, "the verifier's acceptance of pointer arithmetic in compiled Rust"),
    (
        "CAP_SYS_ADMIN",
        21,
        "entering a pod's network namespace to open sockets there; used for nothing else",
    ),
];

fn capabilities() -> Vec<Finding> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let effective = status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))
        .and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok())
        .unwrap_or(0);
    CAPABILITIES
        .into_iter()
        .map(|(name, bit, reason)| {
            let result = if effective & (1 << bit) != 0 {
                Ok("effective".to_owned())
            } else {
                let remedy = format!(
                    "run as root, or add {short} to the container's \
                     securityContext.capabilities.add",
                    short = name.trim_start_matches("CAP_")
                );
                Err(("not in the effective set".to_owned(), remedy))
            };
            finding(name, reason, result)
        })
        .collect()
}

fn enter_namespaces() -> Finding {
    // Entering the current namespace again changes nothing, and needs the same right.
    let result = fs::File::open("/proc/thread-self/ns/net")
        .and_then(|file| setns(file, CloneFlags::CLONE_NEWNET).map_err(io::Error::from))
        .map(|()| "setns works".to_owned())
        .map_err(|error| {
            (
                format!("setns: {error}"),
                "grant CAP_SYS_ADMIN; a seccomp profile must allow setns".to_owned(),
            )
        });
    finding("namespaces", "opening the relay's sockets inside a pod's network namespace", result)
}

fn load_program() -> Finding {
    let result = PodPrograms::load(&mut Loader::new(1))
        .map(|_| "the kernel's verifier accepts it".to_owned())
        .map_err(|error| {
            (
                error.to_string(),
                "see the rights above; if all are there, report this message as a bug".to_owned(),
            )
        });
    finding(
        "program",
        "redirecting connections; this is the real program, loaded and unloaded",
        result,
    )
}

fn netns_mounts() -> Finding {
    let name = "/run/netns";
    let reason = "finding namespaces by path; workloads with a `pid` do not need it";
    if Path::new(name).is_dir() {
        return finding(name, reason, Ok("exists".to_owned()));
    }
    Finding {
        name,
        verdict: Verdict::Warning,
        found: "the folder does not exist".to_owned(),
        reason,
        remedy: "the first `ip netns add` or the container runtime creates it; \
                 in a container, mount it from the host with mountPropagation: HostToContainer"
            .to_owned(),
    }
}

fn open_files() -> Finding {
    let reason = "two file descriptors for each stolen connection";
    let name = "open files";
    match OpenFiles::raise() {
        Ok(files) => {
            let connections = files.connections(1, 1, 1);
            let found = format!("limit {files}, enough for {connections} connections at a time");
            let (verdict, remedy) = if connections < 1_000 {
                (Verdict::Warning, "raise the hard limit (ulimit -Hn, LimitNOFILE=)".to_owned())
            } else {
                (Verdict::Ok, String::new())
            };
            Finding { name, verdict, found, reason, remedy }
        }
        Err(error) => finding(name, reason, Err((error.to_string(), "allow setrlimit".to_owned()))),
    }
}

async fn caller_address() -> Finding {
    let name = "caller's address";
    let reason =
        "showing the app the client's address on connections that the relay passes on to it";
    match Callers::new().await.state() {
        Ok(()) => finding(
            name,
            reason,
            Ok("kept: getpeername programs at the root of the cgroups".to_owned()),
        ),
        Err(error) => Finding {
            name,
            verdict: Verdict::Warning,
            found: format!("lost, the app sees the relay's: {}", error.reason()),
            reason,
            remedy: error.remedy().to_owned(),
        },
    }
}

/// A host that can't run the daemon. [`Display`](std::fmt::Display) lists each missing requirement
/// with its reason and remedy.
#[derive(Debug, thiserror::Error)]
#[error("{}", table(.0))]
pub struct Unable(Vec<Finding>);

/// Checks that the daemon can start, before it changes anything.
///
/// # Errors
/// Something is missing.
pub fn require() -> Result<(), Unable> {
    let missing: Vec<_> =
        needed().into_iter().filter(|finding| finding.verdict == Verdict::Missing).collect();
    if missing.is_empty() { Ok(()) } else { Err(Unable(missing)) }
}
