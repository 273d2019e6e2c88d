//! Runs helm. Where it is: `HELM`, else PATH.

use std::{
    env,
    ffi::OsStr,
    path::{Path, PathBuf},
    process::Command,
};

/// The version of Kubernetes that charts are rendered for where no cluster is asked; that of the tests' cluster. Helm's
/// own idea of it depends on how it was built.
pub const KUBE_VERSION: &str = "1.34.4";

/// Helm did not do what it was told.
#[derive(Debug, thiserror::Error)]
pub enum HelmError {
    /// There is none.
    #[error("there is no helm: set HELM to its path, or put it into PATH")]
    Missing,
    /// It can't be started.
    #[error("run {}", path.display())]
    Run {
        /// The program.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It failed.
    #[error("helm {arguments}: {message}")]
    Failed {
        /// What it was told.
        arguments: String,
        /// What it said.
        message: String,
    },
}

/// A helm that can be run.
#[derive(Clone, Debug)]
pub struct Helm(PathBuf);

// === impl Helm ===

impl Helm {
    /// Looks for it.
    ///
    /// # Errors
    /// When there is none.
    pub fn find() -> Result<Self, HelmError> {
        if let Some(path) = env::var_os("HELM").filter(|path| !path.is_empty()) {
            return Ok(Self(path.into()));
        }
        let path = env::var_os("PATH").unwrap_or_default();
        let mut candidates = env::split_paths(&path).map(|folder| folder.join("helm"));
        candidates.find(|path| path.is_file()).map(Self).ok_or(HelmError::Missing)
    }

    /// What it prints.
    ///
    /// # Errors
    /// When it can't be run, or fails.
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

    /// `helm template` of a chart for release `interceptor` in namespace `interceptor-system`.
    ///
    /// # Errors
    /// When the values are refused, or a template fails.
    pub fn template(&self, chart: &Path, more: &[&str]) -> Result<String, HelmError> {
        let chart = chart.to_string_lossy();
        let fixed = ["template", "interceptor", &chart, "--namespace", "interceptor-system"];
        let version = ["--kube-version", KUBE_VERSION];
        self.run(&[&fixed[..], &version, more].concat())
    }
}
