//! Generates the documentation and the schema of the Helm chart in `deploy/charts/interceptor`.
//!
//! `values.yaml` is the single source. Its comments become the chart's `README.md` ([`readme`]) and
//! `values.schema.json` ([`schema`]), by which Helm refuses a misspelt key. `cargo xtask gen`
//! writes both files, and `cargo xtask lint` checks that they are up to date. The tests render the
//! chart with a real Helm ([`helm`]) and compare the result with a list of rights.
//!
//! ```
//! let text = "## Log\n\n# -- Level of the log.\nlogLevel: info\n";
//! let values = interceptor_deploy::values::Values::parse(text)?;
//! let table = interceptor_deploy::readme::render("{{values}}", &values);
//! assert!(table.contains("| `logLevel` | `info` | Level of the log. |"));
//! # Ok::<(), interceptor_deploy::values::ValuesError>(())
//! ```

#![forbid(unsafe_code)]

pub mod helm;
pub mod readme;
pub mod schema;
pub mod values;

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use crate::values::{Values, ValuesError};

/// A generated file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Generated {
    /// The path of the file.
    pub path: PathBuf,
    /// The text that the file should have.
    pub text: String,
}

/// The reason why no file could be generated.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file can't be read.
    #[error("read {}", path.display())]
    Read {
        /// The path of the file.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
    /// `values.yaml` can't be read.
    #[error("{}", path.display())]
    Values {
        /// The path of the file.
        path: PathBuf,
        /// The problem and its line.
        source: ValuesError,
    },
}

/// The folder of the chart.
#[must_use]
pub fn chart() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("charts/interceptor")
}

/// Generates the files of the chart in the folder `chart`. Writes nothing.
///
/// # Errors
/// `values.yaml` or `README.md.in` can't be read.
pub fn generate(chart: &Path) -> Result<Vec<Generated>, Error> {
    let path = chart.join("values.yaml");
    let values = Values::parse(&read(&path)?)
        .map_err(|source| Error::Values { path: path.clone(), source })?;
    let frame = read(&chart.join("README.md.in"))?;
    Ok(vec![
        Generated { path: chart.join("README.md"), text: readme::render(&frame, &values) },
        Generated { path: chart.join("values.schema.json"), text: schema::render(&values) },
    ])
}

fn read(path: &Path) -> Result<String, Error> {
    fs::read_to_string(path).map_err(|source| Error::Read { path: path.to_owned(), source })
}
