//! Why the frames of a connection can't be followed any more.

use interceptor_wire::{Reason, http2::ErrorCode};

use crate::relay::stats::Piped;

/// Why frames can't be followed any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stop {
    /// What the client is told if it can't be a pipe.
    pub(super) code: ErrorCode,
    /// Why it becomes a pipe, if it can.
    pub(super) why: Piped,
}

// === impl Stop ===

impl Stop {
    /// The client sent what can't be followed.
    pub(super) fn of_client(code: ErrorCode) -> Self {
        Self { code, why: Piped::Request(reason(code)) }
    }

    /// The app did. What comes before its SETTINGS is not HTTP/2.
    pub(super) fn of_app(code: ErrorCode, has_settings: bool) -> Self {
        let reason = if has_settings { reason(code) } else { Reason::NotHttp };
        Self { code, why: Piped::Response(reason) }
    }
}

fn reason(code: ErrorCode) -> Reason {
    match code {
        ErrorCode::COMPRESSION_ERROR => Reason::HeaderBlock,
        ErrorCode::ENHANCE_YOUR_CALM => Reason::HeaderBlockTooLong,
        _ => Reason::Frame,
    }
}
