//! One stolen connection, from being accepted to its end.

use std::{
    future::{Future as _, poll_fn},
    pin::pin,
    sync::Arc,
    task::Poll,
};

use interceptor_condition::{Facts, Needs, Request};
use tokio::time::Instant;

use super::{
    addr::{ClientAddr, OrigDst},
    capacity::Carried,
    dial::{self, Ack, AppDialError, Cause, DialError, Purpose},
    direction::Direction,
    farewell::{Pause, Phase},
    liveness,
    local::Origin,
    loop_guard::Hops,
    netns_stream::NetnsStream,
    observe::{Counters, Observer},
    pipe::{Before, Ending, pipe},
    proxy_v2,
    record::ConnRecord,
    route::Route,
    select::{Choice, Decided, decide, select},
    stats::{Decision, Outcome, Refused},
    stream::Stream,
    upstream::Upstream,
    workload::Workload,
};

/// A connection to a redirected port, and what is known of it.
#[derive(Debug)]
pub struct Stolen {
    /// The workload whose port the client connected to.
    pub workload: Arc<Workload>,
    /// The client's side.
    pub client: NetnsStream,
    /// The client's address.
    pub client_addr: ClientAddr,
    /// The address that the client connected to.
    pub original: OrigDst,
    /// Where the connection comes from.
    pub(super) origin: Origin,
    /// The redirected ports that led here.
    pub(super) path: Arc<Hops>,
    /// Counts the connection for the node. Dropped before `record`, which counts it for its rules.
    #[expect(dead_code, reason = "held while the connection is open")]
    pub(super) carried: Carried,
    /// The outcome of this connection for each rule of the port.
    pub record: ConnRecord,
    /// The PROXY protocol header that the client sent before its first request. Each upstream gets
    /// it first. Mostly empty.
    pub(super) proxy_header: Box<[u8]>,
}

// === impl Stolen ===

impl Stolen {
    /// What is known of the connection, apart from its requests.
    fn facts<'a>(&self, server_name: Option<&'a str>) -> Facts<'a> {
        let (source, destination) = (self.client_addr.0, self.original.0);
        Facts { source, destination, server_name, request: None }
    }

    /// The current rules of the port, without those that take no connection from this origin.
    fn routes(&self) -> Arc<[Arc<Route>]> {
        let routes = self.workload.routes(self.original.port()).unwrap_or_default();
        let takes = |route: &&Arc<Route>| self.origin.is_taken(route.local);
        if routes.iter().all(|route| takes(&route)) {
            return routes;
        }
        routes.iter().filter(takes).cloned().collect()
    }

    /// Whether the app answers this connection of an `exec` check, whatever the rules say.
    pub(super) fn is_spared(&self) -> bool {
        self.origin == Origin::Check && self.routes().is_empty()
    }

    /// Asks the current rules of the port about the whole connection.
    ///
    /// `server_name` is the name in the client's TLS handshake: empty if there is none, `None` if
    /// it is not known yet. `known` limits what the rules can learn from that.
    #[must_use]
    pub fn choose(&self, server_name: Option<&str>, known: Needs) -> Choice {
        select(&self.routes(), &self.facts(server_name), known)
    }

    /// Asks the current rules of the port about one request of the connection.
    #[must_use]
    pub fn decide(&self, request: &dyn Request) -> Decided {
        decide(&self.routes(), &Facts { request: Some(request), ..self.facts(Some("")) })
    }

    /// Observes what passes between the client and the app.
    #[must_use]
    pub fn observe_app(&self) -> Counters<'_> {
        Counters::of_app(self.record.traffic())
    }

    /// Observes what passes between the client and the target of a rule.
    #[must_use]
    pub fn observe_target<'a>(&'a self, route: &'a Route) -> Counters<'a> {
        Counters::of_target(self.record.traffic(), route)
    }

    /// Dials a rule's target on behalf of this connection.
    ///
    /// # Errors
    ///
    /// Fails as [`Target::dial`](super::target::Target::dial) does.
    pub fn dial(
        &self,
        route: &Arc<Route>,
        ack: Ack,
    ) -> impl Future<Output = Result<Upstream, DialError>> + Send + use<> {
        let (workload, route) = (Arc::clone(&self.workload), Arc::clone(route));
        if route.filter.takes_all() {
            self.path.taken_for(route.target.suspicion());
        }
        let cause = Cause { path: Arc::clone(&self.path), destination: self.original.ip() };
        let (connection, started) = (self.record.id(), Instant::now());
        let client = self.client.watched();
        async move {
            let mut dialled = route.target.dial(&workload, Purpose::Client(cause), ack).await;
            match &mut dialled {
                Ok(target) => {
                    route.stats.connect_seconds.observe(started.elapsed().as_secs_f64());
                    target.watch = Some(liveness::watch_target(client, &target.stream, &route));
                }
                Err(error) => tracing::debug!(
                    connection,
                    rule = %route.annotation,
                    target = %route.target,
                    %error,
                    "target not reached"
                ),
            }
            dialled
        }
    }

    /// Dials the app on behalf of this connection, and sends it the PROXY header of the client.
    ///
    /// # Errors
    ///
    /// Fails as [`dial::to_app`] does.
    pub fn dial_app(
        &self,
        ack: Ack,
    ) -> impl Future<Output = Result<Upstream, AppDialError>> + Send + use<> {
        let workload = Arc::clone(&self.workload);
        let (client, original, connection) = (self.client_addr, self.original, self.record.id());
        let (proxy_header, watched) = (self.proxy_header.clone(), self.client.watched());
        async move {
            let mut dialled = dial::to_app(&workload, client, original, ack).await;
            if let Ok(app) = &mut dialled {
                app.watch = Some(liveness::watch_app(watched, &app.stream, &workload));
                if let Err(error) = app.stream.write_all(&proxy_header).await {
                    dialled = Err(error.into());
                }
            }
            if let Err(error) = &dialled {
                tracing::debug!(connection, %error, "app not reached");
            }
            dialled
        }
    }

    /// Dials the app. If it refuses, the client is refused, too.
    pub(super) async fn app_or_refuse(&self, ack: Ack) -> Option<Upstream> {
        match self.dial_app(ack).await {
            Ok(app) => Some(app),
            Err(error) => {
                self.refuse(error);
                None
            }
        }
    }

    /// Notes that the app gets bytes of the client about which no rule could decide.
    pub(super) fn undecided(&self) {
        for route in &*self.routes() {
            if !route.filter.takes_all() {
                route.stats.decide(Decision::Undecided);
            }
        }
    }

    /// Refuses the client, since the app can't be reached.
    pub(super) fn refuse(&self, error: AppDialError) {
        self.record.record_all(error.into());
        self.client.reset_on_close();
    }

    /// Notes that the target got the connection or request that its rule matched.
    pub fn reached(&self, route: &Arc<Route>) {
        if !route.filter.takes_all() {
            route.stats.decide(Decision::Matched);
        }
        self.record.record_outcome(route, Outcome::Redirected);
    }

    /// Notes that the app got the connection or request that the rule matched.
    pub fn failed(&self, route: &Arc<Route>, outcome: Outcome) {
        if !route.filter.takes_all() {
            route.stats.decide(Decision::FellBack);
        }
        self.record.record_outcome(route, outcome);
    }

    /// The bytes that a rule's target gets before the client's first request.
    #[must_use]
    pub fn preface(&self, route: &Route) -> Vec<u8> {
        let mut preface = match route.proxy_protocol {
            Some(interceptor_rule::ProxyProtocol::V2) => {
                proxy_v2::header(self.client_addr, self.original)
            }
            None => Vec::new(),
        };
        preface.extend_from_slice(&self.proxy_header);
        preface
    }

    /// Hands the whole connection to a rule's target, or to the app if the target can't be reached
    /// or closes it at once.
    pub(super) async fn redirect(&self, route: &Arc<Route>) {
        let dialled = tokio::select! {
            biased;
            dialled = self.dial(route, Ack::Immediate) => dialled,
            // The client may have to wait. If it has gone meanwhile, a loop must not go on for it.
            () = self.client.failed(), if route.target.suspicion().is_raised() => {
                return self.record.record_all(Outcome::Refused(Refused::ClientGone));
            }
        };
        let error = match dialled {
            // Boxed: else every connection would take the memory that only these need.
            Ok(target) => return Box::pin(self.hand_over_or_repeat(route, target)).await,
            Err(error) => error,
        };
        if let Some(app) = self.app_or_refuse(Ack::Immediate).await {
            self.failed(route, error.into());
            self.pass_on(&app, Before::default()).await;
        }
    }

    /// Passes the rest of the connection between the client and the app.
    pub async fn pass_on(&self, app: &Upstream, before: Before) {
        self.carry(&app.stream, before, &self.observe_app()).await;
    }

    /// Passes the whole connection to the target; `received` was read from the client.
    pub async fn hand_over(&self, route: &Route, target: &Upstream, received: Vec<u8>) {
        let mut first = self.preface(route);
        first.extend_from_slice(&received);
        self.tunnel(route, target, Before { up: first, ..Before::default() }).await;
    }

    /// Passes the rest of the connection between the client and the target.
    pub async fn tunnel(&self, route: &Route, target: &Upstream, before: Before) {
        self.carry(&target.stream, before, &self.observe_target(route)).await;
    }

    /// Moves bytes until the end, and closes each side as it would have been closed without the
    /// relay. While the daemon ends, a pause is the end, too.
    async fn carry(&self, upstream: &Stream, before: Before, observer: &impl Observer) {
        let client: &Stream = &self.client;
        let mut piped = pin!(pipe(client, upstream, before, observer));
        let mut pause = Pause::default();
        let ending = poll_fn(|cx| match piped.as_mut().poll(cx) {
            Poll::Pending if self.may_pause(&mut pause) => Poll::Ready(Ending::Closed),
            polled => polled,
        });
        let survivor = match ending.await {
            Ending::Closed => return,
            Ending::ClientFailed => upstream,
            Ending::UpstreamFailed => client,
        };
        // What the broken side sent before is in the survivor's send queue, which a reset would
        // throw away.
        survivor.drained().await;
        survivor.reset_on_close();
    }

    /// Whether the daemon ends, and nothing is on its way on this pipe.
    fn may_pause(&self, pause: &mut Pause) -> bool {
        let phase = self.record.phase();
        if phase == Phase::Serving {
            return false;
        }
        self.record.remains_as_pipe();
        let bytes = |direction| self.record.traffic().bytes(direction);
        pause.is_at(Instant::now(), bytes(Direction::Up), bytes(Direction::Down))
            && phase == Phase::Last
            && self.client.has_sent_all()
    }
}
