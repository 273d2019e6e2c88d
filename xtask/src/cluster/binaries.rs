//! Kubernetes, etcd and helm, built from their Go modules: from source because a module proxy is what machines without
//! other access to the outside have. Kept in the cache under a name that changes with whatever went into them.

use std::{
    env, fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{self, Command},
    time::Instant,
};

use anyhow::{Context as _, Result, bail, ensure};

use crate::{run, setup};

/// From this version on, Go fetches the version that a module asks for by itself.
const OLDEST_GO: (u32, u32) = (1, 21);

/// The names under which one program is all of these.
const NAMES: [&str; 6] =
    ["etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy"];

/// That program, then those that are themselves.
const PACKAGES: [&str; 3] = [".", "k8s.io/kubernetes/cmd/kubectl", "helm.sh/helm/v3/cmd/helm"];

/// The helm among them, if they are there; in CI they are built for that.
pub(crate) fn helm() -> Result<Option<PathBuf>> {
    let home = if env::var("CI").as_deref() == Ok("true") { build()? } else { home()? };
    Ok(Some(home.join("helm")).filter(|helm| helm.is_file()))
}

/// Their folder, once they are built.
fn home() -> Result<PathBuf> {
    let source = run::workspace().join("cluster");
    let kubernetes = Versions::read(&source)?.kubernetes;
    Ok(setup::cache()?.join(format!("cluster-{kubernetes}-{}", checksum(&source)?)))
}

/// Builds them unless they are there; gives their folder.
pub(crate) fn build() -> Result<PathBuf> {
    let source = run::workspace().join("cluster");
    let versions = Versions::read(&source)?;
    let home = home()?;
    if home.exists() {
        return Ok(home);
    }
    let go = go()?;
    eprintln!(
        "building Kubernetes {}, etcd and helm {} with {}: once for each version, about 7 minutes on two cores \
         (and 700 MB to fetch)",
        versions.kubernetes,
        versions.helm,
        go.display(),
    );
    let started = Instant::now();

    // Built next to its place and then renamed: it is never there by half.
    let building = home.with_file_name(format!("cluster-building-{}", process::id()));
    let built = build_into(&building, &source, &go, &versions);
    if built.is_ok() && fs::rename(&building, &home).is_err() && !home.exists() {
        bail!("can't rename {} to {}", building.display(), home.display());
    }
    let _ = fs::remove_dir_all(&building);
    built.context("build Kubernetes; this needs the network, or Go's module cache as it was")?;
    eprintln!("built in {:.0?}: {}", started.elapsed(), home.display());
    Ok(home)
}

fn build_into(folder: &Path, source: &Path, go: &Path, versions: &Versions) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("make {}", folder.display()))?;
    let (major, minor) = versions.major_minor()?;
    let about = [
        format!("gitVersion=v{}", versions.kubernetes),
        format!("gitMajor={major}"),
        format!("gitMinor={minor}"),
        "gitTreeState=clean".to_owned(),
        "buildDate=1970-01-01T00:00:00Z".to_owned(),
    ];
    let mut link = vec!["-s -w".to_owned()];
    link.extend(about.map(|fact| format!("-X k8s.io/component-base/version.{fact}")));
    link.push(format!("-X helm.sh/helm/v3/internal/version.version=v{}", versions.helm));

    let mut build = Command::new(go);
    build.arg("build").args(["-trimpath", "-ldflags", &link.join(" "), "-o"]);
    // The trailing slash says that it is a folder, for more than one program.
    build.arg(folder.join("")).args(PACKAGES);
    build.env("CGO_ENABLED", "0").env("GOFLAGS", "-mod=readonly -buildvcs=false").current_dir(source);
    run::run(&mut build)?;

    // The program is called as the module's last word says.
    let all = folder.join("kubernetes");
    fs::rename(folder.join("cluster"), &all).context("find what was built")?;
    for name in NAMES {
        symlink("kubernetes", folder.join(name)).with_context(|| format!("link {name}"))?;
    }
    let told = run::output(Command::new(folder.join("kubectl")).args(["version", "--client"]))?;
    ensure!(told.contains(&versions.kubernetes), "kubectl says that it is {}", told.trim());
    run::output(Command::new(folder.join("helm")).args(["version", "--short"])).map(drop)
}

/// What `go.mod` asks for.
struct Versions {
    kubernetes: String,
    helm: String,
}

impl Versions {
    fn read(source: &Path) -> Result<Self> {
        let file = source.join("go.mod");
        let text = fs::read_to_string(&file).with_context(|| format!("read {}", file.display()))?;
        let version = |module: &str| {
            let found = text.lines().find_map(|line| line.trim().strip_prefix(module)?.strip_prefix(" v"));
            let words = found.with_context(|| format!("go.mod has no {module}"))?;
            Ok::<_, anyhow::Error>(words.split_whitespace().next().unwrap_or_default().to_owned())
        };
        Ok(Self { kubernetes: version("k8s.io/kubernetes")?, helm: version("helm.sh/helm/v3")? })
    }

    fn major_minor(&self) -> Result<(&str, &str)> {
        let mut numbers = self.kubernetes.split('.');
        numbers.next().zip(numbers.next()).with_context(|| format!("{:?} is not a version", self.kubernetes))
    }
}

/// Of all that goes into the binaries.
fn checksum(source: &Path) -> Result<String> {
    let sums =
        run::output(Command::new("sha256sum").args(["go.mod", "go.sum", "main.go"]).current_dir(source))?;
    let short = sums.lines().filter_map(|line| line.get(..4)).collect::<String>();
    ensure!(short.len() == 12, "sha256sum said: {sums}");
    Ok(short)
}

/// Go is needed for the test cluster alone, never for the product.
fn go() -> Result<PathBuf> {
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
