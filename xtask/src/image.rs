//! The container image: an archive of the OCI image layout with the static daemon, the certificate
//! authorities that TLS trusts, and licences. It needs no registry and no container engine, so it
//! works wherever the daemon builds. The same tree gives the same bytes on every machine.
//!
//! `Dockerfile` makes an image with the same content: it runs this command with `--rootfs` and
//! copies the files.
//!
//! `check.rs` reads every archive back and checks it before it is written.

mod build;
mod check;
mod licenses;
mod oci;
mod rootfs;
#[cfg(test)]
mod tests;

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use cargo_metadata::MetadataCommand;
use clap::Args;

use self::{
    oci::{Image, Reference},
    rootfs::Rootfs,
};
use crate::{arch::Arch, build as host, cargo, run};

/// The default name of the image. No registry has it.
const NAME: &str = "localhost/interceptor";

/// Maximum size of the archive, and of its content, in bytes.
const LIMIT: u64 = 20_000_000;

#[derive(Args)]
pub(crate) struct Options {
    /// Machine architecture; by default that of this machine
    #[arg(long, value_enum)]
    arch: Option<Arch>,
    /// Cargo profile of the daemon
    #[arg(long, default_value = build::FOR_USE)]
    profile: String,
    /// Name of the image, with its registry
    #[arg(long, default_value = NAME)]
    name: String,
    /// Tag of the image; by default the daemon's version
    #[arg(long)]
    tag: Option<String>,
    /// Path of the archive; by default `image/interceptor-<arch>.tar` in the target folder
    #[arg(long)]
    output: Option<PathBuf>,
    /// Also write the image's files below this folder, which must be empty or missing
    #[arg(long)]
    rootfs: Option<PathBuf>,
}

/// Makes the image and returns the path of its archive.
pub(crate) fn image(options: &Options) -> Result<PathBuf> {
    let arch = options.arch.map_or_else(Arch::host, Ok)?;
    let daemon = build::daemon(arch, &options.profile)?;
    let package = Package::read(arch)?;
    let rootfs = Rootfs::of_image(&daemon, &package.metadata)?;
    let tag = options.tag.clone().unwrap_or(package.version);
    let reference = Reference { name: options.name.clone(), tag };
    let archive = match &options.output {
        Some(output) => output.clone(),
        None => folder()?.join(format!("interceptor-{}.tar", arch.name())),
    };
    let limit = (options.profile == build::FOR_USE).then_some(LIMIT);
    pack(&Image { arch, reference, labels: package.labels }, &rootfs, &archive, limit)?;
    if let Some(folder) = &options.rootfs {
        rootfs.write_to(folder)?;
        eprintln!("{}: {} files, {}", folder.display(), rootfs.len(), megabytes(rootfs.size()));
    }
    Ok(archive)
}

/// Tests that images for other architectures can be made, without optimisation, which takes most of
/// the time. The cluster tests use the image for this architecture.
pub(crate) fn test() -> Result<()> {
    let host = Arch::host()?;
    Arch::ALL.into_iter().filter(|arch| *arch != host).try_for_each(|arch| cheap(arch).map(drop))
}

/// The image for tests on a cluster: the usual content with a daemon that is not optimised.
pub(crate) fn for_tests() -> Result<PathBuf> {
    cheap(Arch::host()?)
}

fn cheap(arch: Arch) -> Result<PathBuf> {
    image(&Options {
        arch: Some(arch),
        profile: build::CHECK.into(),
        output: Some(folder()?.join(format!("check-{}.tar", arch.name()))),
        ..Options::default()
    })
}

/// The image of a release, at a given path.
pub(crate) fn for_release(arch: Arch, version: &str, output: &Path) -> Result<()> {
    image(&Options {
        arch: Some(arch),
        tag: Some(version.into()),
        output: Some(output.into()),
        ..Options::default()
    })
    .map(drop)
}

/// The external packages in the image.
pub(crate) fn packages(arch: Arch) -> Result<Vec<cargo_metadata::Package>> {
    let package = Package::read(arch)?;
    Ok(licenses::linked(&package.metadata)?.into_iter().cloned().collect())
}

/// Makes the archive, reads it back, and only then writes it.
fn pack(image: &Image, rootfs: &Rootfs, path: &Path, limit: Option<u64>) -> Result<()> {
    let archive = image.archive(rootfs).context("make the image")?;
    let daemon = check::archive(&archive[..], image).context("the image has a fault")?;
    check::names_none(&daemon, &build::places()?)?;
    let (packed, unpacked) = (archive.len() as u64, rootfs.size());
    if let Some(limit) = limit {
        check::is_small(packed, unpacked, limit)?;
    }
    let runs = check::runs(image.arch, &daemon)?;
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).with_context(|| format!("make {}", folder.display()))?;
    }
    fs::write(path, archive).with_context(|| format!("write {}", path.display()))?;
    let (packed, unpacked) = (megabytes(packed), megabytes(unpacked));
    eprintln!("{}: {}, {packed}, unpacked {unpacked}, {runs}", path.display(), image.reference);
    Ok(())
}

/// The folder of the archives.
fn folder() -> Result<PathBuf> {
    Ok(host::target()?.join("image"))
}

#[expect(clippy::cast_precision_loss, reason = "shown with one digit")]
fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}

// === impl Options ===

impl Default for Options {
    fn default() -> Self {
        Self {
            arch: None,
            profile: build::FOR_USE.into(),
            name: NAME.into(),
            tag: None,
            output: None,
            rootfs: None,
        }
    }
}

/// What cargo reports about the daemon and its dependencies.
struct Package {
    version: String,
    labels: Vec<(&'static str, String)>,
    metadata: cargo_metadata::Metadata,
}

// === impl Package ===

impl Package {
    fn read(arch: Arch) -> Result<Self> {
        let metadata = MetadataCommand::new()
            .cargo_path(cargo::plain().get_program())
            .manifest_path(run::workspace().join("Cargo.toml"))
            .other_options(["--locked", "--filter-platform", arch.target()].map(String::from))
            .exec()
            .context("ask cargo for the dependencies of the daemon")?;
        let daemon = metadata
            .workspace_packages()
            .into_iter()
            .find(|package| package.name.as_str() == "interceptor")
            .context("the workspace has no package interceptor")?;
        let version = daemon.version.to_string();
        let optional = |key, value: &Option<String>| Some((key, value.clone()?));
        let labels = [
            Some(("org.opencontainers.image.title", "interceptor".to_owned())),
            optional("org.opencontainers.image.description", &daemon.description),
            optional("org.opencontainers.image.licenses", &daemon.license),
            optional("org.opencontainers.image.source", &daemon.repository),
            Some(("org.opencontainers.image.version", version.clone())),
        ];
        Ok(Self { version, labels: labels.into_iter().flatten().collect(), metadata })
    }
}
