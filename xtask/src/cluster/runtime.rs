//! The container runtime of a node: Debian's containerd and runc, or newer ones built from their Go
//! modules (`cluster/runtime`). Pods with a user namespace of their own (`hostUsers: false`) need
//! containerd 2 and runc 1.2.

use std::{
    env, fmt,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail, ensure};
use clap::ValueEnum;

use super::{Part, State, images, state::Node};
use crate::{cache, go, run, setup};

/// The runtime of the nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Runtime {
    /// Debian's containerd and runc
    Debian,
    /// containerd 2 with its runc; built the first time
    #[value(name = "containerd-2")]
    Containerd2,
}

/// The link in the cluster's folder to the built programs.
const LINK: &str = "runtime";

const CONTAINERD: &str = "github.com/containerd/containerd/v2";
const RUNC: &str = "github.com/opencontainers/runc";

impl Runtime {
    /// The runtime that a cluster was started with.
    pub(crate) fn of(state: &State) -> Self {
        if state.join(LINK).exists() { Self::Containerd2 } else { Self::Debian }
    }

    /// The given runtime; by default that of the running cluster, or else Debian's.
    pub(crate) fn chosen(state: &State, wanted: Option<Self>) -> Result<Self> {
        if !Part::all(state).iter().any(|part| part.pid().is_some()) {
            return Ok(wanted.unwrap_or(Self::Debian));
        }
        let there = Self::of(state);
        match wanted {
            Some(wanted) if wanted != there => bail!(
                "the cluster that runs has the runtime {there}; \
                 `cargo xtask cluster down`, and then up with --runtime {wanted}"
            ),
            _ => Ok(there),
        }
    }

    /// Builds it if it is missing. Returns its folder, or `None` for Debian's.
    pub(crate) fn build(self) -> Result<Option<PathBuf>> {
        match self {
            Self::Debian => Ok(None),
            Self::Containerd2 => build().map(Some),
        }
    }

    /// Notes the runtime of the nodes: the folder that [`build`](Self::build) returned.
    pub(crate) fn note(state: &State, folder: Option<&Path>) -> Result<()> {
        let link = state.join(LINK);
        match folder {
            Some(folder) if !link.exists() => {
                symlink(folder, link).with_context(|| format!("link to {}", folder.display()))
            }
            _ => Ok(()),
        }
    }

    /// The words that start containerd on a node, after writing its settings to `config`.
    pub(crate) fn command(self, state: &State, config: &Path) -> Result<Vec<String>> {
        let config = format!("--config={}", config.display());
        match self {
            Self::Debian => {
                let program = run::find("containerd").context("find containerd")?;
                Ok(vec![program.display().to_string(), config])
            }
            Self::Containerd2 => {
                let folder = state.join(LINK);
                // containerd looks for its shim in PATH, and so does the shim for runc.
                let path = env::var("PATH").unwrap_or_default();
                Ok(vec![
                    "env".to_owned(),
                    format!("PATH={}:{path}", folder.display()),
                    folder.join("containerd").display().to_string(),
                    config,
                ])
            }
        }
    }

    /// containerd's settings.
    pub(crate) fn settings(self, node: &Node, cni: &Path) -> String {
        match self {
            Self::Debian => version_2(node, cni),
            Self::Containerd2 => version_3(node, cni),
        }
    }
}

impl fmt::Display for Runtime {
    /// The value on the command line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.to_possible_value().as_ref().map_or("", |value| value.get_name()))
    }
}

fn build() -> Result<PathBuf> {
    let source = run::workspace().join("cluster/runtime");
    let (containerd, runc) = (go::version(&source, CONTAINERD)?, go::version(&source, RUNC)?);
    let sum = go::checksum(&source, &["go.mod", "go.sum"])?;
    let home = cache::folder()?.join(format!("containerd-{containerd}-{sum}"));
    if home.exists() {
        return Ok(home);
    }
    setup::setup(&[setup::Group::Runtime])?;
    let go = go::compiler("containerd")?;
    eprintln!(
        "== building containerd {containerd} and runc {runc} with {}: about 4 minutes, once for \
         each version",
        go.display()
    );
    cache::keep(&home, |folder| {
        let mut build = Command::new(&go);
        // Leaves out features that need more libraries and that test clusters do not use.
        build.args(["build", "-trimpath", "-tags", "seccomp no_btrfs no_devmapper no_zfs"]);
        build.args([
            "-ldflags",
            &format!("-s -w -X {CONTAINERD}/version.Version=v{containerd}"),
            "-o",
        ]);
        build.arg(folder.join(""));
        build.args(
            ["containerd", "containerd-shim-runc-v2"]
                .map(|name| format!("{CONTAINERD}/cmd/{name}")),
        );
        build.arg(RUNC);
        // runc has parts in C, which run before Go's threads.
        build
            .env("CGO_ENABLED", "1")
            .env("GOFLAGS", "-mod=readonly -buildvcs=false")
            .current_dir(&source);
        run::run_silent(&mut build)?;
        for (program, version) in [("containerd", &containerd), ("runc", &runc)] {
            let printed = run::output(Command::new(folder.join(program)).arg("--version"))?;
            ensure!(
                printed.contains(version.as_str()),
                "{program} reports version {}",
                printed.trim()
            );
        }
        Ok(())
    })
    .context("build containerd and runc")?;
    Ok(home)
}

/// Settings of containerd 1.
fn version_2(node: &Node, cni: &Path) -> String {
    format!(
        r#"version = 2
root = "{folder}/containerd"
state = "{folder}/containerd-state"
disabled_plugins = [
  "io.containerd.internal.v1.opt", "io.containerd.internal.v1.tracing",
  "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs",
  "io.containerd.tracing.processor.v1.otlp",
]
[grpc]
  address = "{folder}/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{pause}"
  # In a container or virtual machine without CAP_SYS_RESOURCE, scores can only be raised.
  restrict_oom_score_adj = true
  disable_apparmor = true
  stream_server_address = "127.0.0.1"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{cni}"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      SystemdCgroup = false
      Root = "{folder}/runc"
"#,
        folder = node.folder.display(),
        pause = images::PAUSE,
        cni = cni.display(),
    )
}

/// Settings of containerd 2: the same under other names.
fn version_3(node: &Node, cni: &Path) -> String {
    format!(
        r#"version = 3
root = "{folder}/containerd"
state = "{folder}/containerd-state"
disabled_plugins = [
  "io.containerd.internal.v1.opt", "io.containerd.internal.v1.tracing",
  "io.containerd.snapshotter.v1.blockfile", "io.containerd.snapshotter.v1.erofs",
  "io.containerd.tracing.processor.v1.otlp",
]
[grpc]
  address = "{folder}/containerd.sock"
[plugins."io.containerd.nri.v1.nri"]
  disable = true
[plugins."io.containerd.grpc.v1.cri"]
  stream_server_address = "127.0.0.1"
[plugins."io.containerd.cri.v1.images".pinned_images]
  sandbox = "{pause}"
[plugins."io.containerd.cri.v1.runtime"]
  # In a container or virtual machine without CAP_SYS_RESOURCE, scores can only be raised.
  restrict_oom_score_adj = true
  disable_apparmor = true
  [plugins."io.containerd.cri.v1.runtime".cni]
    bin_dirs = ["/usr/lib/cni"]
    conf_dir = "{cni}"
  [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
      SystemdCgroup = false
      Root = "{folder}/runc"
"#,
        folder = node.folder.display(),
        pause = images::PAUSE,
        cni = cni.display(),
    )
}
