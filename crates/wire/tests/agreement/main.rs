//! Our parser finds the same messages as other parsers, or none.
//!
//! For each message of the corpus: if our parser frames it, each other parser that accepts it finds
//! the same message with the same content. If other parsers disagree about it, our parser does not
//! frame it. A parser may refuse a message: then the app or its client would refuse it too.

#![forbid(unsafe_code)]

mod corpus;
mod peers;
mod requests;
mod responses;
#[allow(dead_code, reason = "other tests use the rest")]
#[path = "../support/mod.rs"]
mod support;

/// The content of a well-formed chunked body.
fn dechunked(mut body: &[u8]) -> Vec<u8> {
    let mut content = Vec::new();
    loop {
        let end = body.windows(2).position(|window| window == b"\r\n").expect("end of line");
        let size = body[..end].split(|byte| b"; \t".contains(byte)).next().expect("size");
        let size =
            usize::from_str_radix(str::from_utf8(size).expect("digits"), 16).expect("digits");
        if size == 0 {
            return content;
        }
        content.extend_from_slice(&body[end + 2..][..size]);
        body = &body[end + 2 + size + 2..];
    }
}

/// Whether a chunked body follows a head, whose framing is known to be unambiguous.
fn is_chunked(head: &[u8]) -> bool {
    head.to_ascii_lowercase().windows(17).any(|window| window == b"transfer-encoding")
}

fn assert_names_are_unique<'a>(names: impl Iterator<Item = &'a str>) {
    let mut names = names.collect::<Vec<_>>();
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count);
}
