//! Any bytes are a ClientHello, the beginning of one, or neither. A beginning of the bytes gives
//! the same answer, or is incomplete.

use interceptor_wire::hello::{MAX_HELLO, MAX_RECORDS, client_hello};
use interceptor_wire::{Opening, Parsed, opening};

/// Runs the target.
pub fn run(bytes: &[u8]) {
    let whole = client_hello(bytes);
    if let Parsed::Complete { head, len } = &whole {
        assert!(*len <= bytes.len() && *len <= MAX_HELLO + 5 * MAX_RECORDS);
        assert_eq!(opening(bytes), Opening::Tls);
        if let Some(name) = &head.server_name {
            assert!(!name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic()));
        }
        assert!(head.protocols().all(|protocol| !protocol.is_empty()));
        // Bytes after the ClientHello do not matter.
        assert_eq!(client_hello(&bytes[..*len]), whole);
    }
    for end in 0..bytes.len().min(2000) {
        let early = client_hello(&bytes[..end]);
        assert!(
            early == Parsed::Partial || early == whole,
            "{end} bytes: {early:?}, all: {whole:?}"
        );
    }
}
