//! Style and rules, check by check. All of them run even if one fails, so that one round shows
//! everything.

mod circles;
mod dependencies;
mod floors;
mod go_code;
mod imports;
mod lexer;
mod prose;
mod structure;
mod unsafe_code;

use std::time::Instant;

use anyhow::{Result, bail, ensure};
use clap::{Args, ValueEnum};

use crate::{
    build, demo, generate, run,
    setup::{self, linters::Linter},
};

#[derive(Args, Default)]
pub(crate) struct Options {
    /// Only these checks
    #[arg(value_enum)]
    checks: Vec<Check>,
}

/// The checks, the quick ones first. Each names the command that repairs its findings, if there is
/// one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Check {
    /// rustfmt; `cargo fmt` repairs it
    Format,
    /// Imports: no circles between files and modules, none that leads up a floor
    Structure,
    /// The style of comments, messages and documents
    Prose,
    /// Spelling, by typos; `typos.toml` has the exceptions
    Spelling,
    /// Markdown, by rumdl, with links between files; `.rumdl.toml` has the rules
    Markdown,
    /// Licences, bans and sources of dependencies, by `deny.toml`
    Dependencies,
    /// Workflows, by actionlint and zizmor
    Workflows,
    /// Go: gofmt, which `gofmt -w` repairs, and `go vet` for the peer matrix
    Go,
    /// Generated files; `cargo xtask gen` repairs them
    Generated,
    /// The demo's recording is up to date; `cargo xtask demo --record` makes a new one
    Recording,
    /// Clippy
    Clippy,
    /// Clippy for the kernel programs
    ClippyKernel,
    /// The documentation builds without warnings
    Docs,
}

pub(crate) fn lint(options: &Options) -> Result<()> {
    setup::setup(&[])?;
    let mut failed = Vec::new();
    for check in Check::value_variants() {
        if !options.checks.is_empty() && !options.checks.contains(check) {
            continue;
        }
        let name = check.to_possible_value().map(|value| value.get_name().to_owned());
        let name = name.unwrap_or_default();
        let started = Instant::now();
        match check.run() {
            Ok(()) => eprintln!("lint {name}: passed in {:.1?}", started.elapsed()),
            Err(error) => {
                eprintln!("lint {name}: {error:#}");
                failed.push(name);
            }
        }
    }
    ensure!(failed.is_empty(), "failed: {0}; again: `cargo xtask lint {0}`", failed.join(" "));
    Ok(())
}

// === impl Check ===

impl Check {
    fn run(self) -> Result<()> {
        match self {
            Self::Format => run::run(build::cargo()?.args(["fmt", "--all", "--check"])),
            Self::Structure => findings(&structure::find(run::workspace())?),
            Self::Prose => findings(&prose::find(run::workspace())?),
            Self::Spelling => run::run(Linter::Typos.command()?.args(["--format", "brief"])),
            Self::Markdown => run::run(Linter::Rumdl.command()?.args(["check", "--quiet", "."])),
            Self::Dependencies => findings(&dependencies::find(run::workspace())?),
            Self::Workflows => workflows(),
            Self::Go => go_code::check(run::workspace()),
            Self::Generated => generate::check(),
            Self::Recording => demo::freshness::check(),
            Self::Clippy => clippy(),
            Self::ClippyKernel => clippy_kernel(),
            Self::Docs => docs(),
        }
    }
}

/// Shows what was found, which is an error.
fn findings(found: &[String]) -> Result<()> {
    for finding in found {
        eprintln!("{finding}");
    }
    if found.is_empty() { Ok(()) } else { bail!("{} findings", found.len()) }
}

fn workflows() -> Result<()> {
    run::run(&mut Linter::Actionlint.command()?)?;
    // Without `--offline`, it asks GitHub about the actions.
    let options = ["--offline", "--no-progress", "--quiet", "--min-severity=medium"];
    run::run(Linter::Zizmor.command()?.args(options).arg(".github"))
}

fn clippy() -> Result<()> {
    let mut clippy = build::cargo()?;
    clippy.args(["clippy", "--workspace", "--exclude", "interceptor-ebpf", "--all-targets"]);
    run::run(clippy.args(["--", "-D", "warnings"]))
}

/// Apart from the rest: built together, shared features would bring in `std` and a second panic
/// handler.
fn clippy_kernel() -> Result<()> {
    let mut clippy = build::cargo()?;
    clippy.args(["clippy", "-p", "interceptor-ebpf", "--target", "bpfel-unknown-none"]);
    clippy.args(["-Z", "build-std=core", "--target-dir"]).arg(build::target()?.join("ebpf-clippy"));
    run::run(clippy.args(["--", "-D", "warnings"]).env("RUSTC_BOOTSTRAP", "1"))
}

/// With private items: readers of these pages work on the code.
fn docs() -> Result<()> {
    let mut docs = build::cargo()?;
    docs.args(["doc", "--no-deps", "--document-private-items"]);
    run::run(docs.env("RUSTDOCFLAGS", "-D warnings"))
}
