//! Any bytes are the same messages in any reads, or are refused for the same reason. The beginning
//! of the bytes has the same messages as far as it goes.
//!
//! The first byte selects the requests that the responses belong to, the second one the size of
//! the reads.

use interceptor_wire::{Opening, opening};

#[path = "../../../crates/wire/tests/support/mod.rs"]
pub(crate) mod support;

use support::{End, each, requests, responses};

/// A request of each kind that affects the framing of its response.
const ASKED: [&[u8]; 5] = [
    b"GET / HTTP/1.1\r\n\r\n",
    b"HEAD / HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.1\r\nUpgrade: x\r\n\r\n",
    b"CONNECT a:1 HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.0\r\n\r\n",
];

/// Runs the target.
pub fn run(bytes: &[u8]) {
    let [kinds, size, bytes @ ..] = bytes else { return };
    let reads =
        || (1..).map(|read| read * (1 + usize::from(*size))).take_while(|end| *end < bytes.len());

    let whole = requests(bytes, []);
    assert_eq!(requests(bytes, reads()), whole);
    if bytes.len() < 300 {
        assert_eq!(requests(bytes, each(bytes)), whole);
    }
    for end in reads() {
        let part = requests(&bytes[..end], []);
        assert!(whole.messages.starts_with(&part.messages));
        assert!(!matches!(part.end, End::Unframed(_) | End::Over) || part == whole);
    }
    let first = opening(bytes);
    if !whole.messages.is_empty() {
        assert_eq!(first, Opening::Http1);
    }
    for end in 0..bytes.len().min(40) {
        let early = opening(&bytes[..end]);
        assert!(early == Opening::Undecided || early == first);
    }

    let asked = (0..20).map(|place| ASKED[(usize::from(*kinds) + place) % ASKED.len()]);
    let asked =
        asked.filter_map(|request| requests(request, []).messages[0].asked).collect::<Vec<_>>();
    let whole = responses(bytes, &asked, []);
    assert_eq!(responses(bytes, &asked, reads()), whole);
    for end in reads() {
        let part = responses(&bytes[..end], &asked, []);
        assert!(whole.messages.starts_with(&part.messages));
        assert!(!matches!(part.end, End::Unframed(_) | End::Over) || part == whole);
    }
}
