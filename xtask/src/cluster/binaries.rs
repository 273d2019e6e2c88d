//! Kubernetes, etcd and helm, built from their Go modules: from source because a module proxy is what machines without
//! other access to the outside have. Kept in the cache under a name that changes with whatever went into them.

use std::{
    env, fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};

use crate::{cache, go, run};

/// The names under which one program is all of these.
const NAMES: [&str; 6] = [
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kubelet",
    "kube-proxy",
];

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
    Ok(cache::folder()?.join(format!(
        "cluster-{kubernetes}-{}",
        go::checksum(&source, &["go.mod", "go.sum", "main.go"])?
    )))
}

/// Builds them unless they are there; gives their folder.
pub(crate) fn build() -> Result<PathBuf> {
    let source = run::workspace().join("cluster");
    let versions = Versions::read(&source)?;
    let home = home()?;
    if home.exists() {
        return Ok(home);
    }
    let go = go::compiler("Kubernetes")?;
    eprintln!(
        "building Kubernetes {}, etcd and helm {} with {}: once for each version, about 7 minutes on two cores \
         (and 700 MB to fetch)",
        versions.kubernetes,
        versions.helm,
        go.display(),
    );
    cache::keep(&home, |folder| build_into(folder, &source, &go, &versions))
        .context("build Kubernetes")?;
    Ok(home)
}

fn build_into(folder: &Path, source: &Path, go: &Path, versions: &Versions) -> Result<()> {
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
    build
        .env("CGO_ENABLED", "0")
        .env("GOFLAGS", "-mod=readonly -buildvcs=false")
        .current_dir(source);
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
        let version = |module| go::version(source, module);
        Ok(Self { kubernetes: version("k8s.io/kubernetes")?, helm: version("helm.sh/helm/v3")? })
    }

    fn major_minor(&self) -> Result<(&str, &str)> {
        let mut numbers = self.kubernetes.split('.');
        numbers
            .next()
            .zip(numbers.next())
            .with_context(|| format!("{:?} is not a version", self.kubernetes))
    }
}
