//! The cases and loads of the comparison.

use clap::ValueEnum;
use serde::Serialize;

/// A path of requests to a server.
///
/// All cases but `direct` route on the header `x-user`. Bystanders send another value than the
/// developer.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Case {
    /// A bystander directly to the app
    Direct,
    /// `direct` again, to show the noise of the machine
    DirectAgain,
    /// A bystander through the daemon with one worker
    #[value(name = "interceptor-1t")]
    #[serde(rename = "interceptor-1t")]
    Interceptor1,
    /// A bystander through haproxy with one thread
    #[value(name = "haproxy-1t")]
    #[serde(rename = "haproxy-1t")]
    Haproxy1,
    /// A bystander through nginx with one worker
    #[value(name = "nginx-1t")]
    #[serde(rename = "nginx-1t")]
    Nginx1,
    /// A bystander through the daemon with two workers
    #[value(name = "interceptor-2t")]
    #[serde(rename = "interceptor-2t")]
    Interceptor2,
    /// A bystander through haproxy with two threads
    #[value(name = "haproxy-2t")]
    #[serde(rename = "haproxy-2t")]
    Haproxy2,
    /// A bystander through nginx with two workers
    #[value(name = "nginx-2t")]
    #[serde(rename = "nginx-2t")]
    Nginx2,
    /// The developer through the daemon with two workers
    #[value(name = "interceptor-2t-matched")]
    #[serde(rename = "interceptor-2t-matched")]
    InterceptorMatched,
    /// The developer through haproxy with two threads
    #[value(name = "haproxy-2t-matched")]
    #[serde(rename = "haproxy-2t-matched")]
    HaproxyMatched,
}

/// A protocol, the use of connections, and the size of the response.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Load {
    /// HTTP/1.1, 16 connections kept alive, no body
    #[value(name = "keep-0")]
    Keep0,
    /// HTTP/1.1, 16 connections kept alive, 1 KiB
    #[value(name = "keep-1k")]
    Keep1,
    /// HTTP/1.1, 16 connections kept alive, 64 KiB
    #[value(name = "keep-64k")]
    Keep64,
    /// HTTP/1.1, a new connection for each request, 1 KiB
    #[value(name = "new-1k")]
    New1,
    /// HTTP/2, 4 connections of 8 streams, 1 KiB
    #[value(name = "h2-1k")]
    H2,
}

/// The proxy between the client and the servers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Middle {
    Nothing,
    Daemon { workers: u32 },
    Haproxy { threads: u32 },
    Nginx { workers: u32 },
}

impl Case {
    pub(crate) fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().into())
    }

    pub(crate) fn middle(self) -> Middle {
        match self {
            Self::Direct | Self::DirectAgain => Middle::Nothing,
            Self::Interceptor1 => Middle::Daemon { workers: 1 },
            Self::Interceptor2 | Self::InterceptorMatched => Middle::Daemon { workers: 2 },
            Self::Haproxy1 => Middle::Haproxy { threads: 1 },
            Self::Haproxy2 | Self::HaproxyMatched => Middle::Haproxy { threads: 2 },
            Self::Nginx1 => Middle::Nginx { workers: 1 },
            Self::Nginx2 => Middle::Nginx { workers: 2 },
        }
    }

    /// Tells whether the requests are the developer's and match the condition.
    pub(crate) fn is_matched(self) -> bool {
        matches!(self, Self::InterceptorMatched | Self::HaproxyMatched)
    }

    /// Tells whether the case supports the load. nginx does not use HTTP/2 for its upstreams.
    pub(crate) fn can(self, load: Load) -> bool {
        load != Load::H2 || !matches!(self.middle(), Middle::Nginx { .. })
    }

    /// The case that a goal compares this case with.
    pub(crate) fn peer(self) -> Option<Self> {
        match self {
            Self::Interceptor1 => Some(Self::Haproxy1),
            Self::Interceptor2 => Some(Self::Haproxy2),
            Self::InterceptorMatched => Some(Self::HaproxyMatched),
            _ => None,
        }
    }
}

impl Load {
    pub(crate) fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().into())
    }

    /// The path of the requests.
    pub(crate) fn path(self) -> &'static str {
        match self {
            Self::Keep0 => "/0",
            Self::Keep1 | Self::New1 | Self::H2 => "/1k",
            Self::Keep64 => "/64k",
        }
    }
}
