//! The address families of the cluster: IPv4, and IPv6 beside it where the machine supports it.

use std::{fmt::Display, fs, process::Command};

use crate::run;

/// The address families in use. The cluster chooses them once, when it starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Families {
    V4,
    Both,
}

// === impl Families ===

impl Families {
    /// The families that the machine supports. Prints the reason if that is one alone.
    pub(crate) fn of_machine() -> Self {
        match no_ipv6() {
            None => Self::Both,
            Some(why) => {
                eprintln!("the cluster has only IPv4: {why}");
                Self::V4
            }
        }
    }

    pub(crate) fn has_ipv6(self) -> bool {
        self == Self::Both
    }

    /// The value of each family in use, from an IPv4 and an IPv6 value.
    pub(crate) fn of<T>(self, [v4, v6]: [T; 2]) -> Vec<T> {
        match self {
            Self::V4 => vec![v4],
            Self::Both => vec![v4, v6],
        }
    }

    /// As [`of`](Self::of), joined by commas, as the parts of Kubernetes expect it.
    pub(crate) fn list(self, both: [impl Display; 2]) -> String {
        self.of(both).iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
    }
}

/// Why there can be no IPv6 here.
fn no_ipv6() -> Option<String> {
    for which in ["all", "default"] {
        let key = format!("net/ipv6/conf/{which}/disable_ipv6");
        match fs::read_to_string(format!("/proc/sys/{key}")) {
            Err(_) => return Some("the kernel has no IPv6".to_owned()),
            Ok(value) if value.trim() != "0" => {
                return Some(format!("{} is set", key.replace('/', ".")));
            }
            Ok(_) => {}
        }
    }
    // kube-proxy implements Services with these.
    let nat = run::output(Command::new("ip6tables").args(["-w", "-t", "nat", "-S"]));
    nat.err().map(|error| format!("{error:#}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_ipv6_only_the_first_is_there() {
        let both = ["10.96.0.0/24", "fd00::/112"];
        assert_eq!(Families::V4.list(both), "10.96.0.0/24");
        assert_eq!(Families::Both.list(both), "10.96.0.0/24,fd00::/112");
        assert_eq!((Families::V4.of(both).len(), Families::Both.of(both).len()), (1, 2));
    }
}
