//! What surrounds the Helm chart in `deploy/charts/interceptor`.
//!
//! `values.yaml` is the one source of what an admin can set. Its comments become the chart's `README.md` ([`readme`]) and
//! `values.schema.json` ([`schema`]), by which Helm refuses a misspelt key. `cargo xtask gen` writes both; lint compares.
//! The tests render the chart by a real helm ([`helm`]) and hold the outcome to a list of rights.

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
    /// Where it belongs.
    pub path: PathBuf,
    /// What belongs into it.
    pub text: String,
}

/// Why nothing could be generated.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file can't be read.
    #[error("read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The values can't be understood.
    #[error("{}", path.display())]
    Values {
        /// The file.
        path: PathBuf,
        /// Why.
        source: ValuesError,
    },
}

/// The folder of the chart.
#[must_use]
pub fn chart() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("charts/interceptor")
}

/// Everything that is generated for the chart in `chart`.
///
/// # Errors
/// When its values or the frame of its README can't be read.
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
