//! Answers gRPC's health check, with as much of HTTP/2 as the kubelet's probe needs.
//!
//! The answer to every call is `SERVING`, so the server only has to find the end of a request.

use std::io::{self, Read, Write};

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const PING: u8 = 6;

const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;

/// Serves a connection whose first line, the beginning of HTTP/2's preface, is read already.
pub(crate) fn answer(mut from: impl Read, mut to: impl Write) -> io::Result<()> {
    let mut preface = [0; "\r\nSM\r\n\r\n".len()];
    from.read_exact(&mut preface)?;
    frame(&mut to, SETTINGS, 0, 0, &[])?;
    loop {
        let mut head = [0; 9];
        from.read_exact(&mut head)?;
        let [l0, l1, l2, kind, flags, s0, s1, s2, s3] = head;
        let stream = u32::from_be_bytes([s0, s1, s2, s3]);
        let mut payload = vec![0; u32::from_be_bytes([0, l0, l1, l2]) as usize];
        from.read_exact(&mut payload)?;
        match kind {
            SETTINGS if flags & ACK == 0 => frame(&mut to, SETTINGS, ACK, 0, &[])?,
            PING if flags & ACK == 0 => frame(&mut to, PING, ACK, 0, &payload)?,
            HEADERS | DATA if flags & END_STREAM != 0 => {
                // 0x88 is `:status: 200` in HPACK's static table (RFC 7541 appendix A).
                let mut headers = vec![0x88];
                headers.extend(header("content-type", "application/grpc"));
                frame(&mut to, HEADERS, END_HEADERS, stream, &headers)?;
                // An uncompressed message of two bytes: field 1, the status, is 1 (`SERVING`).
                frame(&mut to, DATA, 0, stream, &[0, 0, 0, 0, 2, 0x08, 0x01])?;
                frame(
                    &mut to,
                    HEADERS,
                    END_HEADERS | END_STREAM,
                    stream,
                    &header("grpc-status", "0"),
                )?;
            }
            _ => {}
        }
        to.flush()?;
    }
}

fn frame(to: &mut impl Write, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> io::Result<()> {
    // All payloads here are below 256 bytes, so the last byte of the length is enough.
    let mut bytes = vec![0, 0, payload.len() as u8, kind, flags];
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    to.write_all(&bytes)
}

/// A header as a literal without indexing (RFC 7541 section 6.2.2).
fn header(name: &str, value: &str) -> Vec<u8> {
    let text = |text: &str| [&[text.len() as u8], text.as_bytes()].concat();
    [vec![0], text(name), text(value)].concat()
}
