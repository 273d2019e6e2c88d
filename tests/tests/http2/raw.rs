//! A client that sends single frames, which libraries do not allow (RFC 9113, section 4).

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    time::Duration,
};

use anyhow::{Result, ensure};

/// The first bytes of a client (RFC 9113, section 3.4).
pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;

pub(crate) const END_STREAM: u8 = 1;
pub(crate) const ACK: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;

/// The first byte of the head of a response with status 200, with any encoder (RFC 7541, appendix
/// A).
pub(crate) const OK: u8 = 0x88;

/// A connection.
pub(crate) struct RawClient(TcpStream);

/// A received frame.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

impl RawClient {
    /// Opens a connection with default settings.
    pub(crate) fn open(stream: TcpStream) -> Result<Self> {
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        let mut raw = Self(stream);
        raw.0.write_all(PREFACE)?;
        raw.send_frame(SETTINGS, 0, 0, &[])?;
        raw.wait_for(SETTINGS, 0)?;
        raw.send_frame(SETTINGS, ACK, 0, &[])?;
        Ok(raw)
    }

    /// Sends a frame.
    pub(crate) fn send_frame(
        &mut self,
        kind: u8,
        flags: u8,
        stream: u32,
        payload: &[u8],
    ) -> Result<()> {
        Ok(self.0.write_all(&frame(kind, flags, stream, payload))?)
    }

    /// Sends the head of a request. `is_all` ends the request.
    pub(crate) fn request(&mut self, stream: u32, path: &str, is_all: bool) -> Result<()> {
        // GET, http, and two literals without indexing (RFC 7541, section 6.2.2).
        let mut head = vec![0x82, 0x86, 0x04, path.len() as u8];
        head.extend(path.bytes());
        head.extend(b"\x01\x03web");
        self.send_frame(HEADERS, END_HEADERS | if is_all { END_STREAM } else { 0 }, stream, &head)
    }

    /// Reads up to the next frame of this kind on a stream.
    pub(crate) fn wait_for(&mut self, kind: u8, stream: u32) -> Result<Frame> {
        loop {
            let frame = self.next()?;
            if (frame.kind, frame.stream) == (kind, stream)
                && (kind != SETTINGS || frame.flags & ACK == 0)
            {
                return Ok(frame);
            }
        }
    }

    /// Reads to the end of the connection, and fails if that is a reset.
    pub(crate) fn wait_for_end(mut self) -> Result<()> {
        let mut rest = Vec::new();
        self.0.read_to_end(&mut rest)?;
        Ok(())
    }

    fn next(&mut self) -> Result<Frame> {
        let mut head = [0; 9];
        self.0.read_exact(&mut head)?;
        let [a, b, c, kind, flags, stream @ ..] = head;
        let length = u32::from_be_bytes([0, a, b, c]) as usize;
        ensure!(length <= 1 << 14, "a frame of {length} bytes");
        let mut payload = vec![0; length];
        self.0.read_exact(&mut payload)?;
        Ok(Frame { kind, flags, stream: u32::from_be_bytes(stream), payload })
    }
}

/// A frame, with its head.
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut frame = u32::to_be_bytes(payload.len() as u32)[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}
