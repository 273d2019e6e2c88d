//! Which annotations belong to interceptor, on pods and in the workloads file.

use std::{fmt, sync::Arc};

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

/// The key of an annotation that belongs to interceptor: `debug.redirect` or `debug.mirror`, or
/// either with `/developer` behind it.
///
/// It keeps the key as written, even if that is misspelt: see [`misspelt`](Self::misspelt).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AnnotationKey(Arc<str>);

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

// === impl AnnotationKey ===

impl AnnotationKey {
    /// The key `debug.redirect`, without a developer's name.
    #[must_use]
    pub fn redirect() -> Self {
        Self(Action::Redirect.key().into())
    }

    /// Reads a key. `None` if it does not belong to interceptor.
    ///
    /// A key that is nearly right is accepted, so that its author gets an error instead of silence.
    #[must_use]
    pub fn new(key: &str) -> Option<Self> {
        meaning(stem(key)).map(|_| Self(key.into()))
    }

    /// The key as written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The action that the key asks for, even if it is misspelt.
    #[must_use]
    pub fn action(&self) -> Action {
        meaning(stem(&self.0)).expect("`new` accepts no other key")
    }

    /// The key that was probably meant, if this one is misspelt; without a developer's name.
    #[must_use]
    pub fn misspelt(&self) -> Option<&'static str> {
        let meant = self.action().key();
        (stem(&self.0) != meant).then_some(meant)
    }

    /// The part after the `/`. It may be empty or invalid.
    #[must_use]
    pub fn developer(&self) -> Option<&str> {
        self.0.split_once('/').map(|(_, developer)| developer)
    }
}

impl fmt::Display for AnnotationKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.escape_debug().fmt(f)
    }
}

/// The part before the `/`.
fn stem(key: &str) -> &str {
    key.split('/').next().unwrap_or(key)
}

/// The action that an annotation with this stem asks for, or probably asks for.
fn meaning(stem: &str) -> Option<Action> {
    let is_exact = |action: &Action| action.key() == stem;
    Action::ALL.into_iter().find(is_exact).or_else(|| nearly(stem))
}

/// The action whose key is at most one mistake away from `stem`.
fn nearly(stem: &str) -> Option<Action> {
    let word = stem.strip_prefix("debug.").or_else(|| stem.strip_prefix("debug-"))?;
    // Annotations of other programs, such as `debug.example.com/level`, are left alone.
    if word.contains('.') || word.len() > "redirect".len() + 2 {
        return None;
    }
    let mistakes = |meant: &str| {
        let same_start = common(word.chars(), meant.chars());
        let same_end = common(word.chars().rev(), meant.chars().rev());
        let longest = word.chars().count().max(meant.chars().count());
        longest.saturating_sub(same_start + same_end)
    };
    Action::ALL.into_iter().find(|action| {
        let meant = &action.key()["debug.".len()..];
        // One letter wrong, missing or too many, or two letters swapped.
        mistakes(meant) <= 1 || (mistakes(meant) == 2 && letters(word) == letters(meant))
    })
}

fn letters(word: &str) -> Vec<char> {
    let mut letters: Vec<char> = word.chars().collect();
    letters.sort_unstable();
    letters
}

/// The length of the common beginning, in characters.
fn common(a: impl Iterator<Item = char>, b: impl Iterator<Item = char>) -> usize {
    a.zip(b).take_while(|(a, b)| a == b).count()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("debug.redirect", true)]
    #[case("debug.redirect/alice", true)]
    #[case("debug.mirror", true)]
    #[case("debug.redirct", true)]
    #[case("debug.redirects/alice", true)]
    #[case("debug.Mirror", true)]
    #[case("debug-redirect", true)]
    #[case("debug.redierct", true)]
    #[case("debug.level", false)]
    #[case("debug.error", false)]
    #[case("debug.minor", false)]
    #[case("debug.direct", false)]
    #[case("debug.example.com/redirect", false)]
    #[case("debug.", false)]
    #[case("redirect", false)]
    #[case("other.example/foo", false)]
    #[case("", false)]
    fn keys_of_interceptor_are_recognised(#[case] key: &str, #[case] ours: bool) {
        assert_eq!(AnnotationKey::new(key).is_some(), ours);
    }

    #[rstest]
    #[case("debug.redirect", Action::Redirect, None, None)]
    #[case("debug.mirror/bob", Action::Mirror, None, Some("bob"))]
    #[case("debug.redirct/", Action::Redirect, Some("debug.redirect"), Some(""))]
    #[case("debug-mirror/a/b", Action::Mirror, Some("debug.mirror"), Some("a/b"))]
    fn parts_of_a_key(
        #[case] key: &str,
        #[case] action: Action,
        #[case] misspelt: Option<&str>,
        #[case] developer: Option<&str>,
    ) {
        let key = AnnotationKey::new(key).expect("belongs to interceptor");
        assert_eq!((key.action(), key.misspelt(), key.developer()), (action, misspelt, developer));
    }
}
