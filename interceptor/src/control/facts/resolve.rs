//! The addresses behind a target's name, kept as fresh as the name's TTL says.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use hickory_resolver::{TokioResolver, net::NetError};
use interceptor_rule::HostName;
use tokio::time::{Instant, sleep, sleep_until};

use crate::relay::target::{Addresses, Target};

/// However short a TTL, a name is not looked up more often than this.
const MIN_TTL: Duration = Duration::from_secs(1);
/// However long, not less often than this.
const MAX_TTL: Duration = Duration::from_secs(300);
/// After a failed look-up.
const RETRY: Duration = Duration::from_secs(1);
/// A DNS server that does not answer leaves the last addresses in force for this long past their TTL.
const GRACE: Duration = Duration::from_secs(30);

/// What a look-up found out, for the rule's status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resolution {
    /// No answer yet.
    FirstLookup,
    /// There are addresses that may be used.
    Usable,
    /// There are none; the sentence says why.
    NoAddress(String),
    /// There are some, and the policy refuses all of them; the sentence names the lines that do.
    Denied(String),
}

/// Looks `host` up for ever, keeping `target` current, and tells `report` whenever the outcome changes.
///
/// `judge` is asked about every address of every answer; the sentence of a refusal reaches `report`.
pub async fn keep_resolved<E: fmt::Display>(
    host: HostName,
    port: u16,
    target: Arc<Target>,
    judge: impl Fn(SocketAddr) -> Result<(), E>,
    report: impl Fn(Resolution),
) {
    let mut last = Resolution::FirstLookup;
    let mut valid_until = Instant::now();
    loop {
        let (resolution, again_at) = match lookup(&host).await {
            Ok((ips, fresh_until)) => {
                valid_until = fresh_until.clamp(Instant::now() + MIN_TTL, Instant::now() + MAX_TTL);
                (publish(&host, port, &ips, &target, &judge), valid_until)
            }
            Err(error) => {
                let authoritative = error.is_no_records_found() || error.is_nx_domain();
                if !authoritative
                    && last == Resolution::Usable
                    && Instant::now() < valid_until + GRACE
                {
                    tracing::debug!(%host, %error, "look-up failed; the last addresses stay in force");
                    sleep(RETRY).await;
                    continue;
                }
                target.set_addresses(Addresses::Unresolved);
                (Resolution::NoAddress(format!("look up {host}: {error}")), Instant::now() + RETRY)
            }
        };
        if resolution != last {
            report(resolution.clone());
            last = resolution;
        }
        sleep_until(again_at).await;
    }
}

/// Splits an answer into what may be used and what may not, and publishes the former.
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

/// One look-up. The configuration is read each time: in a pod or on a laptop `resolv.conf` changes under us.
async fn lookup(host: &HostName) -> Result<(Vec<IpAddr>, Instant), NetError> {
    let resolver = TokioResolver::builder_tokio()?.build()?;
    let answer = resolver.lookup_ip(host.as_str()).await?;
    Ok((answer.iter().collect(), Instant::from_std(answer.valid_until())))
}
