//! The cost of framing: nanoseconds for a typical head, and for bodies.
//!
//!     cargo bench -p interceptor-wire

#![forbid(unsafe_code)]

use std::hint::black_box;
use std::time::{Duration, Instant};

use interceptor_wire::http1::{self, Asked, Body, HeadScan, Storage};
use interceptor_wire::{Parsed, hello, opening};

/// The request of a browser, forwarded by a gateway.
const REQUEST: &[u8] = b"GET /api/v1/products/4711?currency=EUR&expand=price HTTP/1.1\r\n\
    Host: shop.example.com\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\r\n\
    Accept: application/json, text/plain, */*\r\n\
    Accept-Language: en-US,en;q=0.5\r\n\
    Accept-Encoding: gzip, deflate, br, zstd\r\n\
    Referer: https://shop.example.com/products\r\n\
    Cookie: session=8f14e45fceea167a5a36dedd4bea2543; theme=dark\r\n\
    X-Request-Id: 7c9e6679-7425-40de-944b-e07fc1f90ae7\r\n\
    X-Forwarded-For: 203.0.113.77\r\n\
    X-User: debug\r\n\
    Connection: keep-alive\r\n\
    Cache-Control: no-cache\r\n\
    \r\n";

const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\n\
    Server: nginx/1.27.1\r\n\
    Date: Sat, 21 Nov 2026 20:00:00 GMT\r\n\
    Content-Type: application/json; charset=utf-8\r\n\
    Content-Length: 1024\r\n\
    Connection: keep-alive\r\n\
    Vary: Accept-Encoding\r\n\
    ETag: \"5f3c1a2b-400\"\r\n\
    Cache-Control: private, max-age=60\r\n\
    X-Frame-Options: DENY\r\n\
    X-Content-Type-Options: nosniff\r\n\
    X-Request-Id: 7c9e6679-7425-40de-944b-e07fc1f90ae7\r\n\
    Strict-Transport-Security: max-age=31536000\r\n\
    \r\n";

const SMALL: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/// The result is the best of this many rounds: other work on the machine only adds to the time.
const ROUNDS: usize = 1000;
/// Length of a round, short enough for some rounds to run without an interruption.
const ROUND: Duration = Duration::from_micros(500);

fn main() {
    let asked = asked();
    println!("request head, 12 headers, {} bytes", REQUEST.len());
    report("  whole", || _ = request(REQUEST, &mut HeadScan::default()));
    report("  whole, and one header looked up", || {
        let mut storage = Storage::new();
        if let Parsed::Complete { head, .. } =
            http1::request(black_box(REQUEST), &mut HeadScan::default(), &mut storage)
        {
            head.header_values("x-user", |value| _ = black_box(value));
        }
    });
    report("  httparse alone", || {
        let mut headers = [httparse::EMPTY_HEADER; 32];
        let _ = black_box(httparse::Request::new(&mut headers).parse(black_box(REQUEST)));
    });
    report("  in two pieces", || {
        let mut scan = HeadScan::default();
        request(&REQUEST[..REQUEST.len() / 2], &mut scan);
        request(REQUEST, &mut scan);
    });
    report("  byte by byte", || {
        let mut scan = HeadScan::default();
        (1..=REQUEST.len()).for_each(|end| _ = request(&REQUEST[..end], &mut scan));
    });
    report("request head, 1 header", || _ = request(SMALL, &mut HeadScan::default()));
    println!("response head, 12 headers, {} bytes", RESPONSE.len());
    report("  whole", || response(RESPONSE, asked));
    report("request head and response head", || {
        request(REQUEST, &mut HeadScan::default());
        response(RESPONSE, asked);
    });

    println!("largest head allowed, byte by byte");
    let long =
        [&REQUEST[..REQUEST.len() - 2], b"X: ", &[b'a'; 64 * 1024 - 700], b"\r\n\r\n"].concat();
    let target = [b"GET /", &[b'a'; 64 * 1024 - 100][..], b" HTTP/1.1\r\nHost: a\r\n\r\n"].concat();
    let lines =
        [&b"GET / HTTP/1.1\r\n"[..], &[&[b'a'; 500][..], b": b\r\n"].concat().repeat(127), b"\r\n"]
            .concat();
    for (name, head) in
        [("  one long header", &long), ("  long target", &target), ("  127 headers", &lines)]
    {
        let started = Instant::now();
        let mut scan = HeadScan::default();
        (1..=head.len()).for_each(|end| _ = request(&head[..end], &mut scan));
        println!(
            "{name:<42}{:>10.1} ms for {} bytes",
            started.elapsed().as_secs_f64() * 1e3,
            head.len()
        );
    }

    println!("bodies, 64 KiB as it arrives");
    let chunks = [&b"2000\r\n"[..], &[0; 8192], b"\r\n"].concat().repeat(8);
    report("  with a length", || {
        _ = black_box(body(REQUEST_WITH_LENGTH)).advance(black_box(&chunks));
    });
    report("  in chunks of 8 KiB", || {
        _ = black_box(body(REQUEST_IN_CHUNKS)).advance(black_box(&chunks));
    });

    report("opening", || _ = black_box(opening(black_box(REQUEST))));
    let hello = client_hello();
    report("ClientHello", || _ = black_box(hello::client_hello(black_box(&hello))));
}

const REQUEST_WITH_LENGTH: &[u8] = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n";
const REQUEST_IN_CHUNKS: &[u8] =
    b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";

fn report(name: &str, mut run: impl FnMut()) {
    let mut best = f64::MAX;
    for _ in 0..ROUNDS {
        let (started, mut times) = (Instant::now(), 0_u32);
        while started.elapsed() < ROUND {
            (0..20).for_each(|_| run());
            times += 20;
        }
        best = best.min(started.elapsed().as_secs_f64() * 1e9 / f64::from(times));
    }
    println!("{name:<42}{best:>10.1} ns");
}

fn request(bytes: &[u8], scan: &mut HeadScan) -> bool {
    let mut storage = Storage::new();
    matches!(
        black_box(http1::request(black_box(bytes), scan, &mut storage)),
        Parsed::Complete { .. }
    )
}

fn response(bytes: &[u8], asked: Asked) {
    let mut storage = Storage::new();
    let _ =
        black_box(http1::response(black_box(bytes), asked, &mut HeadScan::default(), &mut storage));
}

fn asked() -> Asked {
    let mut storage = Storage::new();
    match http1::request(REQUEST, &mut HeadScan::default(), &mut storage) {
        Parsed::Complete { head, .. } => head.asked(),
        other => panic!("{other:?}"),
    }
}

fn body(request: &[u8]) -> Body {
    let mut storage = Storage::new();
    match http1::request(request, &mut HeadScan::default(), &mut storage) {
        Parsed::Complete { head, .. } => head.body,
        other => panic!("{other:?}"),
    }
}

/// A ClientHello with a key of post-quantum size.
fn client_hello() -> Vec<u8> {
    let list = |content: &[u8]| [&(content.len() as u16).to_be_bytes()[..], content].concat();
    let extension = |kind: u8, data: &[u8]| [&[0, kind][..], &list(data)].concat();
    let name = extension(0, &list(&[&[0][..], &list(b"shop.example.com")].concat()));
    let extensions =
        [extension(51, &[7; 1220]), name, extension(16, &list(b"\x02h2\x08http/1.1"))].concat();
    let body =
        [&[3, 3][..], &[7; 32], &[0], &list(&[0x13; 30]), &[1, 0], &list(&extensions)].concat();
    [&[22, 3, 1][..], &list(&[&[1, 0][..], &list(&body)].concat())].concat()
}
