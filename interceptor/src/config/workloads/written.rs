//! When an annotation was written, and with which tool.

use std::{sync::Arc, time::SystemTime};

/// The last time that an annotation was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// The time.
    pub at: SystemTime,
    /// The name of the tool, for example `kubectl-annotate`.
    pub with: Arc<str>,
}
