//! Reads an archive back and checks it without the code that made it.

use std::{
    collections::BTreeMap,
    env, fs,
    io::Read,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
    process::{self, Command},
};

use anyhow::{Context as _, Result, bail, ensure};
use flate2::read::GzDecoder;
use object::{
    Architecture, Endianness, Object as _,
    elf::{DT_NEEDED, PT_INTERP},
    read::elf::{Dyn as _, ElfFile64, ProgramHeader as _},
};
use serde::de::DeserializeOwned;

use super::{
    oci::{
        CONFIG, CONTAINERD_NAME, Config, Descriptor, INDEX, Image, Index, LAYER, LAYOUT_VERSION,
        Layout, MANIFEST, Manifest, REF_NAME, blob_path, digest,
    },
    rootfs::Rootfs,
};
use crate::{arch::Arch, build, run};

/// Every path in the image, with its mode.
const CONTENT: [(&str, u32); 11] = [
    ("etc/", 0o755),
    ("etc/ssl/", 0o755),
    ("etc/ssl/certs/", 0o755),
    ("etc/ssl/certs/ca-certificates.crt", 0o644),
    ("interceptor", 0o755),
    ("licenses/", 0o755),
    ("licenses/LICENSE-APACHE", 0o644),
    ("licenses/LICENSE-GPL2", 0o644),
    ("licenses/LICENSE-MIT", 0o644),
    ("licenses/dependencies.txt", 0o644),
    ("licenses/rust-standard-library.html", 0o644),
];

/// Checks an archive and returns the daemon in it.
pub(crate) fn archive(archive: impl Read, expected: &Image) -> Result<Vec<u8>> {
    let mut blobs = unpack(archive)?
        .into_iter()
        .filter(|(path, _)| !path.ends_with('/'))
        .map(|(path, file)| (path, file.bytes))
        .collect::<BTreeMap<_, _>>();
    let layout: Layout = document(&take(&mut blobs, "oci-layout")?)?;
    ensure!(
        layout.image_layout_version == LAYOUT_VERSION,
        "layout {}",
        layout.image_layout_version
    );

    let index: Index = document(&take(&mut blobs, "index.json")?)?;
    ensure!(
        index.media_type == INDEX && index.schema_version == 2,
        "index.json has another media type or schema version"
    );
    let [manifest] = &index.manifests[..] else {
        bail!("{} images instead of one", index.manifests.len())
    };
    let name = |key| manifest.annotations.get(key).map(String::as_str).unwrap_or_default();
    ensure!(
        name(CONTAINERD_NAME) == expected.reference.to_string(),
        "its name is {}",
        name(CONTAINERD_NAME)
    );
    ensure!(name(REF_NAME) == expected.reference.tag, "its tag is {}", name(REF_NAME));
    ensure!(manifest.platform == Some(expected.platform()), "it is for {:?}", manifest.platform);

    let manifest: Manifest = document(&blob(&mut blobs, manifest, MANIFEST)?)?;
    let config: Config = document(&blob(&mut blobs, &manifest.config, CONFIG)?)?;
    ensure!(config.platform == expected.platform(), "the config is for {:?}", config.platform);
    ensure!(
        config.config.entrypoint == Image::entrypoint(),
        "it starts {:?}",
        config.config.entrypoint
    );
    for (key, value) in &expected.labels {
        ensure!(config.config.labels.get(*key) == Some(value), "label {key} is not {value:?}");
    }

    let [layer] = &manifest.layers[..] else {
        bail!("{} layers instead of one", manifest.layers.len())
    };
    let mut unpacked = Vec::new();
    let packed = blob(&mut blobs, layer, LAYER)?;
    GzDecoder::new(&packed[..]).read_to_end(&mut unpacked).context("decompress the layer")?;
    ensure!(
        config.rootfs.diff_ids == [digest(&unpacked)],
        "the config has the checksum of another layer"
    );
    ensure!(blobs.is_empty(), "no document refers to {:?}", blobs.keys());
    content(&unpacked, expected.arch)
}

/// Checks that the daemon contains no path of the machine that built it.
pub(crate) fn names_none(daemon: &[u8], places: &[(PathBuf, String)]) -> Result<()> {
    for (place, name) in places {
        ensure!(
            !names(daemon, place),
            "the daemon contains the path {}; it should be {name}",
            place.display()
        );
    }
    Ok(())
}

/// Whether a path in the daemon begins with a folder. Other paths may have `/src` in the middle.
fn names(daemon: &[u8], place: &Path) -> bool {
    let folder = [place.as_os_str().as_bytes(), b"/"].concat();
    let goes_on = |byte: u8| byte.is_ascii_alphanumeric() || b"._-/".contains(&byte);
    let mut found = daemon.windows(folder.len()).enumerate().filter(|(_, bytes)| *bytes == folder);
    found.any(|(at, _)| at == 0 || !goes_on(daemon[at - 1]))
}

/// Checks both sizes against the limit.
pub(crate) fn is_small(packed: u64, unpacked: u64, limit: u64) -> Result<()> {
    for (what, size) in [("the archive", packed), ("the content of the image", unpacked)] {
        ensure!(size <= limit, "{what} has {size} bytes; the maximum is {limit}");
    }
    Ok(())
}

/// Runs the daemon in an empty root, if this machine can, and describes the result.
pub(crate) fn runs(arch: Arch, daemon: &[u8]) -> Result<&'static str> {
    if arch.name() != env::consts::ARCH {
        return Ok("not run: this machine has another architecture");
    }
    let root = env::temp_dir().join(format!("interceptor-image-{}", process::id()));
    let mut alone = Rootfs::default();
    alone.add("interceptor", 0o755, daemon.to_vec());
    let result = alone.write_to(&root).and_then(|()| run_in(&root));
    let _ = fs::remove_dir_all(&root);
    result
}

fn run_in(root: &Path) -> Result<&'static str> {
    let in_ci = env::var("CI").as_deref() == Ok("true");
    // Building an image must not ask a user for a password.
    let sudo = if run::is_root() || in_ci { Some(build::sudo()?) } else { None };
    let (mut command, how) = match (sudo, run::find("chroot")) {
        (Some(sudo), Some(chroot)) => {
            let words = sudo.into_iter().chain([chroot.into(), root.into(), "/interceptor".into()]);
            let words = words.collect::<Vec<_>>();
            let mut command = Command::new(&words[0]);
            command.args(&words[1..]);
            (command, "runs in an empty root")
        }
        _ if in_ci => bail!("there is no chroot to run the daemon in"),
        _ => (
            Command::new(root.join("interceptor")),
            "runs (root would also try it in an empty root)",
        ),
    };
    let output = run::output(command.arg("--version").env_clear())?;
    ensure!(output.starts_with("interceptor "), "`interceptor --version` printed {output:?}");
    Ok(how)
}

/// Checks that the layer has exactly the expected files, and returns the daemon.
fn content(layer: &[u8], arch: Arch) -> Result<Vec<u8>> {
    let mut files = unpack(layer)?;
    let found = files.iter().map(|(path, file)| (path.as_str(), file.mode)).collect::<Vec<_>>();
    ensure!(found == CONTENT, "it has {found:?}");

    let mut bytes = |path: &str| files.remove(path).map(|file| file.bytes).unwrap_or_default();
    let authorities = bytes("etc/ssl/certs/ca-certificates.crt");
    let authorities =
        String::from_utf8_lossy(&authorities).matches("-----BEGIN CERTIFICATE-----").count();
    ensure!(authorities > 50, "only {authorities} authorities");
    let dependencies = bytes("licenses/dependencies.txt");
    for name in ["tokio ", "aya ", "musl libc"] {
        let found =
            String::from_utf8_lossy(&dependencies).lines().any(|line| line.starts_with(name));
        ensure!(found, "the list of licences lacks {name}");
    }
    let daemon = bytes("interceptor");
    is_static(&daemon, arch)?;
    Ok(daemon)
}

/// Checks that a program is for this architecture and needs no interpreter and no library. It has a
/// dynamic section all the same: the program relocates itself to a random address with it.
fn is_static(program: &[u8], arch: Arch) -> Result<()> {
    let elf = ElfFile64::<Endianness>::parse(program).context("read the daemon's headers")?;
    let machine = match arch {
        Arch::X86_64 => Architecture::X86_64,
        Arch::Aarch64 => Architecture::Aarch64,
    };
    ensure!(elf.architecture() == machine, "the daemon is for {:?}", elf.architecture());
    let endian = elf.endian();
    for segment in elf.elf_program_headers() {
        ensure!(segment.p_type(endian) != PT_INTERP, "the daemon needs an interpreter");
        let Some(dynamic) =
            segment.dynamic(endian, program).context("read the daemon's dynamic section")?
        else {
            continue;
        };
        let needs = dynamic.iter().any(|entry| entry.tag(endian) == DT_NEEDED);
        ensure!(!needs, "the daemon needs libraries");
    }
    Ok(())
}

#[derive(Debug)]
struct Unpacked {
    mode: u32,
    bytes: Vec<u8>,
}

/// Every entry of a tar file. Paths of folders end with a slash.
fn unpack(file: impl Read) -> Result<BTreeMap<String, Unpacked>> {
    let mut found = BTreeMap::new();
    for entry in tar::Archive::new(file).entries()? {
        let mut entry = entry.context("read the archive")?;
        let header = entry.header();
        let path = String::from_utf8(entry.path_bytes().into_owned())
            .context("a path that is not UTF-8")?;
        let anonymous = (header.uid()?, header.gid()?, header.mtime()?) == (0, 0, 0);
        ensure!(anonymous, "{path} has a time or an owner");
        ensure!(
            header.entry_type().is_file() || header.entry_type().is_dir(),
            "{path} is neither a file nor a folder"
        );
        let mode = header.mode()?;
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).with_context(|| format!("read {path}"))?;
        let last = found.last_key_value().map(|(last, _): (&String, _)| last);
        ensure!(last.is_none_or(|last| *last < path), "{path} is not in order, or there twice");
        found.insert(path, Unpacked { mode, bytes });
    }
    Ok(found)
}

/// The blob that a descriptor points to.
fn blob(
    blobs: &mut BTreeMap<String, Vec<u8>>,
    descriptor: &Descriptor,
    media_type: &str,
) -> Result<Vec<u8>> {
    ensure!(
        descriptor.media_type == media_type,
        "{} instead of {media_type}",
        descriptor.media_type
    );
    let bytes = take(blobs, &blob_path(&descriptor.digest))?;
    ensure!(
        digest(&bytes) == descriptor.digest,
        "{} has a checksum other than its name",
        descriptor.digest
    );
    let size = bytes.len() as u64;
    ensure!(
        size == descriptor.size,
        "{} has {size} bytes, not {}",
        descriptor.digest,
        descriptor.size
    );
    Ok(bytes)
}

fn take(blobs: &mut BTreeMap<String, Vec<u8>>, path: &str) -> Result<Vec<u8>> {
    blobs.remove(path).with_context(|| format!("no {path} in it"))
}

fn document<T: DeserializeOwned>(bytes: &[u8]) -> Result<T> {
    serde_json::from_slice(bytes).context("read a document in it")
}
