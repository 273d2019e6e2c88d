//! Which annotations belong to interceptor, on pods and in the workloads file.

use std::{fmt, sync::Arc};

use self::misspelt::Meant;
use crate::Action;

mod misspelt;

/// The key of an annotation that belongs to interceptor: `debug.redirect` or `debug.mirror`, or
/// either with `/developer` behind it.
///
/// It keeps the key as written, even if that is misspelt: see [`misspelt`](Self::misspelt).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AnnotationKey {
    key: Arc<str>,
    /// The key that is probably meant, if `key` is misspelt.
    meant: Option<Arc<str>>,
    action: Action,
}

// === impl AnnotationKey ===

impl AnnotationKey {
    /// The key `debug.redirect`, without a developer's name.
    #[must_use]
    pub fn redirect() -> Self {
        let action = Action::Redirect;
        Self { key: action.key().into(), meant: None, action }
    }

    /// Reads a key. `None` if it does not belong to interceptor.
    ///
    /// A key that is nearly right is accepted, so that its author gets an error instead of silence.
    #[must_use]
    pub fn new(key: &str) -> Option<Self> {
        let stem = key.split('/').next().unwrap_or(key);
        if let Some(action) = Action::ALL.into_iter().find(|action| action.key() == stem) {
            return Some(Self { key: key.into(), meant: None, action });
        }
        let Meant { action, developer } = misspelt::meant(key)?;
        let meant = match developer {
            Some(developer) => format!("{}/{developer}", action.key()),
            None => action.key().to_owned(),
        };
        Some(Self { key: key.into(), meant: Some(meant.into()), action })
    }

    /// The key as written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.key
    }

    /// The action that the key asks for, even if it is misspelt.
    #[must_use]
    pub fn action(&self) -> Action {
        self.action
    }

    /// The key that was probably meant, if this one is misspelt.
    #[must_use]
    pub fn misspelt(&self) -> Option<&str> {
        self.meant.as_deref()
    }

    /// The part after the `/`, of the key that was meant if this one is misspelt. It may be empty
    /// or invalid.
    #[must_use]
    pub fn developer(&self) -> Option<&str> {
        let key = self.misspelt().unwrap_or(&self.key);
        key.split_once('/').map(|(_, developer)| developer)
    }
}

impl fmt::Display for AnnotationKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.key.escape_debug().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    /// The keys that the daemon reports as `RuleInvalid`, each with the one that it suggests.
    #[rstest]
    // Other punctuation and case
    #[case("debug/redirect", "debug.redirect")]
    #[case("debug-redirect", "debug.redirect")]
    #[case("debug_redirect", "debug.redirect")]
    #[case("debugredirect", "debug.redirect")]
    #[case("Debug.Redirect", "debug.redirect")]
    #[case("debugRedirect", "debug.redirect")]
    #[case("DEBUG.MIRROR", "debug.mirror")]
    #[case("debug..redirect", "debug.redirect")]
    #[case("debug-mirror/a", "debug.mirror/a")]
    // Another order, more words, other endings
    #[case("redirect.debug", "debug.redirect")]
    #[case("redirect/debug", "debug.redirect")]
    #[case("redirect.debug/alice", "debug.redirect/alice")]
    #[case("debug.redirects", "debug.redirect")]
    #[case("debug.redirects/alice", "debug.redirect/alice")]
    #[case("debug.mirroring", "debug.mirror")]
    #[case("debugger.redirect", "debug.redirect")]
    #[case("interceptor.debug/redirect", "debug.redirect")]
    #[case("interceptor.io/debug.redirect", "debug.redirect")]
    #[case("interceptor.dev/debug-redirect-alice", "debug.redirect/alice")]
    #[case("debug.example.com/redirect", "debug.redirect")]
    #[case("debug.kubernetes.io/mirror.bob", "debug.mirror/bob")]
    // The developer's name in another place
    #[case("debug.redirect.alice", "debug.redirect/alice")]
    #[case("debug.redirect-alice.b", "debug.redirect/alice-b")]
    #[case("debug.redirect_Alice", "debug.redirect/alice")]
    #[case("debugRedirectAlice", "debug.redirect/alice")]
    #[case("debug/redirect.alice", "debug.redirect/alice")]
    #[case("alice.debug/redirect", "debug.redirect")]
    // Typing errors
    #[case("debug.redirct", "debug.redirect")]
    #[case("debug.redirct/", "debug.redirect")]
    #[case("debug.redierct", "debug.redirect")]
    #[case("debug.miror/bob", "debug.mirror/bob")]
    #[case("debug.mirrro", "debug.mirror")]
    #[case("debug/redirct", "debug.redirect")]
    #[case("debgu.redirect/alice", "debug.redirect/alice")]
    #[case("dbug.mirror", "debug.mirror")]
    #[case("rediret.debug", "debug.redirect")]
    fn a_key_that_is_nearly_right_suggests_the_right_one(#[case] key: &str, #[case] meant: &str) {
        let found = AnnotationKey::new(key).expect("belongs to interceptor");
        assert_eq!((found.misspelt(), found.as_str()), (Some(meant), key));
        let right = AnnotationKey::new(meant).expect("belongs to interceptor");
        assert_eq!((right.misspelt(), right.action()), (None, found.action()));
        assert_eq!(right.developer(), found.developer());
    }

    #[rstest]
    #[case("debug.level")]
    #[case("debug.error")]
    #[case("debug.minor")]
    #[case("debug.direct")]
    #[case("debug.")]
    #[case("debug")]
    #[case("redirect")]
    #[case("mirror")]
    #[case("other.example/foo")]
    #[case("")]
    #[case("/")]
    #[case("debug/mode")]
    #[case("nginx.ingress.kubernetes.io/ssl-redirect")]
    #[case("nginx.ingress.kubernetes.io/permanent-redirect-code")]
    #[case("nginx.ingress.kubernetes.io/mirror-target")]
    #[case("kubernetes.io/config.mirror")]
    #[case("traefik.ingress.kubernetes.io/redirect-entry-point")]
    #[case("alb.ingress.kubernetes.io/actions.ssl-redirect")]
    #[case("sidecar.istio.io/logLevel")]
    #[case("config.linkerd.io/enable-debug-sidecar")]
    #[case("vault.hashicorp.com/log-level")]
    #[case("dapr.io/enable-debug")]
    #[case("cilium.io/debug-verbose")]
    fn keys_of_others_are_left_alone(#[case] key: &str) {
        assert_eq!(AnnotationKey::new(key), None);
    }

    #[rstest]
    #[case("debug.redirect", Action::Redirect, None)]
    #[case("debug.redirect/alice", Action::Redirect, Some("alice"))]
    #[case("debug.mirror/bob", Action::Mirror, Some("bob"))]
    #[case("debug.redirect/", Action::Redirect, Some(""))]
    #[case("debug.mirror/a/b", Action::Mirror, Some("a/b"))]
    fn parts_of_a_key(#[case] key: &str, #[case] action: Action, #[case] developer: Option<&str>) {
        let key = AnnotationKey::new(key).expect("belongs to interceptor");
        assert_eq!((key.action(), key.misspelt(), key.developer()), (action, None, developer));
    }
}
