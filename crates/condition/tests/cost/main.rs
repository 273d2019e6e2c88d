//! The cost of an evaluation in allocations, which the allocator of this binary counts.
//!
//! `bench.rs` measures the cost in time.

#![expect(unsafe_code, reason = "implementing `GlobalAlloc` is unsafe")]

mod browser;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::net::SocketAddr;

use interceptor_condition::{Condition, Facts};

use self::browser::Browser;

thread_local! {
    /// Allocations of this thread. A global counter would include the test harness's threads.
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

/// The system's allocator with a counter.
struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: all calls go to the system's allocator. Counting neither allocates nor unwinds.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: `System` has the same safety conditions, which our caller upholds.
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
    // During the exit of a thread its counter is gone, and no test reads it.
    let _ = ALLOCATIONS.try_with(|allocations| allocations.set(allocations.get() + 1));
}

/// The number of allocations of an evaluation that is not the condition's first.
fn allocations(source: &str) -> usize {
    let condition = Condition::compile(source).unwrap_or_else(|error| panic!("{source}: {error}"));
    let request = Browser::with([("X-Twice", &b"a"[..]), ("X-Twice", b"b"), ("X-User", b"debug")]);
    let facts = Facts {
        source: SocketAddr::from(([10, 1, 2, 3], 40_000)),
        destination: SocketAddr::from(([0xfd00, 0, 0, 0, 0, 0, 0, 1], 8080)),
        server_name: Some("shop.example"),
        request: Some(&request),
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

/// Also a test of the counter.
#[test]
fn conditions_that_make_a_text_allocate() {
    for source in [
        r#"request.headers["x-user"].upperAscii() == "DEBUG""#,
        r#"request.headers["x-user"] + "" == "debug""#,
        r#"request.headers["x-twice"] == "a,b""#,
    ] {
        assert!(allocations(source) > 0, "{source}");
    }
}
