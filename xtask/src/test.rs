//! All tests in two runs: those of functions side by side, then those that build network namespaces, two at a time.

use std::{
    env,
    io::{BufRead as _, BufReader},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};

use crate::{
    build::{self, Profile},
    run,
    setup::{self, Group},
};

/// The packages whose tests need root, and time on the processor for themselves.
const PRIVILEGED: [&str; 2] = ["testbed", "interceptor-tests"];

pub(crate) fn test(args: &[String]) -> Result<()> {
    setup::setup(&[Group::Test])?;
    let folder = build::build(&["interceptor"], Profile::Dev)?;
    let daemon = folder.join("interceptor");

    let mut functions = build::cargo()?;
    functions.args(["test", "--workspace", "--exclude", "interceptor-ebpf"]);
    functions.args(PRIVILEGED.iter().flat_map(|package| ["--exclude", package]));
    functions.args(args);

    let mut sockets = build::cargo()?;
    sockets.arg("test").args(PRIVILEGED.iter().flat_map(|package| ["-p", package]));
    sockets.args(args);
    // More at a time would only fight for the processor, and time-outs would be about that.
    if !args.iter().any(|arg| arg == "--") {
        sockets.arg("--");
    }
    sockets.arg("--test-threads=2").env("INTERCEPTOR_BIN", &daemon);
    become_root(&mut sockets)?;

    let started = Instant::now();
    let (mut total, mut last) = (Totals::default(), Vec::new());
    let mut passed = true;
    for (what, command) in
        [("functions", &mut functions), ("real sockets in network namespaces", &mut sockets)]
    {
        eprintln!("== tests of {what}");
        let held_back = std::mem::take(&mut last);
        print_lines(&held_back);
        let (success, tail) = run_tests(command, &mut total)?;
        passed &= success;
        last = tail;
    }
    eprintln!("== {total}, in {:.0?}", Duration::from_secs(started.elapsed().as_secs()));
    print_lines(&last);
    ensure!(passed, "some tests failed");
    Ok(())
}

/// For a user with sudo, cargo starts each test program by it. In CI, a test that can't run has failed.
fn become_root(command: &mut Command) -> Result<()> {
    if run::is_root() {
        if let Some(why) = testbed::why_not() {
            ensure!(env::var("CI").as_deref() != Ok("true"), "can't run the tests that need root: {why}");
        }
        return Ok(());
    }
    match build::sudo() {
        Ok(_) => {
            let runner =
                format!("CARGO_TARGET_{}_LINUX_GNU_RUNNER", env::consts::ARCH.to_uppercase() + "_UNKNOWN");
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

/// Runs `cargo test`, adds up, and holds back its last lines for the end.
fn run_tests(command: &mut Command, total: &mut Totals) -> Result<(bool, Vec<String>)> {
    let shown = run::show(command);
    eprintln!("$ {shown}");
    // Other than in a terminal, cargo and the test harness don't colour what goes into a pipe.
    let mut child = command.stdout(Stdio::piped()).spawn().with_context(|| format!("run `{shown}`"))?;
    let Some(stdout) = child.stdout.take() else { bail!("no output of `{shown}`") };
    let mut held_back = Vec::new();
    for line in BufReader::new(stdout).lines() {
        let line = line.with_context(|| format!("read the output of `{shown}`"))?;
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
    /// Adds one line, if it is such a line.
    fn add(&mut self, line: &str) -> bool {
        let Some(line) = line.strip_prefix("test result: ") else { return false };
        let count = |word| {
            let mut words =
                line.split([' ', ';', '.']).filter(|part| !part.is_empty()).collect::<Vec<_>>().into_iter();
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
        write!(f, "{passed} tests passed, {failed} failed, {ignored} ignored, in {programs} programs")
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
