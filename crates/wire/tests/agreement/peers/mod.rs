//! Other parsers of HTTP/1, to which the tests give the same bytes.

use crate::corpus::responses;

mod actix;
mod hyper;
mod program;

/// What a parser finds in the bytes of a connection that stays open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Saw {
    /// Each complete request: method, target and the content in hexadecimal digits.
    pub(crate) requests: Vec<String>,
    /// Whether the parser refused something. If not, it waits for more bytes.
    pub(crate) refused: bool,
}

pub(crate) struct Peer {
    pub(crate) name: &'static str,
    kind: Kind,
}

enum Kind {
    Function(fn(&[u8]) -> Saw),
    Program(program::Program),
}

impl Peer {
    /// What the peer finds. `expected` is the number of requests to wait for, since programs need
    /// some time to answer.
    pub(crate) fn saw(&self, bytes: &[u8], expected: usize) -> Saw {
        match &self.kind {
            Kind::Function(see) => see(bytes),
            Kind::Program(program) => program.saw(bytes, expected),
        }
    }
}

/// The servers that can run on this machine: two always, and two that need another program. Without
/// it, a message names the server that is left out.
pub(crate) fn servers() -> Vec<Peer> {
    let function = |name, see| Peer { name, kind: Kind::Function(see) };
    let mut peers = vec![function("hyper", hyper::saw), function("actix-http", actix::saw)];
    for (name, program) in [("node", program::node("server.js")), ("go", program::go("server.go"))]
    {
        match program.and_then(|mut program| program::serve(&mut program)) {
            Ok(program) => peers.push(Peer { name, kind: Kind::Program(program) }),
            Err(why) => program::left_out(name, &why),
        }
    }
    peers
}

/// What each client finds in each response, in order: status and content, or `None` if it refuses
/// the response.
pub(crate) fn clients(
    cases: &'static [responses::Case],
) -> Vec<(&'static str, Vec<Option<String>>)> {
    let each = |get: fn(&str, &[u8]) -> Option<String>| {
        cases.iter().map(|case| get(case.method, case.bytes)).collect()
    };
    let mut clients = vec![("hyper", each(hyper::got)), ("actix-http", each(actix::got))];
    for (name, program) in [("node", program::node("client.js")), ("go", program::go("client.go"))]
    {
        match program.and_then(|mut program| program::got(&mut program, cases)) {
            Ok(got) => clients.push((name, got)),
            Err(why) => program::left_out(name, &why),
        }
    }
    clients
}

/// A message in the form that the programs print: head, and content in hexadecimal digits.
pub(crate) fn line(head: &str, content: &[u8]) -> String {
    let content = content.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    format!("{head} {content}.")
}
