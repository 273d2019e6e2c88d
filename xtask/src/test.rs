//! All tests: unit tests in parallel, then those in network namespaces (in `<crate>/tests`), two at
//! a time.

use std::{
    env,
    io::{self, BufRead as _, BufReader, IsTerminal as _},
    process::{Command, Stdio},
    time::Instant,
};

use anyhow::{Context as _, Result, bail, ensure};

use crate::{
    build, cluster,
    heartbeat::{Heartbeat, forward_errors, step},
    image, peers, run,
    setup::{self, Group, h2spec, peers as installed},
};

// How long the parts take on two CPUs when everything is compiled.
const UNIT_TIME: &str = "some minutes";
const EXAMPLES_TIME: &str = "about a minute";
const SOCKETS_TIME: &str = "many minutes; each test prints a line when it ends";
const IMAGES_TIME: &str = "some minutes";

pub(crate) fn test(args: &[String]) -> Result<()> {
    setup::setup(&[Group::Test])?;
    // The unit tests build it, and run before the tests that start it.
    let daemon = build::target()?.join("debug/interceptor");

    let functions = cargo_test(&["--lib", "--bins"], args)?;
    let examples = cargo_test(&["--doc"], args)?;
    let mut sockets = cargo_test(&["--test", "*"], args)?;
    // More in parallel would compete for the CPUs and run into time-outs.
    if !args.iter().any(|arg| arg == "--") {
        sockets.arg("--");
    }
    sockets.arg("--test-threads=2").env("INTERCEPTOR_BIN", daemon);
    // The chart's tests render it.
    if env::var_os("HELM").is_none()
        && let Some(helm) = cluster::helm()?
    {
        sockets.env("HELM", helm);
    }
    if let Some(h2spec) = h2spec::find()? {
        sockets.env("H2SPEC", h2spec);
    }
    sockets.env(peers::HOME, installed::home()?);
    become_root(&mut sockets)?;

    let started = Instant::now();
    let (mut total, mut last, mut failed) = (Totals::default(), Vec::new(), Vec::new());
    for (what, expected, mut command) in [
        ("unit tests", UNIT_TIME, functions),
        ("examples in the documentation", EXAMPLES_TIME, examples),
        ("tests with real sockets in network namespaces", SOCKETS_TIME, sockets),
    ] {
        print_lines(&last);
        step(what, expected);
        let (success, tail) = run_tests(&mut command, &mut total)?;
        if !success {
            failed.push(what);
        }
        last = tail;
    }
    // Cargo's arguments do not apply to this test, so it runs only without arguments.
    if args.is_empty() {
        step("images for other architectures", IMAGES_TIME);
        if let Err(error) = image::test() {
            eprintln!("{error:#}");
            failed.push("images");
        }
    }
    eprintln!("== {total}, in {:.0?}", started.elapsed());
    print_lines(&last);
    ensure!(failed.is_empty(), "failed: {}", failed.join(", "));
    Ok(())
}

/// `cargo test` for some kinds of targets, always with the same packages: another set has other
/// features and compiles everything again.
pub(crate) fn cargo_test(targets: &[&str], args: &[String]) -> Result<Command> {
    let mut cargo = build::cargo()?;
    // Only the kernel programs build for another target, and only `cargo xtask e2e` has a cluster.
    // `--no-fail-fast` runs all test programs even if one fails.
    cargo.args([
        "test",
        "--workspace",
        "--exclude",
        "interceptor-ebpf",
        "--exclude",
        "interceptor-e2e",
        "--no-fail-fast",
    ]);
    cargo.args(targets).args(args);
    Ok(cargo)
}

/// With sudo, cargo starts each test program by it. In CI, a test that can't run is a failure.
pub(crate) fn become_root(command: &mut Command) -> Result<()> {
    if run::is_root() {
        if let Some(why) = testbed::why_not() {
            ensure!(
                env::var("CI").as_deref() != Ok("true"),
                "can't run the tests that need root: {why}"
            );
        }
        return Ok(());
    }
    match run::sudo() {
        Ok(_) => {
            let runner = format!(
                "CARGO_TARGET_{}_LINUX_GNU_RUNNER",
                env::consts::ARCH.to_uppercase() + "_UNKNOWN"
            );
            command.env(runner, "sudo --preserve-env");
            Ok(())
        }
        Err(error) if env::var("CI").as_deref() == Ok("true") => Err(error),
        Err(error) => {
            eprintln!("\nSKIPPED: the tests in network namespaces: {error:#}\n");
            Ok(())
        }
    }
}

/// Runs `cargo test`, adds up its results, and holds back its last lines for the end.
fn run_tests(command: &mut Command, total: &mut Totals) -> Result<(bool, Vec<String>)> {
    let shown = run::show(command);
    eprintln!("$ {shown}");
    let terminal = io::stderr().is_terminal();
    // On a terminal, cargo shows its progress itself.
    let heartbeat = (!terminal).then(|| Heartbeat::start(&run::shortened(&shown)));
    if !terminal {
        command.stderr(Stdio::piped());
    }
    // Cargo and the test harness don't colour output to a pipe.
    let mut child =
        command.stdout(Stdio::piped()).spawn().with_context(|| format!("run `{shown}`"))?;
    let errors = heartbeat.as_ref().and_then(|heartbeat| forward_errors(&mut child, heartbeat));
    let Some(stdout) = child.stdout.take() else { bail!("no output of `{shown}`") };
    let mut held_back = Vec::new();
    for line in BufReader::new(stdout).split(b'\n') {
        let line = line.with_context(|| format!("read the output of `{shown}`"))?;
        if let Some(heartbeat) = &heartbeat {
            heartbeat.activity().note();
        }
        let line = String::from_utf8_lossy(&line).into_owned();
        let is_result = total.add(&line);
        if is_result || line.is_empty() {
            held_back.push(line);
        } else {
            print_lines(&held_back);
            held_back.clear();
            println!("{line}");
        }
    }
    let status = child.wait().with_context(|| format!("wait for `{shown}`"))?;
    if let Some(errors) = errors {
        let _ = errors.join();
    }
    Ok((status.success(), held_back))
}

fn print_lines(lines: &[String]) {
    for line in lines {
        println!("{line}");
    }
}

/// The sum of all `test result:` lines.
#[derive(Debug, Default, PartialEq, Eq)]
struct Totals {
    programs: u32,
    passed: u32,
    failed: u32,
    ignored: u32,
}

impl Totals {
    /// Adds one line. Returns whether it has results.
    fn add(&mut self, line: &str) -> bool {
        let Some(line) = line.strip_prefix("test result: ") else { return false };
        let count = |word| {
            let mut words = line
                .split([' ', ';', '.'])
                .filter(|part| !part.is_empty())
                .collect::<Vec<_>>()
                .into_iter();
            let mut before = "";
            words
                .find_map(|part| {
                    if part == word {
                        Some(before)
                    } else {
                        before = part;
                        None
                    }
                })?
                .parse::<u32>()
                .ok()
        };
        self.programs += 1;
        self.passed += count("passed").unwrap_or_default();
        self.failed += count("failed").unwrap_or_default();
        self.ignored += count("ignored").unwrap_or_default();
        true
    }
}

impl std::fmt::Display for Totals {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { programs, passed, failed, ignored } = self;
        write!(
            f,
            "{passed} tests passed, {failed} failed, {ignored} ignored, in {programs} programs"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adds_up_the_results_of_cargo() {
        let mut totals = Totals::default();
        assert!(totals.add(
            "test result: ok. 11 passed; 0 failed; 2 ignored; 0 measured; 0 filtered out; finished in 0.91s"
        ));
        assert!(totals.add(
            "test result: FAILED. 3 passed; 4 failed; 0 ignored; 0 measured; 9 filtered out; finished in 1s"
        ));
        assert!(!totals.add("test adds_up ... ok"));
        assert_eq!(totals, Totals { programs: 2, passed: 14, failed: 4, ignored: 2 });
    }
}
