//! The bytes of the client, and what is known of its next request.

use std::{borrow::Cow, future::Future, ops::Range, pin::Pin, sync::Arc};

use interceptor_wire::http1::{self, RequestFramer};

use crate::relay::{
    dial::{AppDialError, DialError},
    hold::Hold,
    received::Received,
    route::Route,
    select::Decided,
    stats::Outcome,
    stream::Chunk,
    upstream::Upstream,
    write_buffer::WriteBuffer,
};

/// Maximum number of bytes that are read ahead of a client whose next request waits.
pub(super) const MAX_BUFFERED: usize = http1::MAX_HEAD;

/// The bytes of the client, and what is known of the next request.
pub(super) struct Requests {
    pub(super) framer: RequestFramer,
    /// Read and not decided about: the beginning of a head, or bytes that have to wait.
    pub(super) buffered: Received,
    /// Ends the wait of what is buffered if the client falls silent.
    pub(super) hold: Hold,
    /// The framer has seen all that is buffered.
    pub(super) needs_more: bool,
    /// Bytes for the current upstream, whose send queue is full.
    pub(super) to_upstream: WriteBuffer,
    pub(super) chunk: Chunk,
    /// The decision about the request that `buffered` begins with.
    pub(super) decided: Option<Decided>,
    pub(super) dials: Dials,
    /// The target that could not be reached for the next request. Counts when the app gets it.
    pub(super) failure: Option<(Arc<Route>, Outcome)>,
    /// The outcome for the client if only the app can serve it: the last dial has failed.
    pub(super) app_failure: Option<Outcome>,
    /// The last request declares where its content ends.
    pub(super) has_length: bool,
    /// Heads in the bytes that are being sent, and what the target gets in their place.
    pub(super) edits: Vec<(Range<usize>, Vec<u8>)>,
    /// The client has sent FIN.
    pub(super) ended: bool,
}

/// The connections that are being made.
#[derive(Default)]
pub(super) struct Dials {
    /// To the target of the next request.
    pub(super) target: Option<(Connect<DialError>, Arc<Route>)>,
    /// To the app. Not given up when the next request turns out to be for a target: the app would
    /// see a connection that is reset.
    pub(super) app: Option<Connect<AppDialError>>,
}

type Connect<E> = Pin<Box<dyn Future<Output = Result<Upstream, E>> + Send>>;

// === impl Requests ===

impl Requests {
    pub(super) fn new(received: Received) -> Self {
        Self {
            framer: RequestFramer::default(),
            buffered: received,
            hold: Hold::default(),
            needs_more: false,
            to_upstream: WriteBuffer::default(),
            chunk: Chunk::default(),
            decided: None,
            dials: Dials::default(),
            failure: None,
            app_failure: None,
            has_length: false,
            edits: Vec::new(),
            ended: false,
        }
    }

    /// The bytes that wait for the upstream's send queue, and those behind them.
    pub(super) fn into_rest(self) -> (Vec<u8>, Vec<u8>) {
        (self.to_upstream.into_rest(), self.buffered.into_rest())
    }

    /// Whether the client is read, so that a read shows its end or failure.
    pub(super) fn is_reading(&self) -> bool {
        self.to_upstream.is_empty() && self.buffered.len() < MAX_BUFFERED && !self.ended
    }

    pub(super) fn has_buffered(&self) -> bool {
        !self.buffered.is_empty()
    }

    /// The rule whose target the next request is for.
    pub(super) fn wanted_target(&self) -> Option<Arc<Route>> {
        self.decided.as_ref().and_then(|decided| decided.target.clone())
    }

    /// Directs the next request to the app instead of its target.
    pub(super) fn want_app(&mut self) {
        if let Some(decided) = &mut self.decided {
            decided.target = None;
        }
    }

    /// Begins again with bytes that were sent. Of the first request, `decided` is known.
    pub(super) fn repeat(&mut self, mut sent: Vec<u8>, decided: Decided) {
        sent.extend_from_slice(self.buffered.all());
        self.buffered = Received::new(sent);
        self.framer = RequestFramer::default();
        self.needs_more = false;
        self.to_upstream = WriteBuffer::default();
        self.decided = Some(decided);
    }

    /// What the upstream gets of `bytes`, without the first `given`.
    pub(super) fn edit<'b>(&mut self, bytes: &'b [u8], given: usize) -> Cow<'b, [u8]> {
        if self.edits.is_empty() {
            return Cow::Borrowed(&bytes[given..]);
        }
        let (mut edited, mut at) = (Vec::with_capacity(bytes.len()), given);
        for (head, instead) in std::mem::take(&mut self.edits) {
            edited.extend_from_slice(&bytes[at..head.start]);
            edited.extend_from_slice(&instead);
            at = head.end;
        }
        edited.extend_from_slice(&bytes[at..]);
        Cow::Owned(edited)
    }
}
