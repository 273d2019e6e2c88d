//! Prints each step of the demo with what was observed, and keeps all of it for the recording.

use std::{
    env,
    fmt::{self, Display},
    io::{self, IsTerminal as _},
    time::Instant,
};

/// Stands around a measured value in kept text, and is never printed: a word joiner, which the
/// demo's texts never contain.
const MARK: char = '\u{2060}';

/// A value that differs from run to run. The recording shows it; its freshness ignores it.
pub(crate) struct Measured<T>(pub(crate) T);

/// Something that the demo showed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    /// The title of a step.
    Step(String),
    /// A command that ran, and the host on which it ran.
    Command { host: &'static str, text: String },
    /// What a command printed.
    Output(String),
    /// The annotation that the daemon reads from now on.
    Rule(String),
    /// A fact that was checked.
    Checked(String),
    /// Who serves the client from now on.
    Traffic(Traffic),
    /// The last line.
    End(String),
}

/// Who serves the client's requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Traffic {
    /// The app serves all of them.
    App,
    /// The laptop serves those that match, the app the others.
    Split,
    /// The laptop serves all of them.
    Laptop,
    /// The app serves all of them, since the daemon is dead.
    Killed,
}

/// Prints the demo's progress.
pub(crate) struct Narrator {
    colour: bool,
    begin: Instant,
    steps: u32,
    entries: Vec<Entry>,
}

// === impl Measured ===

impl<T: Display> Display for Measured<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{MARK}{}{MARK}", self.0)
    }
}

/// The text as it is shown.
pub(crate) fn shown(text: &str) -> String {
    text.replace(MARK, "")
}

/// The text without its measured values.
fn unmeasured(text: &str) -> String {
    text.split(MARK).step_by(2).collect::<Vec<_>>().join("#")
}

// === impl Entry ===

impl Entry {
    /// The entry as one line of text without its measured values: what two runs have in common.
    pub(crate) fn unmeasured(&self) -> String {
        match self {
            Self::Step(text) => format!("step: {}", unmeasured(text)),
            Self::Command { host, text } => format!("{host}$ {}", unmeasured(text)),
            Self::Output(text) => format!("output: {}", unmeasured(text)),
            Self::Rule(text) => format!("rule: {}", unmeasured(text)),
            Self::Checked(text) => format!("checked: {}", unmeasured(text)),
            Self::Traffic(traffic) => format!("traffic: {traffic:?}"),
            Self::End(text) => format!("end: {}", unmeasured(text)),
        }
    }
}

// === impl Narrator ===

impl Narrator {
    pub(crate) fn new() -> Self {
        let colour = io::stdout().is_terminal()
            && env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Self { colour, begin: Instant::now(), steps: 0, entries: Vec::new() }
    }

    /// Begins the next step.
    pub(crate) fn step(&mut self, title: &str) {
        self.steps += 1;
        self.tell(Entry::Step(format!("{}. {title}", self.steps)));
    }

    /// Shows a command that ran on `host`.
    pub(crate) fn command(&mut self, host: &'static str, text: impl Display) {
        self.tell(Entry::Command { host, text: text.to_string() });
    }

    /// Shows what a command printed.
    pub(crate) fn output(&mut self, text: impl Display) {
        self.tell(Entry::Output(text.to_string()));
    }

    /// Shows the annotation that the daemon reads from now on.
    pub(crate) fn rule(&mut self, text: impl Display) {
        self.tell(Entry::Rule(format!("debug.redirect: {text}")));
    }

    /// Shows a fact that was checked.
    pub(crate) fn checked(&mut self, what: impl Display) {
        self.tell(Entry::Checked(what.to_string()));
    }

    /// Notes who serves the client from now on; only the recording shows it.
    pub(crate) fn traffic(&mut self, traffic: Traffic) {
        self.entries.push(Entry::Traffic(traffic));
    }

    /// Ends the demo, and returns all that it showed.
    pub(crate) fn end(mut self) -> Vec<Entry> {
        let took = Measured(format!("{:.1} s", self.begin.elapsed().as_secs_f64()));
        self.tell(Entry::End(format!("Every check passed, in {took}")));
        self.entries
    }

    fn tell(&mut self, entry: Entry) {
        let line = match &entry {
            Entry::Step(text) => format!("\n{}", self.paint("1", text)),
            Entry::Command { host, text } => {
                format!("   {} {text}", self.paint("34", &format!("{host}$")))
            }
            Entry::Output(text) => format!("   {}", self.paint("1", text)),
            Entry::Rule(text) => format!("   {}", self.paint("33", text)),
            Entry::Checked(text) => format!("   {} {text}", self.paint("32", "ok")),
            Entry::End(text) => format!("\n{}", self.paint("1;32", text)),
            Entry::Traffic(_) => return self.entries.push(entry),
        };
        println!("{}", shown(&line));
        self.entries.push(entry);
    }

    fn paint(&self, code: &str, text: &str) -> String {
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn measured_values_are_shown_and_do_not_count() {
        let text = format!("of {} requests, {} failed", Measured(160), Measured("none"));
        assert_eq!(shown(&text), "of 160 requests, none failed");
        assert_eq!(unmeasured(&text), "of # requests, # failed");
    }
}
