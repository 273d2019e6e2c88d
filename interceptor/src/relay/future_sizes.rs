//! Maximum sizes of the futures that a connection's task consists of.
//!
//! Memory limits how many connections a node relays (`limits.rs`), and a local variable that lives
//! across an await enlarges every task. The bounds are the measured sizes, rounded up.

use super::{detect, http1, http2, serve};

/// The size of the future that a function returns, in bytes.
macro_rules! size_of_future {
    ($function:expr, $($argument:ident),*) => {{
        fn size<$($argument,)* F: Future>(_: impl FnOnce($($argument),*) -> F) -> usize {
            size_of::<F>()
        }
        size($function)
    }};
}

#[test]
fn a_connection_that_is_not_looked_into_is_small() {
    let size = size_of_future!(serve::serve, A, B, C, D);
    assert!(size <= 2560, "{size} bytes");
}

#[test]
fn protocol_detection_with_http1_is_bounded() {
    let size = size_of_future!(detect::serve, A);
    assert!(size <= 5 << 10, "{size} bytes");
    let size = size_of_future!(http1::serve, A, B, C);
    assert!(size <= 4 << 10, "{size} bytes");
}

#[test]
fn a_connection_with_http2_is_bounded() {
    let size = size_of_future!(http2::serve, A, B, C);
    assert!(size <= 9 << 10, "{size} bytes");
}
