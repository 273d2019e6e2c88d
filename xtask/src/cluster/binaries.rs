//! Kubernetes, etcd and helm, built from their Go modules, since a module proxy may be all that a
//! machine can reach. The cache keeps them under a name that changes with their inputs.

use std::{
    env, fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};

use crate::{cache, go, run};

/// The names of the one program that contains all of these.
const NAMES: [&str; 6] = [
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kubelet",
    "kube-proxy",
];

/// Changes with the options of the build, so that the cache keeps no programs of other options.
const OPTIONS: u32 = 2;

/// That program, then programs of their own.
const PACKAGES: [&str; 3] = [".", "k8s.io/kubernetes/cmd/kubectl", "helm.sh/helm/v3/cmd/helm"];

/// The helm among them if they are built. In CI they are built for it.
pub(crate) fn helm() -> Result<Option<PathBuf>> {
    let home = if env::var("CI").as_deref() == Ok("true") { build()? } else { home()? };
    Ok(Some(home.join("helm")).filter(|helm| helm.is_file()))
}

/// The folder of the built programs.
fn home() -> Result<PathBuf> {
    let source = run::workspace().join("cluster");
    let kubernetes = Versions::read(&source)?.kubernetes;
    Ok(cache::folder()?.join(format!(
        "cluster-{kubernetes}-{}-{OPTIONS}",
        go::checksum(&source, &["go.mod", "go.sum", "main.go"])?
    )))
}

/// Builds the programs if they are missing, and returns their folder.
pub(crate) fn build() -> Result<PathBuf> {
    let source = run::workspace().join("cluster");
    let versions = Versions::read(&source)?;
    let home = home()?;
    if home.exists() {
        return Ok(home);
    }
    let go = go::compiler("Kubernetes")?;
    eprintln!(
        "== building Kubernetes {}, etcd and helm {} with {}: about 8 minutes on two cores and \
         700 MB to fetch, once for each version",
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
    let helm = "helm.sh/helm/v3";
    link.push(format!("-X {helm}/internal/version.version=v{}", versions.helm));
    // Without these, `helm template` and `helm lint` take a chart to be for Kubernetes 1.20.
    for package in ["pkg/chartutil", "pkg/lint/rules"] {
        link.push(format!("-X {helm}/{package}.k8sVersionMajor={major}"));
        link.push(format!("-X {helm}/{package}.k8sVersionMinor={minor}"));
    }

    let mut build = Command::new(go);
    build.arg("build").args(["-trimpath", "-ldflags", &link.join(" "), "-o"]);
    // The trailing slash makes it a folder, for several programs.
    build.arg(folder.join("")).args(PACKAGES);
    build
        .env("CGO_ENABLED", "0")
        .env("GOFLAGS", "-mod=readonly -buildvcs=false")
        .current_dir(source);
    run::run_silent(&mut build)?;

    // Go names the program after the last word of the module.
    let all = folder.join("kubernetes");
    fs::rename(folder.join("cluster"), &all).context("find the built program")?;
    for name in NAMES {
        symlink("kubernetes", folder.join(name)).with_context(|| format!("link {name}"))?;
    }
    let printed = run::output(Command::new(folder.join("kubectl")).args(["version", "--client"]))?;
    ensure!(printed.contains(&versions.kubernetes), "kubectl reports version {}", printed.trim());
    // The chart refuses a helm that takes it to be for an old Kubernetes.
    let chart = run::workspace().join("deploy/charts/interceptor");
    run::output(Command::new(folder.join("helm")).args(["template", "try"]).arg(chart)).map(drop)
}

/// The versions in `go.mod`.
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
