//! Responses: those that our parser finds and those that other clients find.

use interceptor_wire::http1::Asked;

use crate::corpus::responses::{CASES, Case, Framed};
use crate::support::{self, End, each};
use crate::{assert_names_are_unique, dechunked, is_chunked, peers};

/// Known mistakes, which no other client makes, on responses that servers send every day.
///
/// actix-http takes a response without a length for empty unless it is HTTP/1.0, which RFC 9112
/// section 6.3 forbids (rule 8).
const MISTAKES: [(&str, &str); 2] =
    [("actix-http", "until close"), ("actix-http", "until close though kept")];

#[test]
fn responses_are_those_that_all_clients_find() {
    let clients = peers::clients(CASES);
    assert!(clients.len() >= 2);
    let mut wrong = Vec::new();
    for (number, case) in CASES.iter().enumerate() {
        let seen = clients.iter().filter_map(|(name, saw)| Some((*name, saw[number].as_deref()?)));
        let seen = seen.filter(|(name, _)| !MISTAKES.contains(&(*name, case.name)));
        match ours(case).0 {
            Some(ours) => {
                let others = seen.filter(|(_, saw)| *saw != ours);
                wrong.extend(others.map(|other| format!("{}: we {ours:?}, {other:?}", case.name)));
            }
            // A refusal agrees with everything, but a response that waits is not refused.
            None if case.framed == Framed::Waits => {
                wrong.extend(seen.map(|other| format!("{}: we wait, {other:?}", case.name)));
            }
            None => {}
        }
        // A client that refuses everything would agree with each other one.
        let refused = clients.iter().filter(|(_, saw)| saw[number].is_none());
        if case.name == "chunked" {
            wrong.extend(refused.map(|(name, _)| format!("{name} does not take part")));
        }
    }
    assert!(wrong.is_empty(), "{} messages:\n{}", CASES.len(), wrong.join("\n"));
}

#[test]
fn the_corpus_is_framed_as_expected() {
    assert_names_are_unique(CASES.iter().map(|case| case.name));
    let found = CASES.iter().map(|case| (case.name, ours(case).1, case.framed));
    let wrong = found.filter(|(_, found, expected)| found != expected).collect::<Vec<_>>();
    assert!(wrong.is_empty(), "name, found, expected: {wrong:#?}");
}

/// The response that our parser finds, unless it is in doubt, and its framing.
fn ours(case: &Case) -> (Option<String>, Framed) {
    let bytes = case.bytes;
    let asked = asked(case.method);
    let framed = support::responses(bytes, &[asked], []);
    assert_eq!(support::responses(bytes, &[asked], each(bytes)), framed);
    let (mut at, mut finals) = (0, Vec::new());
    for message in &framed.messages {
        let (head, body) = bytes[at..at + message.head + message.body].split_at(message.head);
        at += message.head + message.body;
        if !message.line.starts_with('1') {
            let content =
                if is_chunked(head) && !body.is_empty() { dechunked(body) } else { body.to_vec() };
            finals.push((peers::line(&message.line, &content), message.body));
        }
    }
    match (framed.end, finals.pop()) {
        (End::Unframed(reason), None) => (None, Framed::Doubt(reason)),
        (End::Head | End::Over, Some((line, body))) => {
            (Some(line), if at == bytes.len() { Framed::Body(body) } else { Framed::Less(body) })
        }
        (End::UntilClose, None) => {
            let body =
                bytes.windows(4).position(|end| end == b"\r\n\r\n").map(|end| &bytes[end + 4..]);
            (body.map(|body| peers::line("200", body)), Framed::UntilClose)
        }
        (End::Head | End::Body, None) => (None, Framed::Waits),
        other => panic!("{}: {other:?}", case.name),
    }
}

fn asked(method: &str) -> Asked {
    let request = format!("{method} / HTTP/1.1\r\n\r\n");
    support::requests(request.as_bytes(), []).messages[0].asked.expect("is a request")
}
