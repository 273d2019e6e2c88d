//! The end of framing: how the connections go on, or how they are closed.

use std::mem;

use super::{
    exchange::Exchange,
    state::{HandOff, Sending},
    upstreams::{Target, Upstreams},
};
use crate::relay::{
    http2, observe::ResponseClock, pipe::Before, stolen::Stolen, upstream::Upstream,
};

/// The connections of an exchange that has ended, and the bytes on their way. All upstreams but
/// the current one and the app are closed.
pub(super) struct Ends {
    /// The target, if a target is current.
    target: Option<Target>,
    app: Option<Upstream>,
    /// Bytes for the current upstream, which has no room for them.
    to_upstream: Vec<u8>,
    /// Bytes of the client that are not sent.
    from_client: Vec<u8>,
    /// `from_client` is the beginning of a request about which nothing is decided.
    has_partial_head: bool,
    /// Bytes for the client, which has no room for them.
    to_client: Vec<u8>,
    /// Bytes of the current upstream that are not sent.
    from_upstream: Vec<u8>,
    /// The request that the last response belongs to, if it offered HTTP/2 to the app.
    http2: Option<(http2::Offer, ResponseClock)>,
}

// === impl Ends ===

impl Ends {
    pub(super) fn of(exchange: Exchange<'_>) -> Self {
        let Exchange { state, upstreams, requests, responses, mut sent, .. } = exchange;
        let (target, app) = Upstreams::into_current(upstreams, state.current);
        let has_partial_head = state.sending == Sending::Between;
        let (to_upstream, from_client) = requests.into_rest();
        let (to_client, from_upstream) = responses.into_rest();
        let request = sent.pop_front();
        let http2 = request.and_then(|request| Some((request.http2?, request.clock)));
        Self {
            target,
            app,
            to_upstream,
            from_client,
            has_partial_head,
            to_client,
            from_upstream,
            http2,
        }
    }

    /// Serves the rest of the connection.
    pub(super) async fn finish(&mut self, stolen: &Stolen, how: HandOff) {
        match how {
            HandOff::Pipe { why, was_reset } => {
                why.iter().for_each(|&why| stolen.record.pipe(why));
                let mut up = mem::take(&mut self.to_upstream);
                up.extend_from_slice(&self.from_client);
                let down = self.rest_for_client();
                let before = Before { up, down, upstream_was_reset: was_reset };
                self.pipe(stolen, before).await;
            }
            HandOff::Http2 => self.http2(stolen).await,
            HandOff::ClientBroke => self.reset_upstreams().await,
            HandOff::UpstreamBroke => {
                // A reset would discard what the upstream sent before, which is in the send queue.
                let rest = self.rest_for_client();
                stolen.client.send_rest(&rest).await;
                stolen.client.reset_on_close();
            }
            HandOff::Close => stolen.client.linger().await,
        }
    }

    fn rest_for_client(&mut self) -> Vec<u8> {
        let mut rest = mem::take(&mut self.to_client);
        rest.append(&mut self.from_upstream);
        rest
    }

    /// Goes on with HTTP/2 between the client and the app.
    async fn http2(&mut self, stolen: &Stolen) {
        let (Some(app), Some((offer, clock))) = (&self.app, self.http2.take()) else { return };
        let switched = http2::Switched {
            offer,
            clock,
            to_app: mem::take(&mut self.to_upstream),
            from_client: mem::take(&mut self.from_client),
            to_client: mem::take(&mut self.to_client),
            from_app: mem::take(&mut self.from_upstream),
        };
        // Boxed: HTTP/1 needs less memory.
        Box::pin(http2::serve_switched(stolen, app, switched)).await;
    }

    /// Pipes between the client and the current upstream.
    async fn pipe(&mut self, stolen: &Stolen, before: Before) {
        match (&self.target, &self.app) {
            (Some(target), _) => {
                self.app = None;
                stolen.tunnel(&target.route, &target.upstream, before).await;
            }
            (None, Some(app)) => stolen.pass_on(app, before).await,
            (None, None) => stolen.client.reset_on_close(),
        }
    }

    /// Sends the current upstream its remaining bytes, then resets it and the app, because the
    /// client was reset. The beginning of a request that is not complete is the app's.
    async fn reset_upstreams(&mut self) {
        if self.has_partial_head && self.target.is_none() {
            self.to_upstream.append(&mut self.from_client);
        }
        let mut words = &*self.to_upstream;
        let target = self.target.as_ref().map(|target| &target.upstream);
        for upstream in target.into_iter().chain(&self.app) {
            upstream.stream.send_rest(words).await;
            upstream.stream.reset_on_close();
            words = &[];
        }
    }
}
