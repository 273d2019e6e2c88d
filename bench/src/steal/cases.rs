//! The cases and loads of the comparison.

use clap::ValueEnum;
use serde::Serialize;

/// A path of a client's bytes to a server.
///
/// The order is that of the first round. Cases that are compared with each other are close
/// together, so that the machine has little time to drift between them.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Case {
    /// Client directly to the laptop
    Direct,
    /// `direct` again, to show the noise of the machine
    DirectAgain,
    /// Client to the pod's port 8080, which the daemon redirects to the laptop
    Interceptor,
    /// Client to the pod's port 8080, which iptables redirects to haproxy, one thread
    #[value(name = "iptables+haproxy-1t")]
    #[serde(rename = "iptables+haproxy-1t")]
    IptablesHaproxy1,
    /// The same, two threads
    #[value(name = "iptables+haproxy-2t")]
    #[serde(rename = "iptables+haproxy-2t")]
    IptablesHaproxy2,
    /// Client to haproxy in the pod, one thread
    #[value(name = "haproxy-1t")]
    #[serde(rename = "haproxy-1t")]
    Haproxy1,
    /// The same, two threads
    #[value(name = "haproxy-2t")]
    #[serde(rename = "haproxy-2t")]
    Haproxy2,
    /// Client to another port of the pod, without a daemon
    BystanderBase,
    /// `bystander-base` while port 8080 of the same pod is redirected
    Bystander,
}

/// A kind of measurement.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Load {
    /// New connections per second
    Conns,
    /// Latency of a request and a response of 64 bytes
    Rr,
    /// Throughput of one and of eight streams
    Bulk,
    /// Time from a change of the rule to the first connection that follows it
    Arming,
    /// Cost of a daemon with 100 armed workloads and no traffic
    Idle,
    /// Memory of silent connections
    Held,
}

/// The relay between the client and the server.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Middle {
    Nothing,
    Haproxy { threads: usize, redirect: bool },
    Daemon,
}

/// The address that the client connects to, and the server that must answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Path {
    Laptop,
    Haproxy,
    /// The pod's redirected port. The laptop answers.
    Redirected,
    /// The same port of the pod with the iptables rule. The laptop answers.
    RedirectedByIptables,
    /// The pod's other port. The app answers.
    Bystander,
}

impl Case {
    pub(crate) fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().into())
    }

    pub(crate) fn middle(self) -> Middle {
        match self {
            Self::Direct | Self::DirectAgain | Self::BystanderBase => Middle::Nothing,
            Self::Haproxy1 => Middle::Haproxy { threads: 1, redirect: false },
            Self::Haproxy2 => Middle::Haproxy { threads: 2, redirect: false },
            Self::IptablesHaproxy1 => Middle::Haproxy { threads: 1, redirect: true },
            Self::IptablesHaproxy2 => Middle::Haproxy { threads: 2, redirect: true },
            Self::Interceptor | Self::Bystander => Middle::Daemon,
        }
    }

    pub(crate) fn path(self) -> Path {
        match self {
            Self::Direct | Self::DirectAgain => Path::Laptop,
            Self::Haproxy1 | Self::Haproxy2 => Path::Haproxy,
            Self::IptablesHaproxy1 | Self::IptablesHaproxy2 => Path::RedirectedByIptables,
            Self::Interceptor => Path::Redirected,
            Self::BystanderBase | Self::Bystander => Path::Bystander,
        }
    }

    /// The case that this one's ratios refer to.
    pub(crate) fn base(self) -> Self {
        match self.path() {
            Path::Bystander => Self::BystanderBase,
            _ => Self::Direct,
        }
    }

    /// Tells whether the relay carries the bytes, so that its CPU time is their cost.
    pub(crate) fn relays(self) -> bool {
        self.middle() != Middle::Nothing && self.path() != Path::Bystander
    }
}

/// The order of a round. Each round starts one case later than the one before.
pub(crate) fn rotated(cases: &[Case], round: usize) -> Vec<Case> {
    let mut order = cases.to_vec();
    if !order.is_empty() {
        order.rotate_left(round % cases.len());
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_case_is_the_first_of_a_round_once() {
        let cases = Case::value_variants();
        let mut firsts: Vec<String> =
            (0..cases.len()).map(|round| rotated(cases, round)[0].name()).collect();
        firsts.sort();
        firsts.dedup();
        assert_eq!(firsts.len(), cases.len());
        assert!(rotated(&[], 3).is_empty());
    }

    #[test]
    fn compared_cases_are_next_to_each_other() {
        let place =
            |case| Case::value_variants().iter().position(|other| *other == case).expect("listed");
        assert_eq!(place(Case::DirectAgain), place(Case::Direct) + 1);
        assert_eq!(place(Case::Bystander), place(Case::BystanderBase) + 1);
    }

    #[test]
    fn json_and_command_line_use_the_same_names() {
        for case in Case::value_variants() {
            let json = serde_json::to_string(case).expect("a name");
            assert_eq!(json.trim_matches('"'), case.name());
        }
    }
}
