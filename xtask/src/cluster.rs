//! A real Kubernetes on this machine: etcd, API server, controllers, scheduler, and one or two
//! nodes with kubelet, containerd, runc and CNI. It needs no image registry. `cluster/README.md`
//! describes its parts.

mod addresses;
mod archive;
mod before;
mod binaries;
mod control_plane;
mod families;
mod foreign;
mod images;
mod kubectl;
mod network;
mod node;
mod part;
mod pki;
mod remove;
mod runtime;
mod state;
mod status;
mod up;

use std::{
    env,
    ffi::OsString,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};
use clap::Subcommand;

pub(crate) use self::{binaries::helm, runtime::Runtime, state::State};
use self::{families::Families, part::Part};
use crate::{
    heartbeat::step,
    image, run,
    setup::{self, Group},
};

#[derive(Subcommand)]
pub(crate) enum Action {
    /// Start the cluster; what already runs stays as it is
    Up {
        /// Number of nodes
        #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=2))]
        nodes: u8,
        /// Container runtime; by default that of the running cluster, or else Debian's
        #[arg(long)]
        runtime: Option<Runtime>,
        /// Archive with the image of interceptor; by default `cargo xtask image` makes it
        #[arg(long, env = "INTERCEPTOR_IMAGE")]
        image: Option<PathBuf>,
    },
    /// Stop the cluster, and remove everything that it left on the machine
    Down,
    /// Show nodes, pods, and the processes of the cluster itself
    Status,
    /// Load images into every node: archives of `docker save` or `cargo xtask image`
    Load {
        #[arg(required = true)]
        archives: Vec<PathBuf>,
    },
    /// Stop a part of the cluster, to watch the effect; `status` lists the parts
    Stop {
        /// Such as `apiserver` or `node1-kubelet`
        part: String,
        /// Stop it at once, by SIGKILL
        #[arg(long)]
        kill: bool,
    },
    /// Start a part again
    Start { part: String },
}

pub(crate) fn cluster(action: &Action) -> Result<()> {
    let state = State::default();
    if let Action::Up { nodes, runtime, image } = action {
        return up(&state, *nodes, *runtime, image.as_deref());
    }
    if !run::is_root() {
        return again_as_root(action, &[]);
    }
    match action {
        Action::Up { .. } => Ok(()),
        Action::Down => remove::remove(&state),
        Action::Status => status::status(&state),
        Action::Load { archives } => {
            archives.iter().try_for_each(|archive| images::load(&state, archive))
        }
        Action::Stop { part, kill } => Part::named(&state, part)?.stop(*kill),
        Action::Start { part } => start_again(&state, part),
    }
}

fn start_again(state: &State, part: &str) -> Result<()> {
    Part::named(state, part)?.start_again()?;
    if part == "apiserver" {
        control_plane::wait_for_api(state)?;
        // With leader election, these two would lose their lease now and start again. Ours have no
        // election, and would retry only after up to a minute.
        for part in ["controllers", "scheduler"] {
            let part = Part::named(state, part)?;
            part.stop(true)?;
            part.start_again()?;
        }
    }
    Ok(())
}

/// Whether there is a cluster, as far as a user other than root can see.
pub(crate) fn is_there() -> bool {
    State::default().exists()
}

/// kubectl or helm, as the cluster's admin.
pub(crate) fn client(program: &str) -> Command {
    kubectl::client(&State::default(), program)
}

/// Builds what is missing as the current user, then continues as root.
fn up(state: &State, nodes: u8, runtime: Option<Runtime>, image: Option<&Path>) -> Result<()> {
    let runtime = Runtime::chosen(state, runtime)?;
    if let (Some(binaries), Some(image)) = (env::var_os(state::PREPARED), image) {
        let runtime = env::var_os(state::PREPARED_RUNTIME).map(PathBuf::from);
        return up::up(state, nodes, Path::new(&binaries), runtime.as_deref(), image);
    }
    setup::setup(&[Group::Cluster])?;
    let binaries = binaries::build()?;
    let folder = runtime.build()?;
    step("the cluster's own images", "seconds; a minute when they are new");
    images::build()?;
    let image = match image {
        Some(image) => image.to_owned(),
        None => {
            let expected = "some minutes after a change of the daemon, because it is optimised";
            step("the image of interceptor", expected);
            image::image(&image::Options::default())?
        }
    };
    if run::is_root() {
        return up::up(state, nodes, &binaries, folder.as_deref(), &image);
    }
    let mut prepared = vec![(state::PREPARED, binaries)];
    prepared.extend(folder.map(|folder| (state::PREPARED_RUNTIME, folder)));
    again_as_root(&Action::Up { nodes, runtime: Some(runtime), image: Some(image) }, &prepared)
}

/// The user builds, which fills the user's caches. The cluster itself needs root.
fn again_as_root(action: &Action, variables: &[(&str, PathBuf)]) -> Result<()> {
    let words = run::sudo()?;
    let own = env::current_exe().context("find the running program")?;
    let mut again = Command::new(&words[0]);
    again.args(variables.iter().map(|(key, value)| format!("{key}={}", value.display())));
    again.arg(own).arg("cluster").args(action.words());
    run::run(&mut again)
}

// === impl Action ===

impl Action {
    /// The words of the command line.
    fn words(&self) -> Vec<OsString> {
        match self {
            Self::Up { nodes, runtime, image } => {
                let runtime = runtime.map(|runtime| format!("--runtime={runtime}").into());
                let image = image.iter().flat_map(|image| ["--image".into(), image.clone().into()]);
                ["up".into(), format!("--nodes={nodes}").into()]
                    .into_iter()
                    .chain(runtime)
                    .chain(image)
                    .collect()
            }
            Self::Down => vec!["down".into()],
            Self::Status => vec!["status".into()],
            Self::Load { archives } => std::iter::once("load".into())
                .chain(archives.iter().map(|path| path.clone().into()))
                .collect(),
            Self::Stop { part, kill } => {
                let kill = kill.then(|| "--kill".into());
                ["stop".into(), part.into()].into_iter().chain(kill).collect()
            }
            Self::Start { part } => vec!["start".into(), part.into()],
        }
    }
}
