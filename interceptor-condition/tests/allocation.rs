//! A request is decided without allocating. The allocator of this binary counts.

#![allow(unsafe_code, reason = "an allocator can't be written without")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::net::SocketAddr;

use interceptor_condition::{Condition, Facts, Request};

thread_local! {
    /// Of this thread only, because the test harness has threads of its own.
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: everything is left to the system's allocator; counting neither allocates nor unwinds.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promises are those that `System` asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

fn count() {
    // A thread that ends has no counter any more, and nobody who would read it.
    let _ = ALLOCATIONS.try_with(|allocations| allocations.set(allocations.get() + 1));
}

struct Head;

const HEADERS: [(&str, &[u8]); 12] = [
    ("Host", b"shop.example"),
    ("User-Agent", b"Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"),
    ("Accept", b"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
    ("Accept-Language", b"en-US,en;q=0.5"),
    ("Accept-Encoding", b"gzip, deflate, br, zstd"),
    ("Referer", b"https://shop.example/"),
    ("Cookie", b"session=2c1f6f0e; theme=dark"),
    ("X-Forwarded-For", b"203.0.113.9"),
    ("X-Request-Id", b"5b2c7a2e-7a52-4f2e-8c3d-111111111111"),
    ("Traceparent", b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
    ("X-Twice", b"a"),
    ("X-User", b"debug"),
];

impl Request for Head {
    fn method(&self) -> &str {
        "GET"
    }

    fn path(&self) -> &str {
        "/shop/cart?item=7"
    }

    fn host(&self) -> Option<&str> {
        Some("shop.example")
    }

    fn scheme(&self) -> &str {
        "http"
    }

    fn protocol(&self) -> &str {
        "HTTP/1.1"
    }

    fn header_values<'a>(&'a self, name: &str, each: &mut dyn FnMut(&'a [u8])) {
        for (_, value) in HEADERS.iter().filter(|(other, _)| other.eq_ignore_ascii_case(name)) {
            each(value);
            if name == "x-twice" {
                each(b"b");
            }
        }
    }
}

/// Allocations of one evaluation, when the condition has been evaluated before.
fn allocations(source: &str) -> usize {
    let condition = Condition::compile(source).unwrap_or_else(|error| panic!("{source}: {error}"));
    let facts = Facts {
        source: SocketAddr::from(([10, 1, 2, 3], 40_000)),
        destination: SocketAddr::from(([0xfd00, 0, 0, 0, 0, 0, 0, 1], 8080)),
        server_name: Some("shop.example"),
        request: Some(&Head),
    };
    let first = condition.matches(&facts);
    let before = ALLOCATIONS.get();
    let second = condition.matches(&facts);
    let allocations = ALLOCATIONS.get() - before;
    assert_eq!(first, second);
    allocations
}

#[test]
fn common_conditions_allocate_nothing() {
    let sources = [
        r#"request.headers["x-user"] == "debug""#,
        r#"request.headers["x-user"] != "debug""#,
        r#"request.headers["x-missing"] == "debug""#,
        r#""x-user" in request.headers && !("x-missing" in request.headers)"#,
        "has(request.headers.cookie) && has(request.useragent)",
        r#"request.method == "GET" || request.method == "HEAD""#,
        r#"request.method in ["PUT", "HEAD", "GET"]"#,
        r#"request.headers["x-user"] in ["alice", "bob"]"#,
        r#"request.path.startsWith("/shop") && request.url_path.endsWith("/cart")"#,
        r#"request.query.contains("item=") && request.headers["cookie"].contains("theme=dark")"#,
        r#"request.headers["user-agent"].matches("Firefox/[0-9]+")"#,
        r#"request.path.matches("^/(shop|admin)/")"#,
        r#"request.host == request.headers["host"] && request.scheme == "http""#,
        r#"source.address.startsWith("10.1.") && destination.address == "[fd00::1]:8080""#,
        "source.port > 1024 && destination.port in [80, 8080]",
        r#"connection.requested_server_name.endsWith(".example")"#,
        r#"request.protocol == "HTTP/1.1" ? request.method == "GET" : false"#,
        r#"size(request.path) < 100 && int("7") + 1 == 8"#,
        r#""gzip" in request.headers["accept-encoding"].split(", ")"#,
    ];
    for source in sources {
        assert_eq!(allocations(source), 0, "{source}");
    }
}

/// The counter counts.
#[test]
fn texts_that_are_made_are_allocated() {
    for source in [
        r#"request.headers["x-user"].lowerAscii() == "debug""#,
        r#"request.headers["x-user"] + "" == "debug""#,
        r#"request.headers["x-twice"] == "a,b""#,
    ] {
        assert!(allocations(source) > 0, "{source}");
    }
}
