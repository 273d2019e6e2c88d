//! Looks a name up, and asks again until a DNS server answers.

use std::{net::IpAddr, time::Duration};

use futures_util::{FutureExt as _, StreamExt as _, future::BoxFuture, stream::FuturesUnordered};
use hickory_resolver::{
    TokioResolver, net::NetError, net::runtime::TokioRuntimeProvider, system_conf::read_system_conf,
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
    let answer = resolver.lookup_ip(host.as_str()).await;
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
