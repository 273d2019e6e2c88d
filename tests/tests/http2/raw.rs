//! A caller who says what no library lets him say: frames, one by one (RFC 9113, section 4).

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    time::Duration,
};

use anyhow::{Result, ensure};

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;

pub(crate) const END_STREAM: u8 = 1;
pub(crate) const ACK: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;

/// The first byte of the head of a response with status 200, by any encoder (RFC 7541, appendix A).
pub(crate) const OK: u8 = 0x88;

pub(crate) struct Raw(TcpStream);

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

impl Raw {
    /// Opens a connection with default settings.
    pub(crate) fn open(stream: TcpStream) -> Result<Self> {
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        let mut raw = Self(stream);
        raw.0.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")?;
        raw.say(SETTINGS, 0, 0, &[])?;
        raw.wait_for(SETTINGS, 0)?;
        raw.say(SETTINGS, ACK, 0, &[])?;
        Ok(raw)
    }

    pub(crate) fn say(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Result<()> {
        let mut frame = u32::to_be_bytes(payload.len() as u32)[1..].to_vec();
        frame.extend([kind, flags]);
        frame.extend(stream.to_be_bytes());
        frame.extend(payload);
        Ok(self.0.write_all(&frame)?)
    }

    /// The head of a request without content, or of one whose content follows.
    pub(crate) fn request(&mut self, stream: u32, path: &str, is_all: bool) -> Result<()> {
        // GET, http, and two literals that are not to be remembered (RFC 7541, section 6.2.2).
        let mut head = vec![0x82, 0x86, 0x04, path.len() as u8];
        head.extend(path.bytes());
        head.extend(b"\x01\x03web");
        self.say(HEADERS, END_HEADERS | if is_all { END_STREAM } else { 0 }, stream, &head)
    }

    /// The next frame of this kind on a stream; others are ignored.
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

    /// Sees that the connection ends in order, whatever else is said before.
    pub(crate) fn ends(mut self) -> Result<()> {
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
