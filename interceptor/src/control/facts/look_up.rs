//! Looks a name up, and asks again until a DNS server answers.

use std::{net::IpAddr, time::Duration};

use futures_util::{FutureExt as _, StreamExt as _, future::BoxFuture, stream::FuturesUnordered};
use hickory_resolver::{
    TokioResolver, net::NetError, net::runtime::TokioRuntimeProvider, proto::rr::Name,
    system_conf::read_system_conf,
};
use interceptor_rule::HostName;
use tokio::time::{Instant, sleep_until};

use super::lookup_error::{LookupError, SILENCE, Servers};

/// How long a look-up has no answer before another one begins. A resolver waits for seconds before
/// it repeats a query, and a server that starts meanwhile does not know of it.
const AGAIN: Duration = Duration::from_secs(1);
/// Maximum number of look-ups of a name under way.
const MAX_UNDER_WAY: usize = 4;

/// The addresses of a name, and until when they are valid.
pub(super) struct Answer {
    pub(super) ips: Vec<IpAddr>,
    pub(super) fresh_until: Instant,
}

/// The look-ups of one name.
pub(super) struct LookUps {
    host: HostName,
    under_way: FuturesUnordered<BoxFuture<'static, Result<Answer, LookupError>>>,
}

// === impl LookUps ===

impl LookUps {
    pub(super) fn new(host: HostName) -> Self {
        Self { host, under_way: FuturesUnordered::new() }
    }

    /// Asks, and returns the first answer. After [`SILENCE`] without one, the error is
    /// [`LookupError::NoAnswer`], and an answer that comes later is that of the next call.
    pub(super) async fn answer(&mut self) -> Result<Answer, LookupError> {
        let end = Instant::now() + SILENCE;
        while Instant::now() < end {
            if self.under_way.len() < MAX_UNDER_WAY {
                self.under_way.push(look_up(self.host.clone()).boxed());
            }
            if let Some(answer) = self.answer_until(end.min(Instant::now() + AGAIN)).await {
                self.under_way.clear();
                return answer;
            }
        }
        Err(LookupError::NoAnswer(servers()))
    }

    /// The first answer until `then`.
    async fn answer_until(&mut self, then: Instant) -> Option<Result<Answer, LookupError>> {
        loop {
            tokio::select! {
                Some(ended) = self.under_way.next() => match ended {
                    Err(LookupError::NoAnswer(_)) => {}
                    answer => return Some(answer),
                },
                () = sleep_until(then) => return None,
            }
        }
    }
}

/// One look-up. `resolv.conf` is read each time, since it changes at run time in pods and on
/// laptops.
async fn look_up(host: HostName) -> Result<Answer, LookupError> {
    let unreadable = |error: NetError| LookupError::Configuration(error.to_string());
    let (config, options) = read_system_conf().map_err(unreadable)?;
    let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
    *builder.options_mut() = options;
    let resolver = builder.build().map_err(unreadable)?;
    let answer = resolver.lookup_ip(dns_name(&host)?).await;
    let answer = answer.map_err(|error| LookupError::of(&error, servers()))?;
    let fresh_until = Instant::from_std(answer.valid_until());
    Ok(Answer { ips: answer.iter().collect(), fresh_until })
}

/// The servers in `resolv.conf`.
fn servers() -> Servers {
    let system = read_system_conf().ok();
    Servers::new(
        system.iter().flat_map(|(config, _)| config.name_servers()).map(|server| server.ip),
    )
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
