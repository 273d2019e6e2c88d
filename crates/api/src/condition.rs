//! The types of the conditions that the daemon writes into the status of pods.

use std::fmt;

use crate::{Action, AnnotationKey};

/// The part after the `/` in the condition of all annotations of an action.
const ACTIVE: &str = "Active";
/// Maximum length of the part after the `/`, in characters. The API server refuses longer ones.
const MAX_NAME: usize = 63;

/// The type of a condition on a pod: `debug.redirect/Active`, or `debug.redirect/Active-alice` for
/// the annotations of one developer.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConditionType(String);

// === impl ConditionType ===

impl ConditionType {
    /// The condition that sums up all annotations of an action.
    #[must_use]
    pub fn summary(action: Action) -> Self {
        Self(format!("{}/{ACTIVE}", action.key()))
    }

    /// The condition of one developer's annotation.
    ///
    /// The name becomes what the API server accepts: other characters than letters, digits, `.` and
    /// `_` become `-`, and the part after the `/` is cut to 63 characters, `Active-` included.
    #[must_use]
    pub fn of_developer(action: Action, developer: &str) -> Self {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_');
        let name = format!("{ACTIVE}-{developer}");
        let name = name.chars().map(|c| if allowed(c) { c } else { '-' }).take(MAX_NAME);
        let name: String = name.collect();
        let name = name.trim_end_matches(|c: char| !c.is_ascii_alphanumeric());
        Self(format!("{}/{name}", action.key()))
    }

    /// The conditions that an annotation counts for: the summary of its action, and that of its
    /// developer.
    ///
    /// A misspelt key counts for the action that was probably meant.
    pub fn of(key: &AnnotationKey) -> impl Iterator<Item = Self> {
        let developer = key.developer().filter(|developer| !developer.is_empty());
        let developer = developer.map(|developer| Self::of_developer(key.action(), developer));
        std::iter::once(Self::summary(key.action())).chain(developer)
    }

    /// Whether a condition of this type belongs to interceptor.
    #[must_use]
    pub fn is_ours(type_: &str) -> bool {
        let action = type_.split_once('/').map(|(action, _)| action);
        Action::ALL.iter().any(|ours| action == Some(ours.key()))
    }

    /// The type as it stands on the pod.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<ConditionType> for String {
    fn from(type_: ConditionType) -> Self {
        type_.0
    }
}

impl fmt::Display for ConditionType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::plain("debug.redirect", &["debug.redirect/Active"])]
    #[case::mirror("debug.mirror", &["debug.mirror/Active"])]
    #[case::misspelt("debug.redirct", &["debug.redirect/Active"])]
    #[case::misspelt_mirror("debug.miror/bob", &["debug.mirror/Active", "debug.mirror/Active-bob"])]
    #[case::other_punctuation("debug/redirect", &["debug.redirect/Active"])]
    #[case::name_behind_a_dot(
        "debug.redirect.alice",
        &["debug.redirect/Active", "debug.redirect/Active-alice"]
    )]
    #[case::no_name("debug.redirect/", &["debug.redirect/Active"])]
    #[case::ends_badly("debug.redirect/a-", &["debug.redirect/Active", "debug.redirect/Active-a"])]
    #[case::long(
        &format!("debug.redirect/{}", "x".repeat(63)),
        &["debug.redirect/Active", &format!("debug.redirect/Active-{}", "x".repeat(56))]
    )]
    #[case::not_a_name(
        "debug.redirect/A b/c",
        &["debug.redirect/Active", "debug.redirect/Active-A-b-c"]
    )]
    fn every_annotation_has_types_that_the_api_server_accepts(
        #[case] key: &str,
        #[case] expected: &[&str],
    ) {
        let key = AnnotationKey::new(key).expect("belongs to interceptor");
        let types: Vec<_> = ConditionType::of(&key).collect();
        assert_eq!(types.iter().map(ConditionType::as_str).collect::<Vec<_>>(), expected);
        assert!(types.iter().all(|type_| ConditionType::is_ours(type_.as_str())));
    }

    #[rstest]
    #[case("debug.redirect/Foreign", true)]
    #[case("debug.mirror/Active", true)]
    #[case("debug.redirect", false)]
    #[case("debug.example/Active", false)]
    #[case("Ready", false)]
    fn conditions_of_others_are_told_apart(#[case] type_: &str, #[case] ours: bool) {
        assert_eq!(ConditionType::is_ours(type_), ours);
    }
}
