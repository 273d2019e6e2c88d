//! The processes of the cluster itself, called parts. They outlive xtask. Files note the command
//! line of each, its process id and its start time. With that time, a later process with the same
//! id is not mistaken for the part.

use std::{
    fs::{self, OpenOptions},
    path::PathBuf,
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use testbed::wait_until;

use super::State;

/// Maximum time for a part to end before it is killed.
const POLITE: Duration = Duration::from_secs(5);

#[derive(Clone, Debug)]
pub(crate) struct Part {
    name: String,
    command: PathBuf,
    noted: PathBuf,
    log: PathBuf,
}

impl Part {
    fn new(state: &State, name: &str) -> Self {
        Self {
            name: name.to_owned(),
            command: state.join(format!("part/{name}.command")),
            noted: state.join(format!("part/{name}.pid")),
            log: state.join(format!("log/{name}.log")),
        }
    }

    /// A part that was started before, by its name.
    pub(crate) fn named(state: &State, name: &str) -> Result<Self> {
        let part = Self::new(state, name);
        let all = Self::all(state);
        let names = all.iter().map(|part| part.name.as_str()).collect::<Vec<_>>().join(", ");
        ensure!(part.command.is_file(), "the cluster has no part {name:?}; its parts are: {names}");
        Ok(part)
    }

    /// All parts that were started before, sorted by name.
    pub(crate) fn all(state: &State) -> Vec<Self> {
        let entries = state.join("part").read_dir().into_iter().flatten().flatten();
        let names = entries.filter_map(|entry| {
            Some(entry.file_name().to_str()?.strip_suffix(".command")?.to_owned())
        });
        let mut names = names.collect::<Vec<_>>();
        names.sort_unstable();
        names.iter().map(|name| Self::new(state, name)).collect()
    }

    /// Starts a command in the background as a part of this name, unless that part runs.
    pub(crate) fn start(state: &State, name: &str, command: &Command) -> Result<Self> {
        let part = Self::new(state, name);
        if part.pid().is_some() {
            return Ok(part);
        }
        let words = std::iter::once(command.get_program()).chain(command.get_args());
        let words = words
            .map(|word| word.to_str().context("an argument is not UTF-8"))
            .collect::<Result<Vec<_>>>()?;
        fs::create_dir_all(state.join("part"))?;
        fs::create_dir_all(state.join("log"))?;
        fs::write(&part.command, words.join("\n"))
            .with_context(|| format!("note the command of {name}"))?;
        part.start_again()?;
        Ok(part)
    }

    /// Starts the part again with the same command.
    pub(crate) fn start_again(&self) -> Result<()> {
        if self.pid().is_some() {
            return Ok(());
        }
        let command = fs::read_to_string(&self.command)
            .with_context(|| format!("read how to start {}", self.name))?;
        let log = OpenOptions::new().create(true).append(true).open(&self.log);
        let log = log.with_context(|| format!("open {}", self.log.display()))?;
        // With a session of its own, Ctrl-C and the end of the terminal do not reach it. There is
        // no fork, so the process id stays.
        let child = Command::new("setsid")
            .args(command.lines())
            .stdin(Stdio::null())
            .stdout(log.try_clone().context("share the log")?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("start {}", self.name))?;
        let pid = child.id();
        let begin = began(pid).with_context(|| format!("{} ended at once", self.name))?;
        fs::write(&self.noted, format!("{pid} {begin}"))
            .with_context(|| format!("note the id of {}", self.name))
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Its process id, if it runs.
    pub(crate) fn pid(&self) -> Option<u32> {
        let noted = fs::read_to_string(&self.noted).ok()?;
        let (pid, begin) = noted.split_once(' ')?;
        let pid = pid.parse().ok()?;
        (began(pid)? == begin).then_some(pid)
    }

    /// Ends it with SIGTERM, or with SIGKILL if `at_once`. Does nothing if the part does not run.
    pub(crate) fn stop(&self, at_once: bool) -> Result<()> {
        let Some(pid) = self.pid() else { return Ok(()) };
        let pid = Pid::from_raw(pid.cast_signed());
        let polite = [Signal::SIGTERM, Signal::SIGKILL];
        for signal in if at_once { &polite[1..] } else { &polite } {
            let _ = kill(pid, *signal);
            if wait_until("its end", POLITE, || self.pid().is_none()).is_ok() {
                let _ = fs::remove_file(&self.noted);
                return Ok(());
            }
        }
        bail!("{} (pid {pid}) does not end", self.name)
    }

    /// Repeats a question until the answer is yes. The error on a time-out has the part's log.
    pub(crate) fn wait_until(
        &self,
        what: &str,
        mut ready: impl FnMut() -> Result<bool>,
    ) -> Result<()> {
        let waited = wait_until(what, Duration::from_secs(60), || match (ready(), self.pid()) {
            (Ok(true), _) => Ok(Ok(())),
            (_, None) => Ok(Err(())),
            (Ok(false), _) => Err("not yet".to_owned()),
            (Err(error), _) => Err(format!("{error:#}")),
        });
        let problem = match waited {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(())) => format!("{} ended", self.name),
            Err(error) => format!("{error:#}"),
        };
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let lines = log.lines().collect::<Vec<_>>();
        let last = lines[lines.len().saturating_sub(12)..].join("\n    ");
        bail!("{what}: {problem}; the end of {}:\n    {last}", self.log.display())
    }
}

/// The start time of a process, in ticks since boot. `None` for one that ended, even if its parent
/// has not waited for it yet.
fn began(pid: u32) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the program's name in brackets, which may contain anything. The third is
    // the state, the 22nd the start time.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?;
    (state != "Z" && state != "X").then(|| fields.nth(18).map(str::to_owned))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_when_a_process_began() {
        let own = began(std::process::id()).expect("we run");
        assert!(own.parse::<u64>().is_ok_and(|ticks| ticks > 0), "{own}");
        assert_eq!(began(u32::MAX), None);
    }
}
