//! The cost of an evaluation in time: `cargo bench -p interceptor-condition`.
//!
//! Each line is the minimum of many rounds, because other work of the machine only adds to the
//! time.

#![forbid(unsafe_code)]

mod browser;

use std::hint::black_box;
use std::net::SocketAddr;
use std::time::Instant;

use interceptor_condition::{Condition, Facts};

use self::browser::Browser;

const ROUNDS: usize = 200;
const EVALUATIONS: u32 = 10_000;

/// A request with the header that the conditions look for, or without it.
fn head(user: Option<&'static [u8]>) -> Browser {
    Browser::with(user.map(|user| ("X-User", user)))
}

/// A pseudo-random text of `0` and `a`. It is leaked, because the process ends soon.
fn random_bits(length: usize) -> &'static str {
    let mut state = 1u32;
    let bits = std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        if state >> 31 == 0 { '0' } else { 'a' }
    });
    String::leak(bits.take(length).collect())
}

/// Prints the time of one evaluation of `source`.
fn measure(what: &str, source: &str, head: &Browser) {
    let condition = Condition::compile(source).expect("is a condition");
    let facts = Facts {
        source: SocketAddr::from(([10, 1, 2, 3], 40_000)),
        destination: SocketAddr::from(([10, 20, 0, 1], 8080)),
        server_name: Some(""),
        request: Some(head),
    };
    let once = Instant::now();
    let _ = condition.matches(&facts);
    // A costly condition is evaluated less often.
    let evaluations = if once.elapsed().as_micros() > 5 { 5 } else { EVALUATIONS };
    let round = || {
        let start = Instant::now();
        for _ in 0..evaluations {
            let _ = black_box(black_box(&condition).matches(black_box(&facts)));
        }
        start.elapsed()
    };
    let best = (0..ROUNDS).map(|_| round()).min().unwrap_or_default();
    let answer = condition
        .matches(&facts)
        .map_or("no answer", |answer| if answer { "match" } else { "no match" });
    println!(
        "{:11.1} ns  {answer:9}  {what}: {source}",
        best.as_nanos() as f64 / f64::from(evaluations)
    );
}

fn main() {
    let (debug, other, none) = (head(Some(b"debug")), head(Some(b"alice")), head(None));
    let user = r#"request.headers["x-user"] == "debug""#;
    measure("12 headers", user, &debug);
    measure("12 headers", user, &other);
    measure("11 headers", user, &none);
    measure("12 headers", r#"request.path.startsWith("/shop/")"#, &debug);
    measure("12 headers", r#"request.path.matches("^/(shop|admin)/")"#, &debug);
    measure(
        "12 headers",
        r#"request.method in ["GET", "HEAD"] && request.headers["x-user"] == "debug""#,
        &debug,
    );
    measure("12 headers", r#"request.headers["cookie"].contains("theme=dark")"#, &debug);
    measure("12 headers", r#"request.headers["x-user"].lowerAscii() == "debug""#, &debug);
    measure("12 headers", r#"source.address.startsWith("10.1.")"#, &debug);
    // As costly as the limits allow: hard regular expressions on texts of the maximum length.
    for (pattern, length) in [
        ("0(0|a){1}[bc]", 65536),
        ("0(0|a){14}[bc]", 8192),
        ("0(0|a){40}[bc]", 4096),
        ("0(0|a){200}[bc]", 800),
        ("(?:a?){99}a{99}", 1024),
    ] {
        let bits = random_bits(length);
        let large = Browser { headers: vec![("X-User", bits.as_bytes())] };
        let source = format!("request.headers['x-user'].matches(r'{pattern}')");
        measure(&format!("{length} bytes"), &source, &large);
    }

    let start = Instant::now();
    for _ in 0..1000 {
        let _ = black_box(Condition::compile(black_box(user)));
    }
    println!("{:11.1} ns  to compile {user}", start.elapsed().as_nanos() as f64 / 1000.0);
}
