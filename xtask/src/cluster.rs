//! A real Kubernetes on this one machine: etcd, API server, controllers, scheduler, and one or two nodes with kubelet,
//! containerd, runc and CNI. It needs no image registry. `cluster/README.md` tells what it is made of.

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
    image, run,
    setup::{self, Group},
};

#[derive(Subcommand)]
pub(crate) enum Action {
    /// Start it; what runs already stays as it is
    Up {
        /// How many nodes
        #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=2))]
        nodes: u8,
        /// What runs the pods; if not given, what the cluster has that is up, or else Debian's
        #[arg(long)]
        runtime: Option<Runtime>,
        /// An archive with interceptor's image; `cargo xtask image` makes it if not given
        #[arg(long, env = "INTERCEPTOR_IMAGE")]
        image: Option<PathBuf>,
    },
    /// End it, and remove all that it left on the machine
    Down,
    /// Nodes, pods, and the processes of the cluster itself
    Status,
    /// Give images to every node: archives as `docker save` or `cargo xtask image` write them
    Load {
        #[arg(required = true)]
        archives: Vec<PathBuf>,
    },
    /// End a part of it, to see what happens then; `status` lists the parts
    Stop {
        /// Such as `apiserver` or `node1-kubelet`
        part: String,
        /// At once, by SIGKILL
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
        // Where several take turns, these lose their lease and start anew; ours would ask again after up to a minute.
        for part in ["controllers", "scheduler"] {
            let part = Part::named(state, part)?;
            part.stop(true)?;
            part.start_again()?;
        }
    }
    Ok(())
}

/// Whether it is up, as far as can be seen without root.
pub(crate) fn is_there() -> bool {
    State::default().exists()
}

/// kubectl or helm, as the cluster's admin.
pub(crate) fn client(program: &str) -> Command {
    kubectl::client(&State::default(), program)
}

/// Builds what is not built yet as the user that we are, and goes on as root.
fn up(state: &State, nodes: u8, runtime: Option<Runtime>, image: Option<&Path>) -> Result<()> {
    let runtime = Runtime::chosen(state, runtime)?;
    if let (Some(binaries), Some(image)) = (env::var_os(state::PREPARED), image) {
        let runtime = env::var_os(state::PREPARED_RUNTIME).map(PathBuf::from);
        return up::up(state, nodes, Path::new(&binaries), runtime.as_deref(), image);
    }
    setup::setup(&[Group::Cluster])?;
    let binaries = binaries::build()?;
    let folder = runtime.build()?;
    images::build()?;
    let image = image
        .map_or_else(|| image::image(&image::Options::default()), |image| Ok(image.to_owned()))?;
    if run::is_root() {
        return up::up(state, nodes, &binaries, folder.as_deref(), &image);
    }
    let mut prepared = vec![(state::PREPARED, binaries)];
    prepared.extend(folder.map(|folder| (state::PREPARED_RUNTIME, folder)));
    again_as_root(&Action::Up { nodes, runtime: Some(runtime), image: Some(image) }, &prepared)
}

/// Building is for the user, whose caches it fills; the cluster itself needs root.
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
    /// As they are typed.
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
