//! The Events that the daemon creates on pods.

use crate::vocabulary::words;

words! {
    /// The reason of an Event: what changed about a rule.
    pub enum EventReason {
        /// A rule is in force.
        Active = "RedirectActive",
        /// A rule replaced another one of the same annotation.
        Changed = "RedirectChanged",
        /// A rule was removed; new connections reach the app again.
        Ended = "RedirectEnded",
        /// The rule's `ttl` has expired; new connections reach the app again.
        Expired = "RedirectExpired",
        /// The target answers again.
        Recovered = "RedirectRecovered",
        /// The target refuses connections or does not answer; clients reach the app until it does.
        FellBack = "RedirectFellBack",
        /// A rule that was in force waits for something; clients reach the app.
        Interrupted = "RedirectInterrupted",
        /// A rule has no effect.
        Refused = "RedirectRefused",
        /// A rule is not in force yet: it waits for something.
        Waiting = "RedirectWaiting",
    }
}

words! {
    /// What became of an Event: the label `outcome` of `interceptor_events_total`.
    pub enum EventOutcome {
        /// The API server created it.
        Sent = "sent",
        /// The API server refused it, or could not be reached.
        Failed = "failed",
        /// The daemon did not send it: there were too many for one pod.
        Suppressed = "suppressed",
    }
}

// === impl EventReason ===

impl EventReason {
    /// Whether the Event has the type `Warning` rather than `Normal`.
    #[must_use]
    pub const fn is_warning(self) -> bool {
        matches!(self, Self::FellBack | Self::Interrupted | Self::Refused | Self::Waiting)
    }
}
