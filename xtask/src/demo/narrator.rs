//! Tells the story: a heading for each step, what is seen, and how long it took.

use std::{
    env,
    fmt::Display,
    io::{self, IsTerminal as _},
    time::Instant,
};

pub(crate) struct Narrator {
    colour: bool,
    begin: Instant,
    step: Option<Instant>,
    number: u32,
}

impl Narrator {
    pub(crate) fn new() -> Self {
        let colour = io::stdout().is_terminal()
            && env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Self { colour, begin: Instant::now(), step: None, number: 0 }
    }

    /// The next step begins, and so the one before is done.
    pub(crate) fn step(&mut self, title: &str) {
        self.done();
        self.number += 1;
        println!("\n{}", self.paint("1", &format!("{}. {title}", self.number)));
        self.step = Some(Instant::now());
    }

    /// Something that was seen, and is as it should be.
    pub(crate) fn seen(&self, what: impl Display) {
        println!("   {} {what}", self.paint("32", "ok"));
    }

    /// A command that people could type, or another remark.
    pub(crate) fn say(&self, what: impl Display) {
        println!("      {}", self.paint("2", &what.to_string()));
    }

    /// The end of the last step.
    pub(crate) fn done(&mut self) {
        if let Some(begin) = self.step.take() {
            self.say(format_args!("took {:.2} s", begin.elapsed().as_secs_f64()));
        }
    }

    /// All steps were as told.
    pub(crate) fn end(&mut self) {
        self.done();
        println!(
            "\n{} in {:.1} s",
            self.paint("1;32", "All as told"),
            self.begin.elapsed().as_secs_f64()
        );
    }

    fn paint(&self, code: &str, text: &str) -> String {
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}
