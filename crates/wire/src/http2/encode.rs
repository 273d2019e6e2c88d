//! Writes the frames that the relay makes itself. Each function appends whole frames to `out`.

use super::block::{BlockHead, Opening};
use super::error_code::ErrorCode;
use super::frame::{FRAME_HEADER, Flags, FrameHeader, Kind, Priority, StreamId};
use super::settings::{FrameSize, Setting};
use super::window::{Increment, OfConnection, OfStream};

/// Maximum length in bytes of the text in a GOAWAY. The rest is left out.
const MAX_DEBUG: usize = 1024;

/// SETTINGS.
pub fn settings(out: &mut Vec<u8>, settings: impl IntoIterator<Item = Setting>) {
    let start = begin(out);
    out.extend(settings.into_iter().flat_map(Setting::to_bytes));
    end(out, start, Kind::Settings, StreamId::CONNECTION, Flags::default());
}

/// SETTINGS with ACK.
pub fn settings_ack(out: &mut Vec<u8>) {
    let header = FrameHeader::new(Kind::Settings, StreamId::CONNECTION, 0);
    out.extend(header.with(Flags::ACK).to_bytes());
}

/// WINDOW_UPDATE of the connection.
pub fn connection_window(out: &mut Vec<u8>, increment: Increment<OfConnection>) {
    whole(out, Kind::WindowUpdate, StreamId::CONNECTION, &increment.bytes().to_be_bytes());
}

/// WINDOW_UPDATE of a stream.
pub fn stream_window(out: &mut Vec<u8>, stream: StreamId, increment: Increment<OfStream>) {
    whole(out, Kind::WindowUpdate, stream, &increment.bytes().to_be_bytes());
}

/// RST_STREAM.
pub fn rst_stream(out: &mut Vec<u8>, stream: StreamId, code: ErrorCode) {
    whole(out, Kind::RstStream, stream, &code.0.to_be_bytes());
}

/// PING.
pub fn ping(out: &mut Vec<u8>, opaque: [u8; 8]) {
    whole(out, Kind::Ping, StreamId::CONNECTION, &opaque);
}

/// PING with ACK, which repeats the bytes of the PING.
pub fn ping_ack(out: &mut Vec<u8>, opaque: [u8; 8]) {
    let start = begin(out);
    out.extend(opaque);
    end(out, start, Kind::Ping, StreamId::CONNECTION, Flags::ACK);
}

/// GOAWAY. `debug` is text for diagnosis, of which the first 1,024 bytes are sent.
pub fn goaway(out: &mut Vec<u8>, last: StreamId, code: ErrorCode, debug: &[u8]) {
    let start = begin(out);
    out.extend(last.number().to_be_bytes());
    out.extend(code.0.to_be_bytes());
    out.extend(&debug[..debug.len().min(MAX_DEBUG)]);
    end(out, start, Kind::GoAway, StreamId::CONNECTION, Flags::default());
}

/// DATA without padding, in as many frames as `maximum` demands. No bytes make an empty frame.
pub fn data(
    out: &mut Vec<u8>,
    stream: StreamId,
    bytes: &[u8],
    end_stream: bool,
    maximum: FrameSize,
) {
    let mut rest = bytes;
    loop {
        let (frame, behind) = rest.split_at(rest.len().min(maximum.bytes() as usize));
        let flags = Flags::default().with(Flags::END_STREAM, end_stream && behind.is_empty());
        out.extend(FrameHeader::new(Kind::Data, stream, frame.len()).with(flags).to_bytes());
        out.extend(frame);
        rest = behind;
        if rest.is_empty() {
            return;
        }
    }
}

/// A header block without padding: HEADERS or PUSH_PROMISE, and as many CONTINUATION frames as
/// `maximum` demands.
pub fn block(out: &mut Vec<u8>, head: &BlockHead, block: &[u8], maximum: FrameSize) {
    let (kind, mut flags) = match head.opening {
        Opening::Headers { end_stream, priority } => (
            Kind::Headers,
            Flags::default()
                .with(Flags::END_STREAM, end_stream)
                .with(Flags::PRIORITY, priority.is_some()),
        ),
        Opening::PushPromise(_) => (Kind::PushPromise, Flags::default()),
    };
    let mut start = begin(out);
    match head.opening {
        Opening::Headers { priority, .. } => {
            out.extend(priority.into_iter().flat_map(Priority::to_bytes));
        }
        Opening::PushPromise(promised) => out.extend(promised.number().to_be_bytes()),
    }
    let fields = out.len() - start - FRAME_HEADER;
    let first = block.len().min(maximum.bytes() as usize - fields);
    let (fragment, mut rest) = block.split_at(first);
    out.extend(fragment);
    flags = flags.with(Flags::END_HEADERS, rest.is_empty());
    end(out, start, kind, head.stream, flags);
    while !rest.is_empty() {
        let (fragment, behind) = rest.split_at(rest.len().min(maximum.bytes() as usize));
        start = begin(out);
        out.extend(fragment);
        let flags = Flags::default().with(Flags::END_HEADERS, behind.is_empty());
        end(out, start, Kind::Continuation, head.stream, flags);
        rest = behind;
    }
}

fn whole(out: &mut Vec<u8>, kind: Kind, stream: StreamId, payload: &[u8]) {
    let start = begin(out);
    out.extend(payload);
    end(out, start, kind, stream, Flags::default());
}

/// Leaves room for a header. Returns where it is.
fn begin(out: &mut Vec<u8>) -> usize {
    let start = out.len();
    out.extend([0; FRAME_HEADER]);
    start
}

/// Writes the header in front of the payload that follows it.
fn end(out: &mut [u8], start: usize, kind: Kind, stream: StreamId, flags: Flags) {
    let length = out.len() - start - FRAME_HEADER;
    let header = FrameHeader::new(kind, stream, length).with(flags);
    out[start..start + FRAME_HEADER].copy_from_slice(&header.to_bytes());
}

#[cfg(test)]
mod tests;
