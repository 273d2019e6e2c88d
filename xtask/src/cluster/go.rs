//! Programs in Go, built once from their modules and kept in the cache.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{self, Command},
    time::Instant,
};

use anyhow::{Context as _, Result, bail, ensure};

use crate::run;

/// From this version on, Go fetches the version that a module asks for by itself.
const OLDEST_GO: (u32, u32) = (1, 21);

/// Makes the folder `home` by `build`, which is given a folder to fill: next to its place, and renamed when all is there.
pub(crate) fn once(home: &Path, build: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let started = Instant::now();
    let building = home.with_file_name(format!("go-building-{}", process::id()));
    fs::create_dir_all(&building).with_context(|| format!("make {}", building.display()))?;
    let built = build(&building);
    if built.is_ok() && fs::rename(&building, home).is_err() && !home.exists() {
        bail!("can't rename {} to {}", building.display(), home.display());
    }
    let _ = fs::remove_dir_all(&building);
    built.context("this needs the network, or Go's module cache as it was")?;
    eprintln!("built in {:.0?}: {}", started.elapsed(), home.display());
    Ok(())
}

/// The version of a module that the `go.mod` in `source` asks for, without its `v`.
pub(crate) fn version(source: &Path, module: &str) -> Result<String> {
    let file = source.join("go.mod");
    let text = fs::read_to_string(&file).with_context(|| format!("read {}", file.display()))?;
    let found = text.lines().find_map(|line| line.trim().strip_prefix(module)?.strip_prefix(" v"));
    let words = found.with_context(|| format!("{} has no {module}", file.display()))?;
    Ok(words.split_whitespace().next().unwrap_or_default().to_owned())
}

/// Of all that goes into what is built: these files of `source`.
pub(crate) fn checksum(source: &Path, files: &[&str]) -> Result<String> {
    let sums = run::output(Command::new("sha256sum").args(files).current_dir(source))?;
    let short = sums.lines().filter_map(|line| line.get(..4)).collect::<String>();
    ensure!(short.len() == 4 * files.len(), "sha256sum said: {sums}");
    Ok(short)
}

/// Go is needed for the test cluster alone, never for the product.
pub(crate) fn compiler() -> Result<PathBuf> {
    let usual = [env::var_os("HOME").unwrap_or_default().into(), PathBuf::from("/usr/local")];
    let places = usual.iter().map(|place| place.join("go/bin/go")).filter(|path| path.is_file());
    let found = run::find("go").into_iter().chain(places).collect::<Vec<_>>();
    let how = "get Go from https://go.dev/dl (unpack it to /usr/local), or from Debian's backports: \
               apt-get install -t bookworm-backports golang-go";
    ensure!(!found.is_empty(), "Kubernetes is built with Go, which is missing here; {how}");
    for go in &found {
        // go version go1.24.1 linux/amd64
        let told = run::output(Command::new(go).arg("version"))?;
        let version = told.split_whitespace().nth(2).and_then(|word| word.strip_prefix("go"));
        let mut numbers = version.unwrap_or_default().split('.').map(str::parse);
        if let (Some(Ok(major)), Some(Ok(minor))) = (numbers.next(), numbers.next())
            && (major, minor) >= OLDEST_GO
        {
            return Ok(go.clone());
        }
    }
    bail!(
        "Kubernetes needs Go {}.{} or newer, and {} is older; {how}",
        OLDEST_GO.0,
        OLDEST_GO.1,
        found[0].display()
    )
}
