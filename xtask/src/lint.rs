//! Formatting, clippy for both sides, documentation, generated files. All of them run, so that one round shows everything.

use anyhow::{Result, ensure};

use crate::{build, demo, generate, run, setup};

pub(crate) fn lint() -> Result<()> {
    setup::setup(&[])?;
    let target = build::target()?;

    let mut format = build::cargo()?;
    format.args(["fmt", "--all", "--check"]);

    let mut host = build::cargo()?;
    host.args([
        "clippy",
        "--workspace",
        "--exclude",
        "interceptor-ebpf",
        "--all-targets",
        "--",
        "-D",
        "warnings",
    ]);

    // Apart from the rest: together, `std` and a second panic handler would come in by way of shared features.
    let mut kernel = build::cargo()?;
    kernel
        .args([
            "clippy",
            "-p",
            "interceptor-ebpf",
            "--target",
            "bpfel-unknown-none",
            "-Z",
            "build-std=core",
        ])
        .arg("--target-dir")
        .arg(target.join("ebpf-clippy"))
        .args(["--", "-D", "warnings"])
        .env("RUSTC_BOOTSTRAP", "1");

    let mut documentation = build::cargo()?;
    // Readers of these pages work on the code, so what is private belongs to them.
    documentation
        .args(["doc", "--no-deps", "--document-private-items"])
        .env("RUSTDOCFLAGS", "-D warnings");

    let mut failed = Vec::new();
    for (what, command) in [
        ("formatting (`cargo fmt` repairs it)", &mut format),
        ("clippy", &mut host),
        ("clippy of the kernel programs", &mut kernel),
        ("documentation", &mut documentation),
    ] {
        if run::run(command).is_err() {
            failed.push(what);
        }
    }
    if let Err(error) = generate::check() {
        eprintln!("{error:#}");
        failed.push("generated files (`cargo xtask gen` repairs them)");
    }
    if let Err(error) = demo::freshness::check() {
        eprintln!("{error:#}");
        failed.push("the recording of the demo");
    }
    ensure!(failed.is_empty(), "to be repaired: {}", failed.join(", "));
    Ok(())
}
