//! The names of workloads.

use std::{fmt, sync::Arc};

use interceptor_rule::quoted;

/// Maximum length of a name, in bytes. Kubernetes has the same maximum for names of pods.
const MAX_NAME: usize = 253;

/// A name of lower-case letters, digits, `-` and `.`, as Kubernetes names its objects; for a pod,
/// `namespace/name`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WorkloadName(Arc<str>);

/// Why a text is not a valid name of a workload.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// It is too long.
    #[error("found {found} characters, expected at most {MAX_NAME}")]
    TooLong {
        /// Its length, in characters.
        found: usize,
    },
    /// It has a character, a beginning or an end that names must not have.
    #[error(
        "found {found}, expected a name of lower-case letters, digits, `-` and `.` that begins \
         and ends with a letter or digit"
    )]
    Form {
        /// The text, quoted for messages.
        found: String,
    },
}

impl WorkloadName {
    /// Checks a name from the workloads file or a flag.
    ///
    /// # Errors
    /// The text is too long, or does not have the form of a name.
    pub fn new(name: &str) -> Result<Self, NameError> {
        let is_label = |label: &str| {
            label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
                && label.starts_with(|c: char| c != '-')
                && label.ends_with(|c: char| c != '-')
        };
        if name.len() > MAX_NAME {
            return Err(NameError::TooLong { found: name.chars().count() });
        }
        if !name.split('.').all(is_label) {
            return Err(NameError::Form { found: quoted(name) });
        }
        Ok(Self(name.into()))
    }

    /// The name of a pod's workload. The name of the pod alone is unique in its namespace only.
    pub fn of_pod(namespace: &str, name: &str) -> Self {
        Self(format!("{namespace}/{name}").into())
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for WorkloadName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
