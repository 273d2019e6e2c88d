//! Requests: those that our parser finds and those that other servers find.

use std::thread;

use crate::corpus::requests::{CASES, Case, Framed, NEXT};
use crate::peers::{self, Peer, Saw};
use crate::support::{self, End, each};
use crate::{assert_names_are_unique, dechunked, is_chunked};

/// What our parser finds.
struct Ours {
    requests: Vec<String>,
    framed: Framed,
}

#[test]
fn requests_are_those_that_all_servers_find() {
    let peers = peers::servers();
    assert!(peers.len() >= 2);
    let wrong = thread::scope(|scope| {
        let threads = CASES
            .iter()
            .map(|case| scope.spawn(|| disagreements(case, &peers)))
            .collect::<Vec<_>>();
        threads.into_iter().flat_map(|thread| thread.join().expect("no panic")).collect::<Vec<_>>()
    });
    assert!(wrong.is_empty(), "{} of {} messages:\n{}", wrong.len(), CASES.len(), wrong.join("\n"));
}

#[test]
fn the_corpus_is_large_and_its_names_are_unique() {
    assert_names_are_unique(CASES.iter().map(|case| case.name));
    assert!(CASES.len() >= 80);
}

#[test]
fn the_corpus_is_framed_as_expected() {
    let found = CASES.iter().map(|case| (case.name, ours(&bytes_of(case)).framed, case.framed));
    let wrong = found.filter(|(_, found, expected)| found != expected).collect::<Vec<_>>();
    assert!(wrong.is_empty(), "name, found, expected: {wrong:#?}");
}

fn bytes_of(case: &Case) -> Vec<u8> {
    [case.bytes, NEXT].concat()
}

/// The disagreements about a case, in words.
fn disagreements(case: &Case, peers: &[Peer]) -> Vec<String> {
    let bytes = bytes_of(case);
    let ours = ours(&bytes);
    let seen =
        peers.iter().map(|peer| (peer.name, peer.saw(&bytes, ours.certain()))).collect::<Vec<_>>();
    let mut wrong = Vec::new();
    for (name, saw) in &seen {
        // A server that refuses everything would agree with each other one.
        if case.name.starts_with("pipelined") && saw.requests != ours.requests {
            wrong.push(format!("{}: {name} does not take part: {saw:?}", case.name));
        }
        if let Some(how) = differs(&ours, saw) {
            wrong.push(format!("{}: {how}: we {:?}, {name} {saw:?}", case.name, ours.requests));
        }
    }
    // Our parser may frame only the requests about which all others agree.
    let certain = ours.certain();
    for (at, (name, saw)) in seen.iter().enumerate() {
        for (other_name, other) in &seen[at + 1..] {
            let common = saw
                .requests
                .iter()
                .zip(&other.requests)
                .take_while(|(one, other)| one == other)
                .count();
            let one_differs = saw.is_certain_of(common) && other.is_certain_of(common);
            if one_differs && certain > common {
                wrong.push(format!(
                    "{}: {name} {saw:?}, {other_name} {other:?}, and we frame it",
                    case.name
                ));
            }
        }
    }
    wrong
}

fn differs(ours: &Ours, saw: &Saw) -> Option<&'static str> {
    let certain = ours.certain();
    if saw.requests.iter().zip(&ours.requests[..certain]).any(|(theirs, ours)| theirs != ours) {
        return Some("another request");
    }
    if saw.requests.len() < certain && !saw.refused {
        return Some("it waits for more");
    }
    if saw.requests.len() > ours.requests.len()
        && matches!(ours.framed, Framed::Requests(_) | Framed::Waits(_))
    {
        return Some("we wait for more");
    }
    None
}

impl Ours {
    /// The number of requests that all others have to find. The last one of a connection does not
    /// count, since servers differ in how they take it.
    fn certain(&self) -> usize {
        self.requests.len() - usize::from(matches!(self.framed, Framed::Over(_)))
    }
}

impl Saw {
    /// Whether the server found the request with this index, or waits for the rest of it.
    fn is_certain_of(&self, place: usize) -> bool {
        place < self.requests.len() || !self.refused
    }
}

fn ours(bytes: &[u8]) -> Ours {
    let framed = support::requests(bytes, []);
    assert_eq!(support::requests(bytes, each(bytes)), framed);
    let mut at = 0;
    let requests = framed.messages.iter().map(|message| {
        let head = &bytes[at..at + message.head];
        let body = &bytes[at + message.head..at + message.head + message.body];
        at += message.head + message.body;
        peers::line(&message.line, &if is_chunked(head) { dechunked(body) } else { body.to_vec() })
    });
    let requests = requests.collect::<Vec<_>>();
    let count = requests.len();
    let framed = match framed.end {
        End::Unframed(reason) => Framed::Doubt(count, reason),
        End::Over => Framed::Over(count),
        End::Head if framed.end_at == bytes.len() => Framed::Requests(count),
        _ => Framed::Waits(count),
    };
    Ours { requests, framed }
}
