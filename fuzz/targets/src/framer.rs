//! The framers return the same events for any reads, also if heads are put back; the events of a
//! beginning are a beginning of the events; and each message is a head, its body and one end.
//!
//! The first byte says how large the reads are. The requests follow, and behind a NUL, which no
//! head may contain, the responses to them.

use interceptor_wire::http1::After;

use crate::http1::support::{
    each,
    framer::{Seen, request_events, response_events},
};

/// Runs the target.
pub fn run(bytes: &[u8]) {
    let [size, bytes @ ..] = bytes else { return };
    let nul = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    let (requests, responses) = (&bytes[..nul], bytes.get(nul + 1..).unwrap_or_default());

    let whole = request_events(requests, [], false);
    assert_eq!(request_events(requests, reads(requests, *size), false), whole);
    assert_eq!(request_events(requests, reads(requests, *size), true), whole);
    if requests.len() < 300 {
        assert_eq!(request_events(requests, each(requests), true), whole);
    }
    for end in reads(requests, *size) {
        assert_begins(&whole, &request_events(&requests[..end], [], false));
    }
    assert_are_messages(&whole);

    let asked = whole.iter().filter_map(|event| match event {
        Seen::Head(message, _) => message.asked,
        Seen::Body(_) | Seen::End(_) | Seen::Beyond(_) | Seen::Doubt(_) => None,
    });
    let asked = asked.collect::<Vec<_>>();
    let whole = response_events(responses, &asked, []);
    assert_eq!(response_events(responses, &asked, reads(responses, *size)), whole);
    if responses.len() < 300 {
        assert_eq!(response_events(responses, &asked, each(responses)), whole);
    }
    for end in reads(responses, *size) {
        assert_begins(&whole, &response_events(&responses[..end], &asked, []));
    }
    assert_are_messages(&whole);
}

/// Where reads of `size` bytes and one more end.
fn reads(bytes: &[u8], size: u8) -> impl Iterator<Item = usize> + use<> {
    let length = bytes.len();
    (1..).map(move |read| read * (1 + usize::from(size))).take_while(move |end| *end < length)
}

/// `part` is what `whole` begins with, but for a body that is not complete.
fn assert_begins(whole: &[Seen], part: &[Seen]) {
    let Some((last, before)) = part.split_last() else { return };
    assert_eq!(&whole[..before.len()], before);
    match (last, &whole[before.len()]) {
        (Seen::Body(part), Seen::Body(whole)) => assert!(part <= whole),
        (Seen::Beyond(part), Seen::Beyond(whole)) => assert!(part <= whole),
        // The rest of the body is broken: the doubt comes in its place.
        (Seen::Body(_), Seen::Doubt(_)) => {}
        (last, whole) => assert_eq!(last, whole),
    }
    assert!(!matches!(last, Seen::Doubt(_)) || part == whole);
}

/// Each event follows one that it can follow.
fn assert_are_messages(events: &[Seen]) {
    for pair in events.windows(2) {
        let fits = match (&pair[0], &pair[1]) {
            // A head is followed by its body, by its end, or, if it is interim, by another head.
            (Seen::Head(message, _), Seen::Head(..)) => message.line.starts_with('1'),
            (Seen::Head(..), Seen::Beyond(_)) => false,
            (Seen::Head(..), _) => true,
            (Seen::Body(_), next) => matches!(next, Seen::End(_)),
            (Seen::End(After::Close), next) => matches!(next, Seen::Beyond(_)),
            (Seen::End(After::Keep), next) => matches!(next, Seen::Head(..) | Seen::Doubt(_)),
            (Seen::End(_), next) => !matches!(next, Seen::Body(_) | Seen::End(_)),
            (Seen::Beyond(_) | Seen::Doubt(_), _) => false,
        };
        assert!(fits, "{:?} after {:?}", pair[1], pair[0]);
    }
}
