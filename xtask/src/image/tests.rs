//! These archives contain a program of headers only. `cargo xtask image` checks the daemon itself.
//! Most tests break an archive and expect an error that names the fault.

use std::{
    env, fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process,
    sync::LazyLock,
};

use super::*;

/// Cargo takes a while to report it.
static PACKAGE: LazyLock<Package> =
    LazyLock::new(|| Package::read(Arch::X86_64).expect("cargo knows the workspace"));

#[test]
fn an_archive_is_what_it_was_made_of_and_the_same_each_time() -> Result<()> {
    for arch in Arch::ALL {
        let (image, rootfs) = (image(arch), rootfs(&program(arch))?);
        let archive = image.archive(&rootfs)?;
        assert_eq!(archive, image.archive(&rootfs)?);
        assert_eq!(check(&archive, &image)?, program(arch));
    }
    Ok(())
}

#[test]
fn another_reference_or_label_is_a_fault() -> Result<()> {
    let made = image(Arch::X86_64);
    let archive = made.archive(&rootfs(&program(Arch::X86_64))?)?;
    let mut other = image(Arch::X86_64);
    other.reference.tag = "2".into();
    assert_fault(&archive, &other, "its name is localhost/interceptor:0.1.0");
    let mut other = image(Arch::X86_64);
    other.labels.push(("org.opencontainers.image.url", "somewhere".into()));
    assert_fault(&archive, &other, "label org.opencontainers.image.url is not");
    assert_fault(
        &archive,
        &image(Arch::Aarch64),
        "it is for Some(Platform { architecture: \"amd64\"",
    );
    Ok(())
}

#[test]
fn a_file_too_many_or_with_another_mode_is_a_fault() -> Result<()> {
    let image = image(Arch::X86_64);
    let good = rootfs(&program(Arch::X86_64))?;

    let mut more = good.clone();
    more.add("bin/sh", 0o755, Vec::new());
    assert_fault(&image.archive(&more)?, &image, r#"it has [("bin/", 493), ("bin/sh", 493)"#);

    let mut open = good;
    open.add("interceptor", 0o4755, program(Arch::X86_64));
    assert_fault(&image.archive(&open)?, &image, "it has [");
    Ok(())
}

#[test]
fn a_program_that_names_the_builders_folders_is_a_fault() {
    let places = [(PathBuf::from("/src"), "/interceptor".to_owned())];
    let fault = check::names_none(b"\0/src/main.rs\0", &places).expect_err("the path is in it");
    assert_eq!(fault.to_string(), "the daemon contains the path /src; it should be /interceptor");
    for other in ["/interceptor/src/main.rs", "\0/srclib/", "../src/main.rs"] {
        check::names_none(other.as_bytes(), &places).expect("is no such path");
    }
}

#[test]
fn a_program_that_needs_others_is_a_fault() -> Result<()> {
    let image = image(Arch::host()?);
    // This test program is linked dynamically.
    let dynamic = fs::read(env::current_exe()?)?;
    assert_fault(&image.archive(&rootfs(&dynamic)?)?, &image, "the daemon needs an interpreter");
    Ok(())
}

#[test]
fn a_program_for_other_machines_is_a_fault() -> Result<()> {
    let image = image(Arch::Aarch64);
    let archive = image.archive(&rootfs(&program(Arch::X86_64))?)?;
    assert_fault(&archive, &image, "the daemon is for X86_64");
    Ok(())
}

#[test]
fn a_byte_that_changed_is_a_fault() -> Result<()> {
    let image = image(Arch::X86_64);
    let archive = image.archive(&rootfs(&program(Arch::X86_64))?)?;
    let layer = archive.windows(2).position(|bytes| bytes == [0x1f, 0x8b]).context("no layer")?;
    let mut broken = archive;
    broken[layer + 100] ^= 1;
    assert_fault(&broken, &image, "has a checksum other than its name");
    Ok(())
}

#[test]
fn more_than_the_limit_is_a_fault() -> Result<()> {
    check::is_small(9, 10, 10)?;
    let fault = check::is_small(9, 11, 10).expect_err("a byte too many");
    assert_eq!(fault.to_string(), "the content of the image has 11 bytes; the maximum is 10");
    let fault = check::is_small(11, 9, 10).expect_err("a byte too many");
    assert_eq!(fault.to_string(), "the archive has 11 bytes; the maximum is 10");
    Ok(())
}

#[test]
fn the_tree_is_written_with_modes_and_only_where_nothing_is() -> Result<()> {
    let scratch = Scratch::new("tree")?;
    let root = scratch.0.join("root");
    let rootfs = rootfs(&program(Arch::X86_64))?;
    rootfs.write_to(&root)?;
    for (path, mode) in [
        ("interceptor", 0o755),
        ("etc/ssl/certs", 0o755),
        ("etc/ssl/certs/ca-certificates.crt", 0o644),
    ] {
        let found = fs::metadata(root.join(path))?.permissions().mode() & 0o7777;
        assert_eq!(found, mode, "{path}");
    }
    assert_eq!(fs::read(root.join("interceptor"))?, program(Arch::X86_64));
    let fault = rootfs.write_to(&root).expect_err("something is there").to_string();
    assert!(fault.contains("is not empty"), "{fault}");
    Ok(())
}

#[test]
fn every_dependency_has_a_licence() -> Result<()> {
    let text = licenses::dependencies(&PACKAGE.metadata)?;
    let list = text.split("\n\n").nth(1).context("no list")?;
    assert!(list.lines().count() > 50, "{list}");
    for line in list.lines() {
        assert!(line.split_whitespace().count() >= 3, "no licence: {line}");
    }
    for text_of in ["Rich Felker", "Tokio Contributors", "Community Data License Agreement"] {
        assert!(text.contains(text_of), "no text of {text_of}");
    }
    Ok(())
}

/// `docker build` can't read the code, so a test compares the Dockerfile with it.
#[test]
fn the_dockerfile_says_the_same() -> Result<()> {
    let file = fs::read_to_string(run::workspace().join("Dockerfile"))?;
    let lines = |instruction: &str| {
        let found = file.lines().filter_map(|line| line.strip_prefix(instruction));
        found.map(|rest| rest.trim().to_owned()).collect::<Vec<_>>()
    };
    let labels =
        PACKAGE.labels.iter().map(|(key, value)| format!("{key}=\"{value}\"")).collect::<Vec<_>>();
    assert_eq!(lines("LABEL"), labels);
    assert_eq!(lines("ENTRYPOINT"), [serde_json::to_string(&Image::entrypoint())?]);
    let pinned = crate::setup::rust::pinned()?;
    let from = lines("FROM");
    assert!(
        from[0].contains(&format!("/rust:{pinned}-")),
        "{from:?}, but the compiler is {pinned}"
    );
    assert_eq!(from[1..], ["scratch"]);
    Ok(())
}

fn image(arch: Arch) -> Image {
    Image {
        arch,
        reference: Reference { name: "localhost/interceptor".into(), tag: "0.1.0".into() },
        labels: vec![("org.opencontainers.image.title", "interceptor".into())],
    }
}

/// The content of an image with this program.
fn rootfs(program: &[u8]) -> Result<Rootfs> {
    Rootfs::of_image(program, &PACKAGE.metadata)
}

/// The ELF headers of a program that needs nothing and does nothing.
fn program(arch: Arch) -> Vec<u8> {
    let machine = match arch {
        Arch::X86_64 => 62,
        Arch::Aarch64 => 183,
    };
    let mut header = b"\x7fELF\x02\x01\x01".to_vec();
    header.resize(64, 0);
    for (at, byte) in [(16, 3), (18, machine), (20, 1), (52, 64), (54, 56), (58, 64)] {
        header[at] = byte;
    }
    header
}

fn assert_fault(archive: &[u8], expected: &Image, what: &str) {
    let fault = format!("{:#}", check(archive, expected).expect_err("something is wrong with it"));
    assert!(fault.contains(what), "{what:?} is not in {fault:?}");
}

fn check(archive: &[u8], expected: &Image) -> Result<Vec<u8>> {
    check::archive(archive, expected)
}

/// A folder for one test.
struct Scratch(PathBuf);

// === impl Scratch ===

impl Scratch {
    fn new(name: &str) -> Result<Self> {
        let path = env::temp_dir().join(format!("interceptor-image-test-{}-{name}", process::id()));
        fs::create_dir(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(Path::new(&self.0));
    }
}
