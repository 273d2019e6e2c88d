//! HTTP/2 that begins with `Upgrade: h2c` on an HTTP/1 connection (RFC 7540, section 3.2).
//!
//! The request that offers it is the stream 1, which the client has ended. The app's response 101
//! acknowledges the settings in `HTTP2-Settings`. Frames follow in both directions, and each
//! further stream is decided by itself.

use interceptor_wire::{
    http1::RequestHead,
    http2::{Change, Negotiated, SettingsFrame},
};

use crate::relay::observe::ResponseClock;

/// What a request that offers HTTP/2 to the app says of it.
#[derive(Debug)]
pub(in crate::relay) struct Offer {
    /// A valid payload of SETTINGS.
    settings: Box<[u8]>,
}

/// A connection whose client and app have agreed to go on with HTTP/2.
pub(in crate::relay) struct Switched {
    pub(in crate::relay) offer: Offer,
    /// Runs until the response on the stream 1 begins.
    pub(in crate::relay) clock: ResponseClock,
    /// Bytes of HTTP/1 for the app, which has no room for them, and those behind them.
    pub(in crate::relay) to_app: Vec<u8>,
    pub(in crate::relay) from_client: Vec<u8>,
    /// The same for the client.
    pub(in crate::relay) to_client: Vec<u8>,
    pub(in crate::relay) from_app: Vec<u8>,
}

// === impl Offer ===

impl Offer {
    /// What the request says, if it offers HTTP/2 as it should.
    pub(in crate::relay) fn of(head: &RequestHead<'_>) -> Option<Self> {
        let offer = Self { settings: head.http2_settings()? };
        offer.negotiated()?;
        Some(offer)
    }

    /// The client's settings after the app has agreed, and what that changed.
    pub(super) fn negotiated(&self) -> Option<(Negotiated, Change)> {
        let mut client = Negotiated::default();
        client.sent(SettingsFrame::read(&self.settings)?).ok()?;
        let change = client.acknowledged().ok()?;
        Some((client, change))
    }
}
