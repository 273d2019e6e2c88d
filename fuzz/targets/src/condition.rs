//! Any text is a condition that is evaluated in bounded time, or an error whose place is in the
//! text.

use std::{net::SocketAddr, time::Duration};

use interceptor_condition::{Condition, Facts, Needs, Request};
use nix::time::{ClockId, clock_gettime};

/// Maximum CPU time of each step. It is far above the usual time and far below a hang. The clock
/// counts CPU time, because the machine may be busy.
const MAXIMUM_TIME: Duration = Duration::from_millis(500);

/// The head of a request.
struct Head {
    path: String,
    host: Option<&'static str>,
    headers: Vec<(&'static str, Vec<u8>)>,
}

impl Request for Head {
    fn method(&self) -> &str {
        "GET"
    }

    fn path(&self) -> &str {
        &self.path
    }

    fn host(&self) -> Option<&str> {
        self.host
    }

    fn scheme(&self) -> &str {
        "http"
    }

    fn protocol(&self) -> &str {
        "HTTP/1.1"
    }

    fn header_values<'a>(&'a self, name: &str, each: &mut dyn FnMut(&'a [u8])) {
        for (_, value) in self.headers.iter().filter(|(other, _)| *other == name) {
            each(value);
        }
    }
}

/// An ordinary request, a costly one, and an empty one.
fn heads() -> [Head; 3] {
    let ordinary = Head {
        path: "/shop/cart?item=7#x".to_owned(),
        host: Some("shop.example"),
        headers: vec![
            ("x-user", b"debug".to_vec()),
            ("n", b"42".to_vec()),
            ("accept", b"caf\xe9".to_vec()),
        ],
    };
    // The costly request has texts of the maximum length that are hard for regular expressions.
    let mut random = 1u32;
    let bits = std::iter::repeat_with(|| {
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        if random >> 31 == 0 { '0' } else { 'a' }
    });
    let long: String = bits.take(8192).collect();
    let large = Head {
        headers: vec![("x-user", long.clone().into_bytes()); 6],
        path: long,
        host: Some(""),
    };
    [ordinary, large, Head { path: String::new(), host: None, headers: Vec::new() }]
}

/// Runs the target.
pub fn run(text: &str) {
    let start = cpu_time();
    let compiled = Condition::compile(text);
    assert!(cpu_time() - start < MAXIMUM_TIME, "took {:?} to compile", cpu_time() - start);
    let condition = match compiled {
        Ok(condition) => condition,
        Err(error) => {
            let span = error.span();
            assert!(text.get(span.range()).is_some(), "{span:?}");
            assert!(!error.to_string().chars().any(char::is_control), "{error:?}");
            assert_eq!(error.caret(text).split('\n').count(), 2, "{error:?}");
            return;
        }
    };

    for head in heads() {
        let all = Facts {
            source: SocketAddr::from(([10, 1, 2, 3], 40_000)),
            destination: SocketAddr::from(([0xfd00, 0, 0, 0, 0, 0, 0, 1], 8080)),
            server_name: Some("shop.example"),
            request: Some(&head),
        };
        let start = cpu_time();
        let answer = condition.matches(&all);
        assert!(cpu_time() - start < MAXIMUM_TIME, "took {:?} to evaluate", cpu_time() - start);
        if let Err(error) = answer {
            assert!(!error.span.of(text).is_empty(), "{error:?}");
        }
        if let Some(constant) = condition.constant() {
            assert_eq!(answer, Ok(constant));
        }
        // A result is final, and the facts that the condition needs are enough for it.
        let hello = Facts { request: None, ..all };
        let connection = Facts { server_name: None, ..hello };
        for (needed, less) in [(Needs::Connection, connection), (Needs::ServerName, hello)] {
            let early = condition.matches(&less);
            if early.is_ok() || condition.needs() <= needed {
                assert_eq!(early, answer);
            }
        }
    }
}

/// The CPU time of this thread.
fn cpu_time() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).expect("every Linux has this clock").into()
}
