//! What people and scripts rely on: the words of interceptor's interfaces, as types.
//!
//! | module | where the words appear |
//! |---|---|
//! | [`annotation`] | keys of annotations on pods and in the workloads file |
//! | [`condition`] | types of conditions in `status.conditions` of a pod |
//! | [`standing`] | state and reason of a rule: conditions, `/state`, `interceptor_rules` |
//! | [`event`] | reasons of Events on pods, `interceptor_events_total` |
//! | [`outcome`] | labels `outcome` and `reason` of `interceptor_connections_total`, and `/state` |
//! | [`label`] | other closed sets of label values in `/metrics` |
//! | [`state`] | the JSON document of `/state` and `interceptor status --output json` |
//!
//! The daemon writes these words, clients read them, and tests hold the documentation against the
//! lists. All of them are stable: a word is never renamed, and a new one may appear in any version.
//! A reader that may meet a newer daemon reads [`Word`]s, which keep what they do not know.
//!
//! ```
//! use interceptor_api::{Action, AnnotationKey, ConditionType, Reason};
//!
//! let key = AnnotationKey::new("debug.redirect/alice").expect("belongs to interceptor");
//! assert_eq!((key.action(), key.developer()), (Action::Redirect, Some("alice")));
//! let types: Vec<_> = ConditionType::of(&key).map(|type_| type_.to_string()).collect();
//! assert_eq!(types, ["debug.redirect/Active", "debug.redirect/Active-alice"]);
//! assert_eq!(Reason::from_word("TargetDenied"), Some(Reason::TargetDenied));
//! ```
//!
//! Nothing here does I/O or depends on Linux.

#![forbid(unsafe_code)]
#![warn(clippy::missing_errors_doc, clippy::print_stderr, clippy::print_stdout)]

pub mod action;
pub mod annotation;
pub mod condition;
pub mod event;
pub mod label;
pub mod outcome;
pub mod standing;
pub mod state;

mod vocabulary;

pub use action::Action;
pub use annotation::AnnotationKey;
pub use condition::ConditionType;
pub use event::{EventOutcome, EventReason};
pub use label::{Decision, Direction, PodGroup, Remaining, Server, Side};
pub use outcome::{FellBack, Outcome, OutcomeKind, Passed, Refused};
pub use standing::{Reason, Standing, State};
pub use state::StateReport;
pub use vocabulary::{Vocabulary, Word};
