//! Whether the recording in `docs/demo.svg` still shows what the demo shows.
//!
//! Its first lines carry three digests. `cargo xtask lint` compares two of them without running the
//! demo: that of the sources that decide what the demo shows, and that of the picture itself. A run
//! of the demo compares the third: that of all that it showed, without measured values.

use std::{fmt::Write as _, fs, path::PathBuf};

use anyhow::{Context as _, Result, ensure};
use sha2::{Digest as _, Sha256};

use super::{narrator::Entry, recording};
use crate::run;

const FILE: &str = "docs/demo.svg";
const RECORD: &str = "`cargo xtask demo --record` makes a new one";

/// The sources that decide what the demo shows, beside those in `xtask/src/demo`.
const SOURCES: [&str; 1] = ["testbed/src/topology.rs"];
const FOLDER: &str = "xtask/src/demo";

/// Writes the recording.
pub(crate) fn write(entries: &[Entry]) -> Result<()> {
    let picture = recording::draw(entries);
    let header = header(&inputs()?, &shown(entries), &digest(picture.as_bytes()));
    let path = run::workspace().join(FILE);
    fs::write(&path, header + &picture).with_context(|| format!("write {}", path.display()))?;
    eprintln!("wrote {FILE}");
    Ok(())
}

/// Fails if the sources have changed since the recording, or the picture has been edited.
pub(crate) fn check() -> Result<()> {
    let text = read()?;
    ensure!(field(&text, "inputs")? == inputs()?, "{FILE} is older than the demo; {RECORD}");
    let (_, picture) = text.split_once("-->\n").context("no header")?;
    ensure!(
        field(&text, "picture")? == digest(picture.as_bytes()),
        "{FILE} was edited by hand; {RECORD}"
    );
    Ok(())
}

/// Fails if the demo showed something else than the recording does.
pub(crate) fn compare(entries: &[Entry]) -> Result<()> {
    ensure!(
        field(&read()?, "shown")? == shown(entries),
        "{FILE} shows something else than this run; {RECORD}"
    );
    Ok(())
}

fn read() -> Result<String> {
    let path = run::workspace().join(FILE);
    fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))
}

fn header(inputs: &str, shown: &str, picture: &str) -> String {
    // A comment in XML must not contain two dashes, so the option can't stand here.
    format!(
        "<!-- Recorded by `cargo xtask demo`.\n\
         inputs: {inputs}\nshown: {shown}\npicture: {picture}\n-->\n"
    )
}

fn field<'a>(text: &'a str, name: &str) -> Result<&'a str> {
    let mut lines = text.lines().take(5);
    lines
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
        .with_context(|| format!("{FILE} has no digest `{name}`; {RECORD}"))
}

/// The digest of what the demo showed, without measured values.
fn shown(entries: &[Entry]) -> String {
    let lines = entries.iter().map(Entry::unmeasured).collect::<Vec<_>>();
    digest(lines.join("\n").as_bytes())
}

/// The digest of the sources: of their code, since comments show nothing.
fn inputs() -> Result<String> {
    let root = run::workspace();
    let mut sources = SOURCES.map(PathBuf::from).to_vec();
    let folder = root.join(FOLDER);
    for entry in folder.read_dir().with_context(|| format!("read {}", folder.display()))? {
        sources.push(PathBuf::from(FOLDER).join(entry?.file_name()));
    }
    sources.sort();
    let mut code = String::new();
    for source in sources {
        let text = fs::read_to_string(root.join(&source))
            .with_context(|| format!("read {}", source.display()))?;
        _ = writeln!(code, "{}", source.display());
        let lines = text.lines().map(str::trim);
        for line in lines.filter(|line| !line.is_empty() && !line.starts_with("//")) {
            _ = writeln!(code, "{line}");
        }
    }
    Ok(digest(code.as_bytes()))
}

fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::new(), |mut hex, byte| {
        _ = write!(hex, "{byte:02x}");
        hex
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::narrator::Measured;

    #[test]
    fn two_runs_that_differ_in_measured_values_show_the_same() {
        let run = |took: &str| [Entry::Checked(format!("in force after {}", Measured(took)))];
        assert_eq!(shown(&run("4 ms")), shown(&run("5 ms")));
        assert_ne!(shown(&run("4 ms")), shown(&[Entry::Checked("in force".into())]));
    }

    #[test]
    fn digests_are_found_in_the_header() -> Result<()> {
        let text = header("a", "b", "c") + "<svg/>";
        assert_eq!((field(&text, "inputs")?, field(&text, "shown")?), ("a", "b"));
        assert_eq!(field(&text, "picture")?, "c");
        assert_eq!(text.matches("--").count(), 2, "no XML comment: {text}");
        Ok(())
    }
}
