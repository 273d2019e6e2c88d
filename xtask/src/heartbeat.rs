//! Shows that a long step still runs: what it is and how long it usually takes, and a line from
//! time to time while nothing else is printed.

use std::{
    io::{Read, Write},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{self, RecvTimeoutError, Sender},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};

/// After this time without output, a line says that the step still runs.
const SILENCE: Duration = Duration::from_secs(20);

/// Announces a step that takes a while.
pub(crate) fn step(what: &str, expected: &str) {
    eprintln!("== {what}: {expected}");
}

/// Prints the elapsed time while it exists and nothing else is printed.
pub(crate) struct Heartbeat {
    activity: Activity,
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// When something was printed last.
#[derive(Clone)]
pub(crate) struct Activity {
    started: Instant,
    /// Milliseconds from `started` on.
    last: Arc<AtomicU64>,
}

// === impl Heartbeat ===

impl Heartbeat {
    /// Begins to watch the step that `what` names, which has just printed something.
    pub(crate) fn start(what: &str) -> Self {
        Self::every(SILENCE, what, |line| eprintln!("{line}"))
    }

    fn every(silence: Duration, what: &str, mut print: impl FnMut(&str) + Send + 'static) -> Self {
        let activity = Activity { started: Instant::now(), last: Arc::default() };
        let (stop, stopped) = mpsc::channel();
        let (what, last) = (what.to_owned(), activity.clone());
        let thread = thread::spawn(move || {
            loop {
                let wait = silence.saturating_sub(last.age());
                if stopped.recv_timeout(wait) != Err(RecvTimeoutError::Timeout) {
                    return;
                }
                if last.age() >= silence {
                    print(&format!("… {}: {what}", elapsed(last.started.elapsed())));
                    last.note();
                }
            }
        });
        Self { activity, stop: Some(stop), thread: Some(thread) }
    }

    /// For code that prints in between.
    pub(crate) fn activity(&self) -> Activity {
        self.activity.clone()
    }
}

impl Drop for Heartbeat {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

// === impl Activity ===

impl Activity {
    /// Something was printed.
    pub(crate) fn note(&self) {
        self.last.store(self.milliseconds(), Ordering::Relaxed);
    }

    fn age(&self) -> Duration {
        let last = self.last.load(Ordering::Relaxed);
        Duration::from_millis(self.milliseconds().saturating_sub(last))
    }

    fn milliseconds(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

/// Runs a command that prints for itself, and prints the elapsed time in its pauses.
pub(crate) fn status(command: &mut Command, what: &str) -> Result<ExitStatus> {
    let heartbeat = Heartbeat::start(what);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().with_context(|| format!("run `{what}`"))?;
    let errors = forward_errors(&mut child, &heartbeat);
    if let Some(stdout) = child.stdout.take() {
        forward(stdout, std::io::stdout(), &heartbeat.activity());
    }
    let status = child.wait().with_context(|| format!("wait for `{what}`"))?;
    if let Some(errors) = errors {
        let _ = errors.join();
    }
    Ok(status)
}

/// Forwards what a child prints to a pipe as standard error.
pub(crate) fn forward_errors(child: &mut Child, heartbeat: &Heartbeat) -> Option<JoinHandle<()>> {
    let (stderr, activity) = (child.stderr.take()?, heartbeat.activity());
    Some(thread::spawn(move || forward(stderr, std::io::stderr(), &activity)))
}

/// Copies bytes as they come, up to the end.
fn forward(mut from: impl Read, mut to: impl Write, activity: &Activity) {
    let mut buffer = [0; 8192];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        if to.write_all(&buffer[..count]).and_then(|()| to.flush()).is_err() {
            return;
        }
        activity.note();
    }
}

/// `40 s`, `3 min 20 s`.
fn elapsed(time: Duration) -> String {
    match (time.as_secs() / 60, time.as_secs() % 60) {
        (0, seconds) => format!("{seconds} s"),
        (minutes, seconds) => format!("{minutes} min {seconds} s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: Duration = Duration::from_millis(50);

    #[test]
    fn a_silent_step_is_shown_again_and_again() {
        let (kept, lines) = mpsc::channel();
        let print = move |line: &str| _ = kept.send(line.to_owned());
        let heartbeat = Heartbeat::every(SHORT, "building", print);
        for _ in 0..2 {
            let line = lines.recv_timeout(Duration::from_secs(30)).expect("a line");
            assert!(line.starts_with("… ") && line.ends_with(" s: building"), "{line}");
        }
        drop(heartbeat);
        assert!(lines.iter().count() < 100, "it goes on");
    }

    #[test]
    fn what_a_command_prints_is_forwarded_and_counts_as_activity() {
        let heartbeat = Heartbeat::every(Duration::from_hours(1), "building", |_| {});
        let activity = heartbeat.activity();
        thread::sleep(SHORT);
        assert!(activity.age() >= SHORT);
        let mut printed = Vec::new();
        forward(&b"one\ntwo"[..], &mut printed, &activity);
        assert_eq!(printed, b"one\ntwo");
        assert!(activity.last.load(Ordering::Relaxed) > 0, "the silence begins again");
    }

    #[test]
    fn times_are_readable() {
        let times = [0, 59, 60, 500].map(|seconds| elapsed(Duration::from_secs(seconds)));
        assert_eq!(times, ["0 s", "59 s", "1 min 0 s", "8 min 20 s"]);
    }

    #[test]
    fn the_status_of_a_command_is_returned() {
        let status = status(Command::new("sh").args(["-c", "exit 3"]), "sh").expect("runs");
        assert_eq!(status.code(), Some(3));
    }
}
