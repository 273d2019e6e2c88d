//! What rules do with connections.

use crate::vocabulary::words;

words! {
    /// What a rule does with connections.
    pub enum Action {
        /// Takes them to the target: `debug.redirect`.
        Redirect = "redirect",
        /// Copies them to the target: `debug.mirror`.
        Mirror = "mirror",
    }
}

// === impl Action ===

impl Action {
    /// The key of its annotations, without a developer's name.
    #[must_use]
    pub const fn key(self) -> &'static str {
        match self {
            Self::Redirect => "debug.redirect",
            Self::Mirror => "debug.mirror",
        }
    }
}
