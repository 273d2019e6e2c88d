//! Runs Helm: the program that `HELM` names, or else the first `helm` in `PATH`.

use std::{
    env,
    ffi::OsStr,
    path::{Path, PathBuf},
    process::Command,
};

/// The version of Kubernetes that charts are rendered for without a cluster.
///
/// It is the version of the tests' cluster. Helm's own default depends on the build of Helm.
pub const KUBE_VERSION: &str = "1.34.4";

/// The reason why a call of Helm failed.
#[derive(Debug, thiserror::Error)]
pub enum HelmError {
    /// Helm is not installed.
    #[error("helm not found: set HELM to its path, or put it into PATH")]
    Missing,
    /// Helm could not be started.
    #[error("run {}", path.display())]
    Run {
        /// The path of the program.
        path: PathBuf,
        /// The error of the operating system.
        source: std::io::Error,
    },
    /// Helm exited with an error.
    #[error("helm {arguments}: {message}")]
    Failed {
        /// The command line.
        arguments: String,
        /// The standard error of Helm.
        message: String,
    },
}

/// An installed Helm.
#[derive(Clone, Debug)]
pub struct Helm(PathBuf);

// === impl Helm ===

impl Helm {
    /// Finds Helm by `HELM` or in `PATH`.
    ///
    /// # Errors
    /// Helm is not installed.
    pub fn find() -> Result<Self, HelmError> {
        if let Some(path) = env::var_os("HELM").filter(|path| !path.is_empty()) {
            return Ok(Self(path.into()));
        }
        let path = env::var_os("PATH").unwrap_or_default();
        let mut candidates = env::split_paths(&path).map(|folder| folder.join("helm"));
        candidates.find(|path| path.is_file()).map(Self).ok_or(HelmError::Missing)
    }

    /// Runs Helm with `arguments` and returns its standard output.
    ///
    /// # Errors
    /// Helm can't be started, or exits with an error.
    pub fn run<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Result<String, HelmError> {
        let mut command = Command::new(&self.0);
        command.args(arguments);
        let output =
            command.output().map_err(|source| HelmError::Run { path: self.0.clone(), source })?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let words: Vec<_> = command.get_args().map(OsStr::to_string_lossy).collect();
        let message = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        Err(HelmError::Failed { arguments: words.join(" "), message })
    }

    /// Renders `chart` for the release `interceptor` in the namespace `interceptor-system`.
    ///
    /// `more` are further arguments of `helm template`.
    ///
    /// # Errors
    /// Helm can't be started, the schema refuses the values, or a template fails.
    pub fn template(&self, chart: &Path, more: &[&str]) -> Result<String, HelmError> {
        let chart = chart.to_string_lossy();
        let fixed = ["template", "interceptor", &chart, "--namespace", "interceptor-system"];
        let version = ["--kube-version", KUBE_VERSION];
        self.run(&[&fixed[..], &version, more].concat())
    }
}
