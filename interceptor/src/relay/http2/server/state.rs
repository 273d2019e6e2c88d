//! The connection to a server of diverted streams.

use std::{collections::HashMap, future::Future, pin::Pin, sync::Arc};

use interceptor_wire::http2::{
    ConnectionWindow, ErrorCode, Framer, Settings, StreamId,
    hpack::{Decoder, Encoder},
};
use tokio::time::Sleep;

use super::granted::Granted;
use crate::relay::{
    http2::stream::ServerKey, route::Route, stats::Outcome, stolen::Stolen, upstream::Upstream,
    write_buffer::WriteBuffer,
};

/// How much a server may send before the client has taken it, on the whole connection, in bytes.
pub(super) const WINDOW: u32 = 1 << 20;

/// A server of diverted streams.
pub(in crate::relay::http2) struct Server<'a> {
    pub(in crate::relay::http2) key: ServerKey,
    /// The rule whose target it is. `None`: the app, by a connection of its own.
    pub(in crate::relay::http2) route: Option<Arc<Route>>,
    pub(super) stolen: &'a Stolen,
    pub(super) link: Link<'a>,
    pub(super) framer: Framer,
    /// Read, and not yet covered by an event.
    pub(super) unread: Vec<u8>,
    pub(super) decoder: Decoder,
    /// A header block that is not complete.
    pub(super) block: Option<Block>,
    /// The stream of the DATA frame that is arriving, if somebody wants it.
    pub(super) content_of: Option<StreamId>,
    pub(super) out: WriteBuffer,
    pub(super) encoder: Encoder,
    pub(super) settings: Settings,
    /// What the server was told of the client's initial window.
    pub(super) granted: Granted,
    pub(super) window: ConnectionWindow,
    /// The open streams: the client's number by the server's.
    pub(super) streams: HashMap<StreamId, StreamId>,
    pub(super) next: u32,
    /// The server has sent GOAWAY.
    pub(super) is_leaving: bool,
    /// What the server may be given back of the connection's window, in bytes.
    pub(super) taken: u32,
    /// The content that waits for the client, in bytes.
    pub(super) waiting: u32,
    /// FIN was sent.
    pub(super) is_finished: bool,
}

/// How far the connection is.
pub(super) enum Link<'a> {
    Dialling(Pin<Box<dyn Future<Output = Result<Upstream, Outcome>> + Send + 'a>>),
    /// The preface is sent, and the server's SETTINGS have not arrived. One that is frozen still
    /// accepts.
    Greeting(Upstream, Pin<Box<Sleep>>),
    Open(Upstream),
    /// Between two of the others.
    Closed,
}

/// A header block of the server.
pub(super) struct Block {
    /// The client's number of the stream. `None`: nobody wants it.
    pub(super) stream: Option<StreamId>,
    pub(super) end: bool,
    /// The fields, encoded for the client.
    pub(super) encoded: Vec<u8>,
}

/// The server did something that ends its connection.
pub(super) struct Broken(pub(super) ErrorCode);
