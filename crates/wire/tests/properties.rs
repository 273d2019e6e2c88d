//! Properties of all messages, in any reads, and of all bytes.

#![forbid(unsafe_code)]

#[allow(dead_code, reason = "other tests use the rest")]
mod support;

use interceptor_wire::http1::{After, Asked};
use interceptor_wire::{Opening, hello, opening};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select, subsequence};

use support::framer::{Seen, request_events, response_events};
use support::{End, Framed, each, requests, responses};

/// A message, and what the parsers have to find in it.
#[derive(Debug, Clone)]
struct Sent {
    head: Vec<u8>,
    body: Vec<u8>,
    line: String,
    after: After,
}

const MESSAGE: &[&str] = &[
    "Accept: */*",
    "accept-language:de,en;q=0.5",
    "X-Empty:",
    "X-Text: \tsp\u{e4}t, \"quoted: \\\" \"\t ",
    "COOKIE: a=b; c=d",
    "X-Content-Length: 5",
    "Content-Lengths: 7",
    "TE: trailers",
    "Expect: 100-continue",
    "Trailer: Digest",
    "Connection: keep-alive",
    "!#$%&'*+-.^_`|~9: odd name",
];

fn fields() -> impl Strategy<Value = Vec<String>> {
    subsequence(MESSAGE, 0..MESSAGE.len())
        .prop_map(|fields| fields.into_iter().map(str::to_owned).collect::<Vec<_>>())
        .prop_shuffle()
}

fn content() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        vec(any::<u8>(), 0..40),
        // Content that looks like the next message.
        Just(b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n".to_vec()),
        Just(b"HTTP/1.1 200 OK\r\n\r\n0\r\n\r\n".to_vec()),
    ]
}

/// A body as on the wire, and the header field that announces it.
fn body() -> impl Strategy<Value = (Option<String>, Vec<u8>)> {
    let length =
        content().prop_map(|content| (Some(format!("content-Length: {}", content.len())), content));
    let extension = select(&["", ";a", ";a=b", " ; a = \"b c\"", ";a=b;c=d", "  "][..]);
    let chunk = (
        content().prop_filter("is the last chunk", |content| !content.is_empty()),
        extension.clone(),
        0..4_usize,
    )
        .prop_map(|(content, extension, zeros)| {
            let size = format!("{}{:X}{extension}\r\n", "0".repeat(zeros), content.len());
            [size.as_bytes(), &content, b"\r\n"].concat()
        });
    let trailers = select(&["", "Digest: abc\r\n", "A:b\r\nC: \td\r\n"][..]);
    let chunked =
        (vec(chunk, 0..4), extension, trailers).prop_map(|(chunks, extension, trailers)| {
            let end = format!("0{extension}\r\n{trailers}\r\n");
            (
                Some("Transfer-encoding: Chunked".to_owned()),
                [&chunks.concat(), end.as_bytes()].concat(),
            )
        });
    prop_oneof![Just((None, vec![])), length, chunked]
}

fn head(line: &str, mut fields: Vec<String>, framing: Option<String>, place: usize) -> Vec<u8> {
    if let Some(framing) = framing {
        fields.insert(place % (fields.len() + 1), framing);
    }
    let fields = fields.iter().map(|field| format!("{field}\r\n")).collect::<String>();
    format!("{line}\r\n{fields}\r\n").into_bytes()
}

fn sent_request() -> impl Strategy<Value = Sent> {
    let method =
        select(&["GET", "POST", "HEAD", "DELETE", "OPTIONS", "M-SEARCH", "get", "x_y"][..]);
    let target = select(&["/", "/a?b=c&d=%20", "*", "http://a:80/b", "//x", "/ü"][..]);
    let version = select(&["HTTP/1.1", "HTTP/1.0"][..]);
    (method, target, version, fields(), body(), any::<usize>(), 0..3_usize).prop_map(
        |(method, target, version, mut fields, (framing, body), place, empty)| {
            let chunked = framing.as_deref().is_some_and(|field| field.starts_with("Transfer"));
            let version = if chunked { "HTTP/1.1" } else { version };
            if version == "HTTP/1.0" {
                fields.push("Connection: x, Keep-Alive".to_owned());
            }
            let head = head(&format!("{method} {target} {version}"), fields, framing, place);
            let head = [&b"\r\n".repeat(empty), &head[..]].concat();
            Sent { head, body, line: format!("{method} {target}"), after: After::Keep }
        },
    )
}

/// The last request of a connection.
fn last_request() -> impl Strategy<Value = Sent> {
    prop_oneof![
        Just(("GET /", "HTTP/1.1", "Connection: close", After::Close)),
        Just(("GET /", "HTTP/1.1", "connection: Keep-Alive ,CLOSE", After::Close)),
        Just(("GET /", "HTTP/1.0", "Host: a", After::Close)),
        Just(("GET /", "HTTP/1.1", "Upgrade: websocket\r\nConnection: Upgrade", After::Upgrade)),
        Just(("CONNECT a:443", "HTTP/1.1", "Host: a:443", After::Connect)),
    ]
    .prop_map(|(line, version, field, after)| Sent {
        head: head(&format!("{line} {version}"), vec![field.to_owned()], None, 0),
        body: vec![],
        line: line.to_owned(),
        after,
    })
}

fn pipeline() -> impl Strategy<Value = Vec<Sent>> {
    (vec(sent_request(), 0..4), proptest::option::of(last_request()))
        .prop_map(|(messages, last)| messages.into_iter().chain(last).collect())
}

/// A response to each request, some of them after interim responses.
fn responses_to(asked: &[(Asked, String, After)]) -> BoxedStrategy<Vec<Sent>> {
    let each = asked.iter().map(|(_, line, after)| response_to(line, *after)).collect::<Vec<_>>();
    each.prop_map(|responses| responses.concat()).boxed()
}

fn response_to(line: &str, request: After) -> BoxedStrategy<Vec<Sent>> {
    let interim = select(&["100 Continue", "103 Early Hints", "102"][..]).prop_map(|status| Sent {
        head: head(&format!("HTTP/1.1 {status}"), vec!["Link: </a>".to_owned()], None, 0),
        body: vec![],
        line: status[..3].to_owned(),
        after: After::Keep,
    });
    let is_head = line.starts_with("HEAD ");
    let ordinary = (
        select(&["200 OK", "404 ", "500", "204 No Content", "304 Not Modified"][..]),
        fields(),
        body(),
        any::<usize>(),
    )
        .prop_map(move |(status, fields, (framing, body), place)| {
            let bare = is_head || status.starts_with("204") || status.starts_with("304");
            let framing = framing.or_else(|| (!bare).then(|| "Content-Length: 0".to_owned()));
            Sent {
                head: head(&format!("HTTP/1.1 {status}"), fields, framing, place),
                body: if bare { vec![] } else { body },
                line: status[..3].to_owned(),
                after: if request == After::Close { After::Close } else { After::Keep },
            }
        });
    let last = match request {
        After::Upgrade => ("101 Switching Protocols", After::Upgrade),
        After::Connect => ("200 Connection established", After::Connect),
        _ => {
            return (vec(interim, 0..3), ordinary)
                .prop_map(|(mut all, last)| {
                    all.push(last);
                    all
                })
                .boxed();
        }
    };
    let last = Sent {
        head: head(&format!("HTTP/1.1 {}", last.0), vec!["Upgrade: websocket".to_owned()], None, 0),
        body: vec![],
        line: last.0[..3].to_owned(),
        after: last.1,
    };
    (vec(interim, 0..3), Just(last))
        .prop_map(|(mut all, last)| {
            all.push(last);
            all
        })
        .boxed()
}

/// Requests, and the responses to them.
fn exchanges() -> impl Strategy<Value = (Vec<Sent>, Vec<Sent>)> {
    pipeline().prop_flat_map(|sent| {
        let asked = requests(&bytes_of(&sent), [])
            .messages
            .into_iter()
            .map(|message| (message.asked.expect("is a request"), message.line, message.after));
        let answers = responses_to(&asked.collect::<Vec<_>>());
        (Just(sent), answers)
    })
}

/// Where a message is changed, the byte, and whether the byte replaces another one, is added, or is
/// removed.
fn mistake() -> impl Strategy<Value = (Index, u8, i32)> {
    (any::<Index>(), select(&b"\r\n \t:;,0a/G\0\x7f\xff"[..]), 0..3)
}

#[rustfmt::skip]
const WORDS: &[&str] = &[
    "GET", "HEAD", "connect", " ", " ", "/", "HTTP/1.1", "HTTP/1.0", "\r\n", "\r\n", "\r\n",
    "\n", "\r", "Host:", "a", "Content-Length:", "0", "5", "Transfer-Encoding:", "chunked", ",", ";",
    "\t", "Connection: close", "200", "\0", "Content_Length:1", "Upgrade: x", "101", "204",
];

fn bytes_of(messages: &[Sent]) -> Vec<u8> {
    messages.iter().flat_map(|message| [&message.head[..], &message.body].concat()).collect()
}

fn check(framed: &Framed, sent: &[Sent]) {
    let expected =
        sent.iter().map(|sent| (sent.head.len(), sent.body.len(), &sent.line[..], sent.after));
    let found =
        framed.messages.iter().map(|found| (found.head, found.body, &found.line[..], found.after));
    assert_eq!(found.collect::<Vec<_>>(), expected.collect::<Vec<_>>());
    let over = sent.last().is_some_and(|last| last.after != After::Keep);
    assert_eq!(framed.end, if over { End::Over } else { End::Head });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn pipelined_requests_and_their_responses_are_found((sent, answers) in exchanges()) {
        let bytes = bytes_of(&sent);
        let framed = requests(&bytes, []);
        check(&framed, &sent);
        prop_assert_eq!(framed.end_at, bytes.len());
        prop_assert_eq!(&requests(&bytes, each(&bytes)), &framed);
        for at in each(&bytes) {
            prop_assert_eq!(&requests(&bytes, [at]), &framed);
        }

        let asked = framed.messages.iter().filter_map(|message| message.asked).collect::<Vec<_>>();
        same_events_in_any_reads(&bytes, &[]);
        let bytes = bytes_of(&answers);
        same_events_in_any_reads(&bytes, &asked);
        let framed = responses(&bytes, &asked, []);
        check(&framed, &answers);
        prop_assert_eq!(framed.end_at, bytes.len());
        prop_assert_eq!(&responses(&bytes, &asked, each(&bytes)), &framed);
        for at in each(&bytes) {
            prop_assert_eq!(&responses(&bytes, &asked, [at]), &framed);
        }
    }

    /// Well-formed messages in which a byte was changed, added or removed.
    #[test]
    fn malformed_messages_are_the_same_in_any_reads(
        sent in vec(sent_request(), 1..3),
        mistakes in vec(mistake(), 1..3),
    ) {
        let mut bytes = bytes_of(&sent);
        for (place, byte, kind) in mistakes {
            let place = place.index(bytes.len());
            match kind {
                0 => bytes[place] = byte,
                1 => bytes.insert(place, byte),
                _ => drop(bytes.remove(place)),
            }
        }
        same_in_any_reads(&bytes);
    }

    #[test]
    fn any_bytes_are_the_same_in_any_reads(bytes in vec(any::<u8>(), 0..60)) {
        same_in_any_reads(&bytes);
        for at in each(&bytes) {
            let before = opening(&bytes[..at]);
            prop_assert!(before == Opening::Undecided || before == opening(&bytes));
        }
        let _ = hello::client_hello(&bytes);
    }

    /// Text that resembles a message.
    #[test]
    fn any_words_are_the_same_in_any_reads(words in vec(select(WORDS), 0..25)) {
        same_in_any_reads(words.concat().as_bytes());
    }
}

fn same_in_any_reads(bytes: &[u8]) {
    let asked = [requests(b"GET / HTTP/1.1\r\nUpgrade: x\r\n\r\n", []).messages[0]
        .asked
        .expect("is a request"); 50];
    same_events_in_any_reads(bytes, &asked);
    let whole = requests(bytes, []);
    let answers = responses(bytes, &asked, []);
    assert_eq!(requests(bytes, each(bytes)), whole);
    assert_eq!(responses(bytes, &asked, each(bytes)), answers);
    for at in each(bytes) {
        assert_eq!(requests(bytes, [at]), whole);
        assert_eq!(responses(bytes, &asked, [at]), answers);
        // The beginning of the bytes has the same messages, as far as it goes.
        let part = requests(&bytes[..at], []);
        assert!(whole.messages.starts_with(&part.messages), "{part:?} of {whole:?}");
        if let End::Unframed(_) = part.end {
            assert_eq!(part, whole);
        }
        let part = responses(&bytes[..at], &asked, []);
        assert!(answers.messages.starts_with(&part.messages), "{part:?} of {answers:?}");
        if let End::Unframed(_) = part.end {
            assert_eq!(part, answers);
        }
    }
}

/// The framers return the same events for any cut, and no message follows the last one.
fn same_events_in_any_reads(bytes: &[u8], asked: &[Asked]) {
    let of_requests = request_events(bytes, [], false);
    let of_responses = response_events(bytes, asked, []);
    assert_eq!(request_events(bytes, each(bytes), true), of_requests);
    assert_eq!(response_events(bytes, asked, each(bytes)), of_responses);
    for events in [of_requests, of_responses] {
        let is_last = Seen::End(After::Close);
        if let Some(last) = events.iter().position(|event| *event == is_last) {
            assert!(matches!(&events[last + 1..], [] | [Seen::Beyond(_)]), "{events:?}");
        }
    }
}
