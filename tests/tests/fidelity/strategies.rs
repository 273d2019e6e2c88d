//! Strategies for conversations: any that RFC 9112 allows and that all peers read in the same way.

use proptest::{
    collection::vec,
    prelude::*,
    sample::{Index, select, subsequence},
};

use super::conversation::{Conversation, Cut, End, Exchange, Owner, Request, Text};

/// Unusual fields, some of them not valid, that do not affect framing.
const FIELDS: &[&str] = &[
    "Accept: */*",
    "accept-LANGUAGE:de,en;q=0.5",
    "X-Empty:",
    "X-Text: \tsome \"quoted: \\\" \" text\t ",
    "Cookie: a=b; c=d",
    "Cookie: e=f",
    "X-Content-Length: 5",
    "Transfer-Encodings: chunked",
    "TE: trailers",
    "Trailer: Digest",
    "Connection: x-hop, keep-alive",
    "!#$%&'*+-.^_`|~9: odd name",
    "X-Umlaut: f\u{fc}r",
    "X[0]: no name",
    "X-Control: a\u{1}b\u{7f}",
    "X-Folded: a\r\n b\r\n\tc: d",
];

/// Fields that make a request match the condition.
const MATCHING: &[&str] = &["x-user: debug", "X-USER:debug", "X-User: \tdebug \t"];

/// Fields with which a request does not match.
const OTHERS: &[&str] =
    &["Host: web", "X-User: other", "x-users: debug", "x-user: debug\r\nX-User: debug", "X-User:"];

/// Bytes that look like messages.
const DECOY: &[u8] = b"\r\n0\r\n\r\nGET /decoy HTTP/1.1\r\nHost: web\r\nx-user: debug\r\n\r\n\
      HTTP/1.1 200 OK\r\n\r\n";

/// Any conversation.
pub(crate) fn conversation() -> impl Strategy<Value = Conversation> {
    let bursts = vec(vec(exchange(), 1..=8), 1..=4);
    (bursts, end()).prop_map(|(mut bursts, (end, last))| {
        let last_burst = bursts.last_mut().expect("one burst at least");
        last_burst.extend(last);
        if matches!(end, End::HalfClose) {
            // The target learns of the half-close during its requests, and gets no further ones on
            // that connection.
            let apps =
                last_burst.iter().take_while(|exchange| exchange.owner == Owner::App).count();
            last_burst[apps..].sort_by_key(|exchange| exchange.owner == Owner::App);
        }
        Conversation { bursts, end }
    })
}

/// The end of a conversation, with the exchange that causes it.
fn end() -> impl Strategy<Value = (End, Option<Exchange>)> {
    let text = || content(2_000).prop_map(Text);
    prop_oneof![
        2 => Just((End::Client, None)),
        1 => Just((End::HalfClose, None)),
        3 => last_exchange().prop_map(|last| (End::Server, Some(last))),
        2 => (switch(), [text(), text()]).prop_map(|(last, sent)| (End::Switch(sent), Some(last))),
        2 => broken().prop_map(|(owner, bytes)| (End::Broken(owner, bytes), None)),
        2 => [unframeable().boxed(), text().boxed()]
            .prop_map(|sent| (End::Unframeable(sent), None)),
    ]
}

/// An exchange that leaves the connection open.
fn exchange() -> impl Strategy<Value = Exchange> {
    let method = prop_oneof![
        2 => Just("GET"),
        2 => Just("POST"),
        1 => Just("HEAD"),
        1 => select(&["PUT", "DELETE", "OPTIONS", "M-SEARCH", "get"][..]),
    ];
    let target = select(&["/", "/a?b=c&d=%20", "*", "http://a:80/b", "//x", "/f\u{fc}r"][..]);
    let status = select(&["200 OK", "404 ", "500", "204 No Content", "304 Not Modified"][..]);
    let version =
        prop_oneof![4 => Just([1, 1]), 1 => Just([1, 0]), 1 => Just([0, 1]), 1 => Just([0, 0])];
    let request = (fields(), body(), 0..3_usize, any::<bool>());
    let response = (fields(), body(), vec(interim(), 0..3));
    (style(), (method, target, status, version), request, response).prop_map(
        |(style, (method, target, status, [request_minor, response_minor]), request, response)| {
            let (mut fields, (framing, body), empty_lines, expects_continue) = request;
            let is_chunked = |framing: &Option<String>| framing.as_deref().is_some_and(is_chunked);
            // HTTP/1.0 has neither chunks nor interim responses, and closes unless a field says
            // otherwise.
            let is_old = request_minor == 0 && !is_chunked(&framing);
            let expects_continue = expects_continue && !is_old && !body.is_empty();
            fields.extend(framing);
            fields.extend(expects_continue.then(|| "Expect: 100-continue".to_owned()));
            fields.extend(is_old.then(|| "Connection: Keep-Alive".to_owned()));
            let line = format!("{method} {target} HTTP/1.{}", u8::from(!is_old));
            let head = "\r\n".repeat(empty_lines) + &style.head(&line, fields);

            let (mut fields, (framing, content), mut interim) = response;
            if expects_continue {
                interim.push("HTTP/1.1 100 Continue\r\n\r\n".to_owned());
            } else if is_old {
                interim.clear();
            }
            let is_bare =
                method == "HEAD" || status.starts_with("204") || status.starts_with("304");
            let is_old = response_minor == 0 && !is_chunked(&framing);
            // Without framing, the body would end with the connection.
            fields.extend(framing.or_else(|| (!is_bare).then(|| "content-length: 0".to_owned())));
            fields.extend(
                (is_old || request_minor == 0).then(|| "connection: keep-alive".to_owned()),
            );
            let response = head_of(&format!("HTTP/1.{} {status}", u8::from(!is_old)), &fields);
            let content = if is_bare { Vec::new() } else { content };
            style.exchange(
                Request { head: head.into(), body: Text(body), expects_continue },
                interim.concat(),
                [response.into_bytes(), content].concat(),
            )
        },
    )
}

/// The beginning of a request, with its server.
fn broken() -> impl Strategy<Value = (Owner, Text)> {
    (exchange(), any::<Index>()).prop_map(|(exchange, length)| {
        let Request { head, body, .. } = exchange.request;
        let mut bytes = [head.0.clone(), body.0].concat();
        bytes.truncate(1 + length.index(bytes.len() - 1));
        // Without a complete head, the app gets the bytes.
        (if bytes.len() < head.0.len() { Owner::App } else { exchange.owner }, Text(bytes))
    })
}

/// An exchange after which the server closes: because a field says so, because nothing else ends
/// the body, or in the middle of the response.
fn last_exchange() -> impl Strategy<Value = Exchange> {
    let requests = select(
        &[
            ("GET / HTTP/1.1", "connection: x, CLOSE"),
            ("POST / HTTP/1.1", "Connection: close\r\nContent-Length: 3"),
            ("GET / HTTP/1.1", "Accept: */*"),
            ("GET / HTTP/1.0", "Accept: */*"),
        ][..],
    );
    let responses = select(&["HTTP/1.1 200 OK", "HTTP/1.0 200"][..]);
    let length = proptest::option::weighted(0.3, any::<Index>());
    (style(), requests, responses, fields(), (body(), content(1 << 16), length)).prop_map(
        |(mut style, (line, field), status, mut fields, ((framing, body), until_end, length))| {
            style.read_share = u8::MAX;
            let body_of_request = if line.starts_with("POST") { "abc" } else { "" };
            let head = style.head(line, vec![field.to_owned()]);
            let is_old = status.starts_with("HTTP/1.0") || line.ends_with("HTTP/1.0");
            let content = match framing.filter(|framing| !is_old || !is_chunked(framing)) {
                Some(framing) => {
                    fields.extend([framing, "CONNECTION: close".to_owned()]);
                    body
                }
                None => {
                    fields.retain(|field| !field.contains("keep-alive"));
                    until_end
                }
            };
            let mut response = [head_of(status, &fields).into_bytes(), content].concat();
            if let Some(length) = length {
                response.truncate(length.index(response.len()));
            }
            let request = Request {
                head: head.into(),
                body: body_of_request.into(),
                expects_continue: false,
            };
            style.exchange(request, String::new(), response)
        },
    )
}

/// An exchange after which the connection is no longer HTTP.
fn switch() -> impl Strategy<Value = Exchange> {
    let lines = select(
        &[
            (
                "GET /chat HTTP/1.1",
                "Connection: Upgrade\r\nUpgrade: websocket",
                "101 Switching Protocols",
            ),
            ("CONNECT db:5432 HTTP/1.1", "Accept: */*", "200 Connection established"),
        ][..],
    );
    (style(), lines, fields()).prop_map(|(mut style, (line, field, status), mut fields)| {
        style.read_share = u8::MAX;
        let head = style.head(line, vec![field.to_owned()]);
        fields.push("Upgrade: websocket".to_owned());
        let response = head_of(&format!("HTTP/1.1 {status}"), &fields);
        let request = Request { head: head.into(), body: Text::default(), expects_continue: false };
        style.exchange(request, String::new(), response.into_bytes())
    })
}

/// Bytes that servers read in different ways or not at all, with a matching request behind them.
fn unframeable() -> impl Strategy<Value = Text> {
    let words = select(
        &[
            "POST / HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "POST / HTTP/1.1\r\nContent-Length: 3\r\ncontent-length: 4\r\n\r\nabc",
            "POST / HTTP/1.1\r\nContent-Length: +3\r\n\r\nabc",
            "POST /chunks HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n-1\r\n",
            "POST /chunks HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n",
            "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "GET / HTTP/1.1\nHost: web\n\n",
            "POST / HTTP/1.1\r\nContent-Length: 1\r\n 2\r\n\r\nabc",
            "GET / HTTP/1.1\r\nX-Space : a\r\n\r\n",
            "GET / HTTP/1.2\r\n\r\n",
            "GET /\r\n",
            "*1\r\n$4\r\nPING\r\n",
        ][..],
    );
    let long = Just(format!("GET / HTTP/1.1\r\nX-Long: {}\r\n\r\n", "a".repeat(70_000)));
    let bytes = prop_oneof![9 => words.prop_map(str::to_owned), 1 => long];
    bytes.prop_map(|bytes: String| [bytes.as_bytes(), DECOY].concat().into())
}

/// The server and the timing of an exchange.
#[derive(Clone, Debug)]
struct Style {
    owner: Owner,
    /// The field that selects the server, and its place among the others.
    user: &'static str,
    place: Index,
    read_share: u8,
    cuts: [Vec<Cut>; 2],
}

fn style() -> impl Strategy<Value = Style> {
    let owner = prop_oneof![
        select(OTHERS).prop_map(|user| (Owner::App, user)),
        select(MATCHING).prop_map(|user| (Owner::Target, user)),
    ];
    (owner, any::<Index>(), any::<u8>(), cuts(), cuts()).prop_map(
        |((owner, user), place, read_share, request_cuts, response_cuts)| Style {
            owner,
            user,
            place,
            read_share,
            cuts: [request_cuts, response_cuts],
        },
    )
}

impl Style {
    fn head(&self, line: &str, mut fields: Vec<String>) -> String {
        fields.insert(self.place.index(fields.len() + 1), self.user.to_owned());
        head_of(line, &fields)
    }

    fn exchange(self, request: Request, interim: String, response: Vec<u8>) -> Exchange {
        let Self { owner, read_share, cuts, .. } = self;
        Exchange {
            owner,
            request,
            interim: interim.into(),
            response: Text(response),
            read_share,
            cuts,
        }
    }
}

/// Cuts: most of them in the head, a few anywhere.
fn cuts() -> impl Strategy<Value = Vec<Cut>> {
    let at = prop_oneof![3 => 1..200_usize, 1 => 1..70_000_usize];
    vec((at, 0..300_u64).prop_map(|(at, micros)| Cut { at, micros }), 0..5)
}

fn fields() -> impl Strategy<Value = Vec<String>> {
    let fields = subsequence(FIELDS, 0..FIELDS.len()).prop_shuffle();
    fields.prop_map(|fields| fields.into_iter().map(str::to_owned).collect())
}

fn interim() -> impl Strategy<Value = String> {
    select(&["HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", "HTTP/1.1 102 \r\n\r\n"][..])
        .prop_map(str::to_owned)
}

/// A body with its framing, and the field that declares it.
fn body() -> impl Strategy<Value = (Option<String>, Vec<u8>)> {
    let length = content(1 << 16)
        .prop_map(|content| (Some(format!("content-Length: {}", content.len())), content));
    let extension = || select(&["", ";a", ";a=b", " ; a = \"b ;c\"", ";a=b;c=d", "  "][..]);
    let chunk =
        (content(1 << 14), extension(), 0..4_usize).prop_map(|(mut content, extension, zeros)| {
            // An empty chunk would be the last one.
            content.push(b'\r');
            let size = format!("{}{:X}{extension}\r\n", "0".repeat(zeros), content.len());
            [size.as_bytes(), &content, b"\r\n"].concat()
        });
    let trailers = select(&["", "Digest: abc\r\n", "A:b\r\nC: \td\r\n"][..]);
    let chunked =
        (vec(chunk, 0..5), extension(), trailers).prop_map(|(chunks, extension, trailers)| {
            let end = format!("0{extension}\r\n{trailers}\r\n");
            (
                Some("Transfer-encoding: Chunked".to_owned()),
                [&chunks.concat(), end.as_bytes()].concat(),
            )
        });
    prop_oneof![2 => Just((None, Vec::new())), 3 => length, 3 => chunked]
}

/// Content, mostly short: noise, or bytes that look like the next message.
fn content(maximum: usize) -> impl Strategy<Value = Vec<u8>> {
    let length = prop_oneof![4 => 0..64_usize, 2 => 0..2_000_usize, 1 => 0..maximum];
    (length, any::<u64>(), any::<bool>()).prop_map(|(length, seed, decoy)| {
        if decoy {
            return DECOY.iter().copied().cycle().take(length).collect();
        }
        let mut state = seed | 1;
        let noise = std::iter::repeat_with(|| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state as u8
        });
        noise.take(length).collect()
    })
}

fn head_of(line: &str, fields: &[String]) -> String {
    let fields = fields.iter().map(|field| format!("{field}\r\n")).collect::<String>();
    format!("{line}\r\n{fields}\r\n")
}

fn is_chunked(framing: &str) -> bool {
    framing.starts_with("Transfer-encoding")
}
