//! Tells which connections come from inside the pod, and which rules take them.
//!
//! Connections from outside are not examined further, and none is if neither the pod nor a rule
//! makes a difference.

use std::{net::IpAddr, sync::Arc};

use interceptor_rule::Local;

use super::{
    addr::{ClientAddr, OrigDst},
    route::Route,
    workload::Workload,
};

/// Where a connection comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// From outside the pod, or from anywhere if no rule makes a difference.
    Anywhere,
    /// From inside the pod.
    Inside,
    /// From inside the pod, and from a container whose `exec` checks may run.
    Check,
}

// === impl Origin ===

impl Origin {
    /// Where the connection of `client` to `original` comes from.
    #[must_use]
    pub fn of(
        workload: &Workload,
        routes: &[Arc<Route>],
        client: ClientAddr,
        original: OrigDst,
    ) -> Self {
        let finder = workload.checks.load();
        let matters = finder.is_some() || routes.iter().any(|r| r.local != Local::ExceptChecks);
        if !matters || !is_inside(client.ip(), original.ip()) {
            return Self::Anywhere;
        }
        match &*finder {
            Some(finder) if finder.is_check(client, original) => Self::Check,
            _ => Self::Inside,
        }
    }

    /// Whether a rule with this option takes connections from here.
    #[must_use]
    pub fn is_taken(self, local: Local) -> bool {
        match (self, local) {
            (Self::Anywhere, _) | (Self::Inside, Local::ExceptChecks) | (_, Local::ToTarget) => {
                true
            }
            (Self::Check, Local::ExceptChecks) | (_, Local::ToApp) => false,
        }
    }
}

/// Whether a connection comes from inside the pod: from loopback, or from the very address that it
/// goes to.
fn is_inside(client: IpAddr, original: IpAddr) -> bool {
    let (client, original) = (client.to_canonical(), original.to_canonical());
    client.is_loopback() || original.is_loopback() || client == original
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("127.0.0.1", "127.0.0.1", true)]
    #[case("::1", "::1", true)]
    #[case("::ffff:127.0.0.1", "127.0.0.1", true)]
    #[case("10.1.2.3", "10.1.2.3", true)]
    #[case("10.1.2.3", "127.0.0.1", true)]
    #[case("fd00::2", "fd00::2", true)]
    #[case("10.1.2.1", "10.1.2.3", false)]
    #[case("fd00::1", "fd00::2", false)]
    fn connections_from_inside_have_a_loopback_address_or_one_address_twice(
        #[case] client: IpAddr,
        #[case] original: IpAddr,
        #[case] inside: bool,
    ) {
        assert_eq!(is_inside(client, original), inside);
    }

    #[rstest]
    #[case(Local::ExceptChecks, [true, true, false])]
    #[case(Local::ToApp, [true, false, false])]
    #[case(Local::ToTarget, [true, true, true])]
    fn a_rule_says_which_connections_from_inside_it_takes(
        #[case] local: Local,
        #[case] taken: [bool; 3],
    ) {
        let origins = [Origin::Anywhere, Origin::Inside, Origin::Check];
        assert_eq!(origins.map(|origin| origin.is_taken(local)), taken);
    }
}
