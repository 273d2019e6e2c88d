//! Resolves a target's name again whenever the DNS TTL of the last answer has expired.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use hickory_resolver::{
    TokioResolver, net::NetError, net::runtime::TokioRuntimeProvider, proto::rr::Name,
    system_conf::read_system_conf,
};
use interceptor_rule::HostName;
use tokio::time::{Instant, sleep, sleep_until};

use super::lookup_error::LookupError;
use crate::relay::target::{Addresses, Target};

/// Minimum time between look-ups, for answers with a shorter TTL.
const MIN_TTL: Duration = Duration::from_secs(1);
/// Maximum time between look-ups, for answers with a longer TTL.
const MAX_TTL: Duration = Duration::from_secs(300);
/// The delay after a failed look-up.
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

/// Looks `host` up forever and keeps the addresses of `target` current. Calls `report` whenever the
/// outcome changes.
///
/// `judge` is called for every address of every answer. `report` gets the text of its errors.
pub async fn keep_resolved<E: fmt::Display>(
    host: HostName,
    port: u16,
    target: Arc<Target>,
    judge: impl Fn(SocketAddr) -> Result<(), E>,
    report: impl Fn(Resolution),
) {
    let mut last = Resolution::FirstLookup;
    let mut valid_until = Instant::now();
    let mut contrary = 0;
    loop {
        let (resolution, again_at) = match lookup(&host).await {
            Ok((ips, fresh_until)) => {
                valid_until = fresh_until.clamp(Instant::now() + MIN_TTL, Instant::now() + MAX_TTL);
                (publish(&host, port, &ips, &target, &judge), valid_until)
            }
            Err(error) => {
                if !error.is_authoritative()
                    && last == Resolution::Usable
                    && Instant::now() < valid_until + GRACE
                {
                    let error = error.about(&host);
                    tracing::debug!(%host, error, "look-up failed; using the last addresses");
                    sleep(RETRY).await;
                    continue;
                }
                target.set_addresses(Addresses::Unresolved);
                (Resolution::NoAddress(error.about(&host)), Instant::now() + RETRY)
            }
        };
        // Servers that fail in turn, each in its own way, must not change the message each time.
        let is_same_failure =
            matches!((&last, &resolution), (Resolution::NoAddress(_), Resolution::NoAddress(_)));
        contrary = if is_same_failure && resolution != last { contrary + 1 } else { 0 };
        if resolution != last && (!is_same_failure || contrary >= PATIENCE) {
            contrary = 0;
            report(resolution.clone());
            last = resolution;
        }
        sleep_until(again_at).await;
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

/// One look-up. `resolv.conf` is read each time, since it changes at run time in pods and on
/// laptops.
async fn lookup(host: &HostName) -> Result<(Vec<IpAddr>, Instant), LookupError> {
    let unreadable = |error: NetError| LookupError::Configuration(error.to_string());
    let (config, options) = read_system_conf().map_err(unreadable)?;
    let servers: Vec<_> = config.name_servers().iter().map(|server| server.ip).collect();
    let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
    *builder.options_mut() = options;
    let resolver = builder.build().map_err(unreadable)?;
    let answer = resolver.lookup_ip(dns_name(host)?).await;
    let answer = answer.map_err(|error| LookupError::of(&error, servers))?;
    Ok((answer.iter().collect(), Instant::from_std(answer.valid_until())))
}

/// The name as the resolver takes it. The rules for international names (UTS 46) would refuse `_`.
/// A rule has them encoded already.
fn dns_name(host: &HostName) -> Result<Name, LookupError> {
    Name::from_ascii(host.as_str()).map_err(|error| LookupError::NotAName(error.to_string()))
}

#[cfg(test)]
mod tests {
    use hickory_resolver::proto::serialize::binary::BinEncodable as _;
    use interceptor_rule::Target;
    use proptest::prelude::*;

    use super::*;

    /// The name of a rule's target, if the parser accepts it.
    fn accepted(name: &str) -> Option<HostName> {
        match interceptor_rule::parse(&format!("80 -> {name}:1")).ok()?.pop()?.target {
            Target::Name { host, .. } => Some(host),
            Target::Address(_) | Target::Session(_) => None,
        }
    }

    fn check(name: &str) {
        let Some(host) = accepted(name) else { return };
        let dns = dns_name(&host).unwrap_or_else(|error| panic!("{name}: {error:?}"));
        assert_eq!(dns.to_ascii(), host.as_str(), "another name is looked up");
        assert_eq!(dns.is_fqdn(), name.ends_with('.'), "search domains would be tried");
        dns.to_bytes().unwrap_or_else(|error| panic!("{name} fits into no query: {error}"));
    }

    #[test]
    fn names_that_people_write_are_accepted_and_taken() {
        for name in
            ["my_app", "my_app.corp", "_a_", "a_", "xn--a", "xn--bcher-kva.example.", "3com"]
        {
            assert!(accepted(name).is_some(), "{name}");
            check(name);
        }
        let label = "a_".repeat(31);
        let longest = [&label[..]; 4].join(".");
        assert!(accepted(&longest).is_some());
        check(&longest);
    }

    proptest! {
        #[test]
        fn the_resolver_takes_each_name_that_the_parser_accepts(
            name in "[a-zA-Z0-9_-]{1,8}([.][a-zA-Z0-9_-]{1,64}){0,4}[.]?|([xX]n--|[a-z_.-]){1,9}|.{1,9}"
        ) {
            check(&name);
        }
    }
}
