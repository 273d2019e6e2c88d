//! The Go compiler, and what a module's files say. Go builds tools for tests and lint, never the
//! product.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail, ensure};

use crate::run;

/// Since this version, Go fetches the toolchain that a module asks for.
const OLDEST_GO: (u32, u32) = (1, 21);

/// The version of a module that the `go.mod` in `source` asks for, without its `v`.
pub(crate) fn version(source: &Path, module: &str) -> Result<String> {
    let file = source.join("go.mod");
    let text = fs::read_to_string(&file).with_context(|| format!("read {}", file.display()))?;
    let found = text.lines().find_map(|line| line.trim().strip_prefix(module)?.strip_prefix(" v"));
    let words = found.with_context(|| format!("{} has no {module}", file.display()))?;
    Ok(words.split_whitespace().next().unwrap_or_default().to_owned())
}

/// A short checksum of these files in `source`.
pub(crate) fn checksum(source: &Path, files: &[&str]) -> Result<String> {
    let sums = run::output(Command::new("sha256sum").args(files).current_dir(source))?;
    let short = sums.lines().filter_map(|line| line.get(..4)).collect::<String>();
    ensure!(short.len() == 4 * files.len(), "unexpected output of sha256sum: {sums}");
    Ok(short)
}

/// The Go compiler.
///
/// # Errors
///
/// Go is missing or too old. The message names what needs it, `user`.
pub(crate) fn compiler(user: &str) -> Result<PathBuf> {
    let usual = [env::var_os("HOME").unwrap_or_default().into(), PathBuf::from("/usr/local")];
    let places = usual.iter().map(|place| place.join("go/bin/go")).filter(|path| path.is_file());
    let found = run::find("go").into_iter().chain(places).collect::<Vec<_>>();
    let how = "get Go from https://go.dev/dl (unpack it to /usr/local), or from Debian's \
               backports: apt-get install -t bookworm-backports golang-go";
    ensure!(!found.is_empty(), "{user} is built with Go, which is missing; {how}");
    for go in &found {
        // go version go1.24.1 linux/amd64
        let output = run::output(Command::new(go).arg("version"))?;
        let version = output.split_whitespace().nth(2).and_then(|word| word.strip_prefix("go"));
        let mut numbers = version.unwrap_or_default().split('.').map(str::parse);
        if let (Some(Ok(major)), Some(Ok(minor))) = (numbers.next(), numbers.next())
            && (major, minor) >= OLDEST_GO
        {
            return Ok(go.clone());
        }
    }
    let ((major, minor), oldest) = (OLDEST_GO, found[0].display());
    bail!("{user} needs Go {major}.{minor} or newer, and {oldest} is older; {how}")
}
