//! Resolves a target's name again whenever the DNS TTL of the last answer has expired.
//!
//! The relay gets each answer at once. What is reported changes less often: see [`Hold`].

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use interceptor_rule::HostName;
use tokio::time::{Instant, sleep_until};

use super::{
    hold::{Finding, Hold},
    look_up::{Answer, LookUps},
    lookup_error::LookupError,
};
use crate::relay::target::{Addresses, Target};

/// Minimum time between look-ups, for answers with a shorter TTL.
const MIN_TTL: Duration = Duration::from_secs(1);
/// Maximum time between look-ups, for answers with a longer TTL.
const MAX_TTL: Duration = Duration::from_secs(300);
/// The delay after a failed look-up. Without an answer, that time has passed already.
const RETRY: Duration = Duration::from_secs(1);
/// The number of look-ups in a row that must fail in another way than the last report says.
const PATIENCE: u32 = 5;
/// How long addresses are used past their TTL while the DNS server does not answer.
const GRACE: Duration = Duration::from_secs(30);

/// The outcome of a look-up, for the rule's status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resolution {
    /// No answer yet.
    FirstLookup,
    /// The name has addresses that the relay may dial.
    Usable,
    /// The name has no address, for this reason.
    NoAddress(String),
    /// The policy refuses every address of the name. The message names the lines of the policy.
    Denied(String),
}

impl Finding for Resolution {
    const UNKNOWN: Self = Self::FirstLookup;
    const GOOD: Self = Self::Usable;
}

/// Looks `host` up forever and keeps the addresses of `target` current. Calls `report` whenever
/// what to report of the name changes.
///
/// `judge` is called for every address of every answer. `report` gets the text of its errors.
pub async fn keep_resolved<E: fmt::Display>(
    host: HostName,
    port: u16,
    target: Arc<Target>,
    judge: impl Fn(SocketAddr) -> Result<(), E>,
    report: impl Fn(Resolution),
) {
    let mut look_ups = LookUps::new(host.clone());
    let mut reported = Reported::default();
    let mut valid_until = Instant::now();
    let mut is_usable = false;
    loop {
        let (resolution, again_at) = match look_ups.answer().await {
            Ok(Answer { ips, fresh_until }) => {
                valid_until = fresh_until.clamp(Instant::now() + MIN_TTL, Instant::now() + MAX_TTL);
                (publish(&host, port, &ips, &target, &judge), valid_until)
            }
            Err(error) => {
                let now = Instant::now();
                let is_silence = matches!(error, LookupError::NoAnswer(_));
                let again_at = if is_silence { now } else { now + RETRY };
                let keeps = is_usable && !error.is_authoritative() && now < valid_until + GRACE;
                let error = error.about(&host);
                if keeps {
                    tracing::debug!(%host, error, "look-up failed; using the last addresses");
                    (Resolution::Usable, again_at)
                } else {
                    target.set_addresses(Addresses::Unresolved);
                    (Resolution::NoAddress(error), again_at)
                }
            }
        };
        is_usable = resolution == Resolution::Usable;
        reported.look(resolution, Instant::now()).into_iter().for_each(&report);
        while let Some(due) = reported.hold.due().filter(|due| *due < again_at) {
            sleep_until(due).await;
            reported.hold.release(Instant::now()).into_iter().for_each(&report);
        }
        sleep_until(again_at).await;
    }
}

/// What is reported of a name.
#[derive(Default)]
struct Reported {
    hold: Hold<Resolution>,
    /// Whether the name has been usable.
    was_usable: bool,
    /// The number of look-ups in a row that failed in another way than is reported.
    contrary: u32,
}

// === impl Reported ===

impl Reported {
    /// Notes the outcome of a look-up. Returns it if it is to be reported now.
    fn look(&mut self, resolution: Resolution, now: Instant) -> Option<Resolution> {
        if resolution == Resolution::Usable && !self.was_usable {
            // The rule waits for its first address, so there is nothing to hold.
            self.was_usable = true;
            self.hold = Hold::default();
        }
        // Servers that fail in turn, each in its own way, must not change the message each time.
        let is_contrary = matches!(
            (self.hold.reported(), &resolution),
            (Resolution::NoAddress(said), Resolution::NoAddress(why)) if said != why
        );
        self.contrary = if is_contrary { self.contrary + 1 } else { 0 };
        if is_contrary && self.contrary < PATIENCE {
            // The name has no address all the same.
            let same = self.hold.reported().clone();
            return self.hold.see(same, now);
        }
        self.hold.see(resolution, now)
    }
}

/// Publishes the addresses of an answer that `judge` accepts.
fn publish<E: fmt::Display>(
    host: &HostName,
    port: u16,
    ips: &[IpAddr],
    target: &Target,
    judge: &impl Fn(SocketAddr) -> Result<(), E>,
) -> Resolution {
    let mut usable = Vec::new();
    let mut refusals = Vec::new();
    for &ip in ips {
        let address = SocketAddr::new(ip, port);
        match judge(address) {
            Ok(()) => usable.push(address),
            Err(refusal) => refusals.push(refusal.to_string()),
        }
    }
    if !usable.is_empty() {
        target.set_addresses(Addresses::Known(usable));
        Resolution::Usable
    } else if refusals.is_empty() {
        target.set_addresses(Addresses::Unresolved);
        Resolution::NoAddress(format!("{host} has no address"))
    } else {
        target.set_addresses(Addresses::Denied);
        Resolution::Denied(format!("{host}: {}", refusals.join("; ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEP: Duration = Duration::from_secs(1);

    /// What is reported of a name whose look-ups, one per second, end like this.
    fn reports(seconds: u32, ends: impl Fn(u32) -> Resolution) -> Vec<(u32, Resolution)> {
        let (mut reported, start) = (Reported::default(), Instant::now());
        let looks = (0..seconds).map(|second| (second, ends(second), start + STEP * second));
        looks.filter_map(|(second, end, now)| Some((second, reported.look(end, now)?))).collect()
    }

    fn no_address(why: &str) -> Resolution {
        Resolution::NoAddress(why.to_owned())
    }

    #[test]
    fn the_first_address_and_the_first_failure_are_reported_at_once() {
        let ends = |second| match second {
            ..3 => no_address("silence"),
            3..5 => Resolution::Usable,
            _ => no_address("no such name"),
        };
        let expected =
            [(0, no_address("silence")), (3, Resolution::Usable), (5, no_address("no such name"))];
        assert_eq!(reports(20, ends), expected);
    }

    #[test]
    fn a_name_that_flaps_is_reported_as_failed_once() {
        let ends = |second: u32| match second % 2 {
            0 => Resolution::Usable,
            _ => no_address("no such name"),
        };
        let expected = [(0, Resolution::Usable), (1, no_address("no such name"))];
        assert_eq!(reports(600, ends), expected);
    }

    #[test]
    fn a_name_that_fails_again_and_again_is_reported_less_and_less() {
        let ends = |second: u32| match second % 10 {
            0..7 => Resolution::Usable,
            _ => Resolution::Denied("by the policy".to_owned()),
        };
        let reported = reports(600, ends);
        assert!(reported.len() <= 8, "{reported:?}");
        assert_ne!(reported.last().map(|(_, last)| last), Some(&Resolution::Usable));
    }

    #[test]
    fn servers_that_fail_in_turn_do_not_change_the_message() {
        let ends = |second: u32| match second % 7 {
            0..3 => no_address("the first server"),
            _ => no_address("the second server"),
        };
        assert_eq!(reports(600, ends), [(0, no_address("the first server"))]);
        let ends = |second: u32| no_address(if second < 7 { "before" } else { "after" });
        let reported = reports(20, ends);
        assert_eq!(reported.len(), 2, "another reason that lasts is reported: {reported:?}");
    }
}
