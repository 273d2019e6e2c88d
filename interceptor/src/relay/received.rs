//! Bytes of a client that no rule has decided about yet.

/// Bytes that were read from a client and still decide where something goes. The app may have got
/// the first of them already, without a decision: the client was silent for too long.
#[derive(Debug, Default)]
pub struct Received {
    bytes: Vec<u8>,
    /// Number of the first bytes that the app has.
    given: usize,
}

// === impl Received ===

impl Received {
    /// Bytes of which the app has got none.
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Self {
        Self { bytes, given: 0 }
    }

    /// All of the bytes.
    #[must_use]
    pub fn all(&self) -> &[u8] {
        &self.bytes
    }

    /// The number of bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Whether the app has got some of them, so that what they begin with is the app's.
    #[must_use]
    pub fn has_given(&self) -> bool {
        self.given > 0
    }

    /// The bytes that are held.
    #[must_use]
    pub fn held(&self) -> &[u8] {
        &self.bytes[self.given..]
    }

    /// Gives the app the bytes that are held: the caller sends what this returns.
    #[must_use]
    pub fn give(&mut self) -> &[u8] {
        let from = std::mem::replace(&mut self.given, self.bytes.len());
        &self.bytes[from..]
    }

    /// Number of the first bytes that the app has.
    #[must_use]
    pub fn given(&self) -> usize {
        self.given
    }

    /// Replaces all by `bytes`, of which the app has the first `given`.
    pub fn set(&mut self, bytes: &[u8], given: usize) {
        debug_assert!(given <= bytes.len(), "{given} of {} bytes", bytes.len());
        self.bytes.clear();
        self.bytes.extend_from_slice(bytes);
        self.given = given;
    }

    /// Appends bytes that were read.
    pub fn extend_from_slice(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Where a read appends its bytes.
    pub fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Takes the first `len` bytes, which are decided about. Returns those that the app has not
    /// got.
    pub fn take(&mut self, len: usize) -> Vec<u8> {
        let mut taken: Vec<u8> = self.bytes.drain(..len).collect();
        let given = self.given.min(len);
        self.given -= given;
        taken.drain(..given);
        taken
    }

    /// All of the bytes.
    #[must_use]
    pub fn into_all(self) -> Vec<u8> {
        self.bytes
    }

    /// The bytes that the app has not got.
    #[must_use]
    pub fn into_rest(mut self) -> Vec<u8> {
        if self.given > 0 {
            self.bytes.drain(..self.given);
        }
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_app_gets_each_byte_once() {
        let mut received = Received::new(b"GET /".to_vec());
        assert_eq!((received.has_given(), received.give()), (false, &b"GET /"[..]));
        received.extend_from_slice(b"a HTTP/1.1");
        assert_eq!(
            (received.all(), received.held()),
            (&b"GET /a HTTP/1.1"[..], &b"a HTTP/1.1"[..])
        );
        assert_eq!(received.take(6), b"a");
        assert_eq!((received.has_given(), received.held()), (false, &b" HTTP/1.1"[..]));
        assert_eq!(received.give(), b" HTTP/1.1");
        assert_eq!(received.take(1), b"");
        assert!(received.has_given());
        assert_eq!(received.into_rest(), b"");
    }
}
