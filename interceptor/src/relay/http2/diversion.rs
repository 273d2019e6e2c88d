//! The diverted streams of a connection, and their servers.

use std::{
    collections::HashSet,
    future::Future as _,
    hash::{BuildHasher as _, RandomState},
    pin::Pin,
    sync::Arc,
    task::Context,
};

use interceptor_wire::http2::{
    BlockHead, ErrorCode, FrameSize, Increment, OfStream, Opening, Part, StreamId, StreamWindow,
    encode,
    hpack::{Encoder, Fields},
};
use tokio::time::{Instant, Sleep, sleep_until};

use super::{
    down::Down,
    limits::{MAX_DIVERTED, MAX_HELD},
    open::Open,
    respond::respond,
    server::{Polled, Server},
    stream::{self, Diverted, ServerKey},
    streams::Streams,
    to_app::ToApp,
};
use crate::relay::{
    direction::Direction,
    observe::Observer as _,
    route::Route,
    select::Decided,
    stats::{FellBack, Outcome},
    stolen::Stolen,
};

/// The client gets this much of the connection's window back at a time, in bytes. If the app holds
/// the rest of the window, less would make the client send ever so little.
const WORTH_GIVING_BACK: u32 = 4 << 10;

/// What differs once a stream was diverted.
pub(super) struct Diversion<'a> {
    stolen: &'a Stolen,
    /// Encodes header blocks for the app.
    pub(super) encoder: Encoder,
    pub(super) streams: Streams,
    servers: Vec<Server<'a>>,
    next_key: u32,
    /// What the client may be given back of the connection's window, in bytes.
    taken: u32,
    /// Not less than the bytes of all requests that wait.
    held_at_most: usize,
    /// The app's initial window of streams, in bytes.
    apps_window: u32,
    /// The last stream of which something went to the client.
    last_served: StreamId,
    /// Streams that were reset while the client might still send DATA of them.
    forgotten: HashSet<StreamId>,
    /// Shows that the client has read the resets before it.
    ping: Option<Ping>,
    /// When the next stream has waited too long for a target that takes no more at once.
    full_until: Option<Pin<Box<Sleep>>>,
}

/// A PING of the relay's own.
struct Ping {
    opaque: [u8; 8],
    /// The streams that are over when the client answers.
    streams: Vec<StreamId>,
}

// === impl Diversion ===

impl<'a> Diversion<'a> {
    pub(super) fn new(stolen: &'a Stolen, encoder: Encoder) -> Self {
        Self {
            stolen,
            encoder,
            streams: Streams::default(),
            servers: Vec::new(),
            next_key: 0,
            taken: 0,
            held_at_most: 0,
            apps_window: 0,
            last_served: StreamId::CONNECTION,
            forgotten: HashSet::new(),
            ping: None,
            full_until: None,
        }
    }

    /// The highest diverted stream that is open.
    pub(super) fn highest(&self) -> Option<StreamId> {
        self.streams.highest()
    }

    /// Whether the app has not seen the stream because it was diverted, as far as is remembered.
    pub(super) fn knows(&self, id: StreamId) -> bool {
        self.streams.contains(id) || self.forgotten.contains(&id)
    }

    /// Makes the connections to servers end with a reset.
    pub(super) fn reset_servers(&self) {
        self.servers.iter().for_each(Server::reset_on_close);
    }

    /// Diverts a request.
    pub(super) fn divert(
        &mut self,
        id: StreamId,
        fields: Fields,
        end: bool,
        decided: Decided,
        down: &mut Down,
    ) {
        // The change concerns the streams before this one.
        self.follow_initial_window(down);
        let window = down.client.in_force().initial_window_size;
        let Decided { target, mut clock } = decided;
        if self.streams.len() >= MAX_DIVERTED {
            down.insert(|out| encode::rst_stream(out, id, ErrorCode::REFUSED_STREAM));
            return self.forget(id, end);
        }
        let size = fields.list_size();
        let server = self.server(target);
        self.stolen.observe_app().head(Direction::Up, &mut clock);
        let stream = Diverted {
            server,
            theirs: None,
            up: [stream::Up::Block { fields, end }].into(),
            down: Default::default(),
            client_window: StreamWindow::new(window),
            server_window: StreamWindow::new(0),
            granted: StreamWindow::new(0),
            waits_since: None,
            credit: 0,
            client_ended: end,
            is_reset: false,
            server_ended: false,
            taken: 0,
            arriving_up: false,
            arriving_down: false,
            used: Some(0),
            clock,
        };
        self.streams.insert(id, stream);
        self.limit_held(size);
    }

    /// A server that takes another stream, which is dialled if there is none yet.
    fn server(&mut self, route: Option<Arc<Route>>) -> ServerKey {
        let wanted = route.as_ref().map(Arc::as_ptr);
        let takes = |server: &&Server<'_>| {
            server.route.as_ref().map(Arc::as_ptr) == wanted && server.takes_streams()
        };
        if let Some(server) = self.servers.iter().find(takes) {
            return server.key;
        }
        let key = ServerKey(self.next_key);
        self.next_key += 1;
        self.servers.push(Server::dial(key, route, self.stolen));
        key
    }

    /// Trailers of a diverted request. False for other streams.
    pub(super) fn trailers(&mut self, id: StreamId, fields: &Fields) -> bool {
        let Some(stream) = self.streams.get_mut(id) else { return false };
        if !stream.client_ended && !stream.is_reset {
            stream.up.push_back(stream::Up::Block { fields: fields.clone(), end: true });
        }
        stream.client_ended = true;
        self.limit_held(fields.list_size());
        true
    }

    /// A part of a diverted DATA frame.
    pub(super) fn on_data(&mut self, id: StreamId, part: Part, bytes: &[u8], down: &mut Down) {
        let Some(stream) = self.streams.get_mut(id) else { return };
        if part != Part::Content {
            // The server does not get padding, so it gives nothing back for it.
            give_back(id, bytes.len() as u32, down);
            let used = stream.used.take().unwrap_or_default();
            return self.give_connection_back(used, down);
        }
        if !stream.is_reset {
            stream.push_up(bytes, false);
            self.limit_held(bytes.len());
        }
    }

    /// A DATA frame that the app does not get begins. What it takes of the connection's window goes
    /// back to the client: the app will never give it back.
    pub(super) fn on_data_start(&mut self, id: StreamId, length: u32, down: &mut Down) {
        let stream = self.streams.get_mut(id);
        let give_back = match stream {
            None => length,
            Some(stream) => {
                stream.arriving_up = true;
                stream.use_connection(length)
            }
        };
        self.give_connection_back(give_back, down);
    }

    fn give_connection_back(&mut self, bytes: u32, down: &mut Down) {
        self.taken += bytes;
        if self.taken >= WORTH_GIVING_BACK
            && let Some(taken) = Increment::new(std::mem::take(&mut self.taken))
        {
            down.insert(|out| encode::connection_window(out, taken));
        }
    }

    /// A diverted DATA frame is complete. `end`: it has END_STREAM.
    pub(super) fn on_data_end(&mut self, id: StreamId, end: bool) {
        let Some(stream) = self.streams.get_mut(id) else { return };
        stream.arriving_up = false;
        if end && stream.is_reset {
            stream.client_ended = true;
        } else if end && !stream.client_ended {
            stream.push_up(&[], true);
        }
    }

    /// Resets the largest request if too many bytes wait. `more` of them have just come.
    fn limit_held(&mut self, more: usize) {
        // What was sent since the last count makes the sum too high, never too low.
        self.held_at_most += more;
        if self.held_at_most <= MAX_HELD {
            return;
        }
        self.held_at_most = self.streams.iter().map(|(_, stream)| stream.waiting_up()).sum();
        if self.held_at_most <= MAX_HELD {
            return;
        }
        let largest = self.streams.iter_mut().max_by_key(|(_, stream)| stream.waiting_up());
        if let Some((_, stream)) = largest {
            self.held_at_most -= stream.waiting_up();
            if let Some(server) = find(&mut self.servers, stream.server) {
                server.reset(stream, ErrorCode::CANCEL);
            }
            stream.reset(ErrorCode::ENHANCE_YOUR_CALM);
        }
    }

    /// The client takes more of a diverted stream. False for other streams.
    pub(super) fn more_window(
        &mut self,
        id: StreamId,
        more: Increment<OfStream>,
        down: &mut Down,
    ) -> bool {
        let Some(stream) = self.streams.get_mut(id) else { return false };
        if stream.client_window.add(more).is_err() {
            self.end_by_relay(id, ErrorCode::FLOW_CONTROL_ERROR, down);
            return true;
        }
        match stream.theirs {
            None => stream.credit = stream.credit.saturating_add(more.bytes()),
            Some(_) => {
                if let Some(server) = find(&mut self.servers, stream.server) {
                    server.credit(stream, more.bytes());
                }
            }
        }
        true
    }

    /// The client has reset a stream. False if it was not diverted.
    pub(super) fn reset_by_client(&mut self, id: StreamId, code: ErrorCode) -> bool {
        if let Some(stream) = self.streams.remove(id) {
            if let Some(server) = find(&mut self.servers, stream.server) {
                server.reset(&stream, code);
            }
            self.taken += stream.used.unwrap_or_default();
            return true;
        }
        self.forgotten.remove(&id)
    }

    /// Resets a stream on both sides.
    fn end_by_relay(&mut self, id: StreamId, code: ErrorCode, down: &mut Down) {
        let Some(stream) = self.streams.remove(id) else { return };
        if let Some(server) = find(&mut self.servers, stream.server) {
            server.reset(&stream, ErrorCode::CANCEL);
        }
        down.insert(|out| encode::rst_stream(out, id, code));
        self.give_connection_back(stream.used.unwrap_or_default(), down);
        self.forget(id, stream.client_ended);
    }

    /// Remembers a stream that was reset until the client knows it.
    fn forget(&mut self, id: StreamId, client_ended: bool) {
        if !client_ended {
            self.forgotten.insert(id);
        }
    }

    /// The client has acknowledged a PING. Whether it was the relay's.
    pub(super) fn answered(&mut self, opaque: [u8; 8]) -> bool {
        let Some(ping) = self.ping.take_if(|ping| ping.opaque == opaque) else { return false };
        for id in ping.streams {
            self.forgotten.remove(&id);
        }
        true
    }

    /// Follows a change of the client's initial window of streams.
    fn follow_initial_window(&mut self, down: &mut Down) {
        let Some((before, after)) = down.initial_window.take() else { return };
        for (_, stream) in self.streams.iter_mut() {
            // The app's own streams meet the same overflow, which the client judges.
            let _ = stream.client_window.change_initial(before, after);
        }
        for server in &mut self.servers {
            server.set_initial_window(after, &mut self.streams);
        }
    }

    /// Follows a change of the app's initial window of streams. A client whose windows are smaller
    /// now needs what was kept to be given back at once.
    fn follow_apps_window(&mut self, down: &mut Down) {
        let initial = down.app.announced().initial_window_size;
        if std::mem::replace(&mut self.apps_window, initial) <= initial {
            return;
        }
        for (id, stream) in self.streams.iter_mut() {
            give_back(id, stream.give_back(0, initial), down);
        }
    }

    /// Encodes a header block for the app.
    pub(super) fn encode(
        &mut self,
        out: &mut Vec<u8>,
        head: &BlockHead,
        fields: &Fields,
        size: FrameSize,
    ) {
        encode::block(out, head, &self.encoder.block(fields), size);
    }

    /// Moves what can move. Whether anything did.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        to_app: &mut ToApp,
        down: &mut Down,
        open: &mut Open,
    ) -> bool {
        let mut moved = false;
        self.follow_initial_window(down);
        self.follow_apps_window(down);
        let mut over = Vec::new();
        for server in &mut self.servers {
            match server.poll(cx, &down.client, &mut self.streams) {
                Polled::Idle => {}
                Polled::Moved => moved = true,
                Polled::Unreachable(outcome) => over.push((server.key, Some(outcome))),
                Polled::Ended => over.push((server.key, None)),
            }
        }
        for (key, outcome) in over {
            moved = true;
            let Some(at) = self.servers.iter().position(|server| server.key == key) else {
                continue;
            };
            let server = self.servers.remove(at);
            match outcome {
                Some(outcome) => self.fall_back(&server, outcome, to_app, down, open),
                None => self.lose(key),
            }
        }
        self.leave_servers();
        moved |= self.send_up(down);
        moved |= self.leave_full_servers(cx, to_app, down, open);
        moved |= self.send_down(down);
        self.streams.settle();
        let waits = |id| self.streams.get(id).is_some_and(|stream| !stream.down.is_empty());
        down.targets_wait = self.streams.busy().into_iter().any(waits);
        self.send_ping(down);
        self.servers.retain(|server| {
            let is_wanted = || self.streams.iter().any(|(_, stream)| stream.server == server.key);
            !server.is_useless() || is_wanted()
        });
        moved
    }

    /// The server can't be reached: its streams go to the app.
    fn fall_back(
        &mut self,
        server: &Server<'a>,
        outcome: Outcome,
        to_app: &mut ToApp,
        down: &Down,
        open: &mut Open,
    ) {
        // In the order of their numbers, each of which must be higher than those before.
        for id in self.of_server(server.key) {
            match &server.route {
                Some(route) => self.give_to_app(id, route, outcome, to_app, down, open),
                None => {
                    if let Some(stream) = self.streams.get_mut(id) {
                        stream.reset(ErrorCode::REFUSED_STREAM);
                    }
                }
            }
        }
    }

    /// The app gets a stream that the rule's target has not got.
    fn give_to_app(
        &mut self,
        id: StreamId,
        route: &Arc<Route>,
        outcome: Outcome,
        to_app: &mut ToApp,
        down: &Down,
        open: &mut Open,
    ) {
        self.stolen.failed(route, outcome);
        let is_open = down.end.is_none() && !down.is_leaving && to_app.may_open(id);
        // Else the app's window of the connection would be overrun.
        let fits = self.streams.get(id).is_some_and(|stream| stream.used.is_some());
        if is_open && fits {
            return self.hand_to_app(id, to_app, down, open);
        }
        let second = self.server(None);
        if let Some(stream) = self.streams.get_mut(id) {
            stream.server = second;
            stream.waits_since = None;
        }
    }

    /// Gives the app the streams that have waited too long for a target that takes no more at once.
    /// Whether there were any.
    fn leave_full_servers(
        &mut self,
        cx: &mut Context<'_>,
        to_app: &mut ToApp,
        down: &Down,
        open: &mut Open,
    ) -> bool {
        let patience = self.stolen.workload.connect_timeout;
        let (mut over, mut next): (Vec<(StreamId, Arc<Route>)>, Option<Instant>) =
            (Vec::new(), None);
        for id in self.streams.busy() {
            let Some(stream) = self.streams.get(id) else { continue };
            let waits = stream.theirs.is_none() && !stream.is_reset;
            let Some(since) = stream.waits_since.filter(|_| waits) else { continue };
            let server = self.servers.iter().find(|server| server.key == stream.server);
            // The second connection to the app is the last resort.
            let Some(route) = server.and_then(|server| server.route.clone()) else { continue };
            if since.elapsed() >= patience {
                over.push((id, route));
            } else {
                let end = since + patience;
                next = Some(next.map_or(end, |next| next.min(end)));
            }
        }
        let any = !over.is_empty();
        for (id, route) in over {
            let outcome = Outcome::FellBack(FellBack::TargetFull);
            self.give_to_app(id, &route, outcome, to_app, down, open);
        }
        self.full_until = next.map(|end| Box::pin(sleep_until(end)));
        let woken = self.full_until.as_mut().is_some_and(|end| end.as_mut().poll(cx).is_ready());
        any || woken
    }

    /// Opens a diverted stream at the app after all.
    fn hand_to_app(&mut self, id: StreamId, to_app: &mut ToApp, down: &Down, open: &mut Open) {
        let Some(stream) = self.streams.remove(id) else { return };
        let (mut frames, size) = (Vec::new(), down.app.in_force().max_frame_size);
        for item in stream.up {
            match item {
                stream::Up::Block { fields, end } => {
                    let opening = Opening::Headers { end_stream: end, priority: None };
                    self.encode(&mut frames, &BlockHead { stream: id, opening }, &fields, size);
                }
                stream::Up::Data { mut bytes, end } => {
                    encode::data(&mut frames, id, bytes.make_contiguous(), end, size);
                }
            }
        }
        if let Some(credit) = Increment::new(stream.credit) {
            encode::stream_window(&mut frames, id, credit);
        }
        to_app.open(id, &frames);
        open.add(id, stream.clock);
    }

    fn of_server(&self, key: ServerKey) -> Vec<StreamId> {
        let of_server = self.streams.iter().filter(|(_, stream)| stream.server == key);
        of_server.map(|(id, _)| id).collect()
    }

    /// The server is gone.
    fn lose(&mut self, key: ServerKey) {
        for (_, stream) in self.streams.iter_mut().filter(|(_, stream)| stream.server == key) {
            let is_answered = stream.server_ended;
            if stream.theirs.is_none() {
                // Nothing of it was sent, so it may be sent again (RFC 9113, section 8.7).
                stream.reset(ErrorCode::REFUSED_STREAM);
            } else if !is_answered {
                stream.reset(ErrorCode::INTERNAL_ERROR);
            } else if stream.client_ended {
                stream.up.clear();
            } else {
                // The response is complete, and nobody takes the rest of the request.
                stream.reset(ErrorCode::NO_ERROR);
            }
        }
    }

    /// Sends requests on.
    fn send_up(&mut self, down: &mut Down) -> bool {
        let initial = down.app.announced().initial_window_size;
        let (mut any, mut used) = (false, 0);
        for id in self.streams.busy() {
            let Some(stream) = self.streams.get_mut(id) else { continue };
            if stream.up.is_empty() {
                continue;
            }
            let Some(server) = find(&mut self.servers, stream.server) else { continue };
            let (taken, moved) = server.send(id, stream);
            if stream.theirs.is_some() {
                used += stream.used.take().unwrap_or_default();
            }
            any |= moved;
            give_back(id, stream.give_back(taken, initial), down);
        }
        self.give_connection_back(used, down);
        any
    }

    /// Sends responses on.
    fn send_down(&mut self, down: &mut Down) -> bool {
        let (mut any, mut over) = (false, Vec::new());
        // Each turn begins behind the last stream that was served, so that none starves.
        let mut ids = self.streams.busy();
        let first = ids.partition_point(|&id| id <= self.last_served);
        ids.rotate_left(first);
        for id in ids {
            let Some(stream) = self.streams.get_mut(id) else { continue };
            let server = find(&mut self.servers, stream.server);
            if respond(id, stream, server, down, &mut over) {
                any = true;
                self.last_served = id;
            }
            if stream.is_over() {
                over.push(id);
            }
        }
        for id in over {
            if let Some(stream) = self.streams.remove(id) {
                if let Some(server) = find(&mut self.servers, stream.server) {
                    server.forget(stream.theirs);
                }
                self.give_connection_back(stream.used.unwrap_or_default(), down);
                self.forget(id, stream.client_ended);
            }
        }
        any
    }

    /// Gives the streams that a leaving server has not got to another connection.
    fn leave_servers(&mut self) {
        let is_left = |server: &&Server<'_>| server.is_leaving();
        for key in self.servers.iter().filter(is_left).map(|server| server.key).collect::<Vec<_>>()
        {
            let is_left = |stream: &Diverted| {
                stream.server == key && stream.theirs.is_none() && !stream.is_reset
            };
            if !self.streams.iter().any(|(_, stream)| is_left(stream)) {
                continue;
            }
            let route = find(&mut self.servers, key).and_then(|server| server.route.clone());
            let next = self.server(route);
            for (_, stream) in self.streams.iter_mut().filter(|(_, stream)| is_left(stream)) {
                stream.server = next;
                stream.waits_since = None;
            }
        }
    }

    /// The client has ended its connection: what it has not ended before stays a part.
    pub(super) fn cancel_parts(&mut self) {
        for (_, stream) in self.streams.iter_mut().filter(|(_, stream)| !stream.client_ended) {
            if let Some(server) = find(&mut self.servers, stream.server) {
                server.reset(stream, ErrorCode::CANCEL);
            }
            stream.reset(ErrorCode::CANCEL);
            stream.client_ended = true;
        }
    }

    /// Passes the client's FIN on to servers that have got everything before it.
    pub(super) fn finish_servers(&mut self) {
        for server in &mut self.servers {
            let is_waiting =
                |stream: &Diverted| stream.server == server.key && !stream.up.is_empty();
            if !self.streams.iter().any(|(_, stream)| is_waiting(stream)) {
                server.finish();
            }
        }
    }

    /// Asks whether the client has read the resets.
    fn send_ping(&mut self, down: &mut Down) {
        if self.ping.is_some() || self.forgotten.is_empty() || !down.is_at_boundary() {
            return;
        }
        let opaque = RandomState::new().hash_one(0).to_be_bytes();
        self.ping = Some(Ping { opaque, streams: self.forgotten.iter().copied().collect() });
        down.insert(|out| encode::ping(out, opaque));
    }
}

fn find<'s, 'a>(servers: &'s mut [Server<'a>], key: ServerKey) -> Option<&'s mut Server<'a>> {
    servers.iter_mut().find(|server| server.key == key)
}

/// The client may send that much more of the stream.
fn give_back(id: StreamId, bytes: u32, down: &mut Down) {
    if let Some(bytes) = Increment::new(bytes) {
        down.insert(|out| encode::stream_window(out, id, bytes));
    }
}
