//! One stolen connection, from being accepted to its end.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use interceptor_condition::Facts;
use tokio::{net::TcpStream, time::Instant};

use super::{
    dial::{self, Ack, Cause, Upstream},
    loop_guard::Hops,
    pipe::{Before, Ending, pipe},
    proxy_v2,
    record::ConnRecord,
    route::Route,
    socket,
    stats::{Decision, Outcome},
    workload::Workload,
};

/// A connection to a redirected port, and what is known of it.
#[derive(Debug)]
pub struct Stolen {
    /// Whose port was called.
    pub workload: Arc<Workload>,
    /// The caller's side.
    pub client: TcpStream,
    /// The caller.
    pub peer: SocketAddr,
    /// What he called.
    pub original: SocketAddr,
    /// The redirected ports that led here.
    pub(super) path: Arc<Hops>,
    /// What each rule has had of it.
    pub record: ConnRecord,
}

impl Drop for Stolen {
    fn drop(&mut self) {
        if self.workload.cut.load(Ordering::Relaxed) {
            socket::reset_on_close(&self.client);
        }
    }
}

// === impl Stolen ===

impl Stolen {
    /// What can be said of it without looking into it.
    #[must_use]
    pub fn facts<'a>(&self, server_name: Option<&'a str>) -> Facts<'a> {
        Facts { source: self.peer, destination: self.original, server_name, request: None }
    }

    /// The rules of the port as they are now.
    #[must_use]
    pub fn routes(&self) -> Arc<[Arc<Route>]> {
        self.workload.routes(self.original.port()).unwrap_or_default()
    }

    /// A call of a rule's target on behalf of this connection.
    pub fn dial(
        &self,
        route: &Arc<Route>,
        word: Ack,
    ) -> impl Future<Output = Result<Upstream, Outcome>> + Send + use<> {
        let (workload, route) = (Arc::clone(&self.workload), Arc::clone(route));
        let cause = Cause { path: Arc::clone(&self.path), called: self.original.ip() };
        let started = Instant::now();
        async move {
            let upstream = dial::to_target(&workload, &route.destination, cause, word).await?;
            route.stats.connect_seconds.observe(started.elapsed().as_secs_f64());
            Ok(upstream)
        }
    }

    /// A call of the application on behalf of this connection.
    pub fn dial_app(
        &self,
        word: Ack,
    ) -> impl Future<Output = Result<Upstream, Outcome>> + Send + use<> {
        let workload = Arc::clone(&self.workload);
        let (peer, original) = (self.peer, self.original);
        async move { dial::to_app(&workload, peer, original, word).await }
    }

    /// Notes that the target has what its rule wanted.
    pub fn reached(&self, route: &Arc<Route>) {
        if !route.filter.takes_all() {
            route.stats.decide(Decision::Matched);
        }
        self.record.record_outcome(route, Outcome::Redirected);
    }

    /// Notes that the application has what the rule wanted.
    pub fn failed(&self, route: &Arc<Route>, outcome: Outcome) {
        if !route.filter.takes_all() {
            route.stats.decide(Decision::FellBack);
        }
        self.record.record_outcome(route, outcome);
    }

    /// What a rule's target is told before anything that the caller says.
    #[must_use]
    pub fn preface(&self, route: &Route) -> Vec<u8> {
        match route.proxy_protocol {
            Some(interceptor_rule::ProxyProtocol::V2) => proxy_v2::header(self.peer, self.original),
            None => Vec::new(),
        }
    }

    /// All of it is a rule's.
    pub(super) async fn redirect(&self, route: &Arc<Route>) {
        let outcome = match self.dial(route, Ack::Immediate).await {
            Ok(target) => {
                self.reached(route);
                return self.hand_over(route, &target, Vec::new()).await;
            }
            Err(outcome) => outcome,
        };
        match self.dial_app(Ack::Immediate).await {
            Ok(app) => {
                self.failed(route, outcome);
                self.pass_on(&app, Before::default()).await;
            }
            Err(outcome) => {
                self.record.record_all(outcome);
                socket::reset_on_close(&self.client);
            }
        }
    }

    /// All that is still to come is the application's.
    pub async fn pass_on(&self, app: &Upstream, before: impl Into<Before>) {
        carry(&self.workload, &self.client, &app.stream, before.into(), [None, None]).await;
    }

    /// All of it is the target's; `said` was read from the caller.
    pub async fn hand_over(&self, route: &Route, target: &Upstream, said: Vec<u8>) {
        let mut first = self.preface(route);
        first.extend_from_slice(&said);
        self.tunnel(route, target, [first, Vec::new()]).await;
    }

    /// All that is still to come is the target's.
    pub async fn tunnel(&self, route: &Route, target: &Upstream, before: impl Into<Before>) {
        let moved = route.stats.bytes().map(Some);
        carry(&self.workload, &self.client, &target.stream, before.into(), moved).await;
    }
}

/// Moves bytes until the end, and makes it the end that both sides would have seen without us.
pub(super) async fn carry(
    workload: &Workload,
    client: &TcpStream,
    upstream: &TcpStream,
    before: Before,
    moved: [Option<&AtomicU64>; 2],
) {
    let _cut = ResetIfCut { workload, streams: [client, upstream] };
    let survivor = match pipe(client, upstream, before, moved).await {
        Ending::Closed => return,
        Ending::ABroke => upstream,
        Ending::BBroke => client,
    };
    // What the broken side said before is in the survivor's send queue, which a reset would throw away.
    socket::drained(survivor).await;
    socket::reset_on_close(survivor);
}

/// Whenever the task ends: in a namespace that is gone, a FIN would wait for an answer that can't come.
struct ResetIfCut<'a> {
    workload: &'a Workload,
    streams: [&'a TcpStream; 2],
}

impl Drop for ResetIfCut<'_> {
    fn drop(&mut self) {
        if self.workload.cut.load(Ordering::Relaxed) {
            self.streams.into_iter().for_each(socket::reset_on_close);
        }
    }
}
