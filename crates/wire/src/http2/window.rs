//! The windows of flow control, RFC 9113 section 6.9.
//!
//! Types keep the window of the connection apart from those of streams: neither bytes nor
//! increments of one can go to the other.

use std::marker::PhantomData;

/// Maximum size of a window in bytes.
pub const MAX_WINDOW: u32 = u32::MAX >> 1;

/// The window of a connection after its preface, in bytes. No setting changes it.
pub const INITIAL_CONNECTION_WINDOW: u32 = 65_535;

/// Marks what belongs to the window of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OfConnection {}

/// Marks what belongs to the window of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OfStream {}

/// How many bytes a peer may still send.
///
/// The window of a stream is negative after its recipient has lowered
/// `SETTINGS_INITIAL_WINDOW_SIZE` below what was sent already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window<S> {
    size: i64,
    of: PhantomData<S>,
}

/// The window of a connection.
pub type ConnectionWindow = Window<OfConnection>;
/// The window of a stream.
pub type StreamWindow = Window<OfStream>;

/// The bytes that a WINDOW_UPDATE adds to a window, at least one and at most [`MAX_WINDOW`].
#[derive(Debug, PartialEq, Eq)]
pub struct Increment<S> {
    bytes: u32,
    of: PhantomData<S>,
}

/// Why a window can't change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WindowError {
    /// The window would exceed [`MAX_WINDOW`].
    #[error("a window of {window} bytes grows by {bytes}, beyond 2^31 - 1")]
    Overflow {
        /// The size of the window in bytes.
        window: i64,
        /// The bytes to add.
        bytes: u32,
    },
    /// The peer sent more than the window allows.
    #[error("{bytes} bytes were sent into a window of {window}")]
    Overrun {
        /// The size of the window in bytes.
        window: i64,
        /// The bytes that were sent.
        bytes: u32,
    },
}

// === impl Window ===

impl<S> Window<S> {
    fn with_size(size: u32) -> Self {
        Self { size: size.into(), of: PhantomData }
    }

    /// How many bytes may be sent now.
    pub fn available(&self) -> u32 {
        // Fits, since a window is at most MAX_WINDOW.
        u32::try_from(self.size).unwrap_or_default()
    }

    /// The size in bytes, which may be negative.
    pub fn size(&self) -> i64 {
        self.size
    }

    /// Takes the bytes of a DATA frame's payload, with its padding, out of the window.
    ///
    /// # Errors
    ///
    /// The window is smaller, and stays as it is.
    pub fn consume(&mut self, bytes: u32) -> Result<(), WindowError> {
        if bytes > self.available() {
            return Err(WindowError::Overrun { window: self.size, bytes });
        }
        self.size -= i64::from(bytes);
        Ok(())
    }

    /// Adds the bytes of a WINDOW_UPDATE.
    ///
    /// # Errors
    ///
    /// The window would exceed [`MAX_WINDOW`], and stays as it is.
    pub fn add(&mut self, increment: Increment<S>) -> Result<(), WindowError> {
        self.change(increment.bytes, 0)
    }

    fn change(&mut self, more: u32, less: u32) -> Result<(), WindowError> {
        let size = self.size + i64::from(more) - i64::from(less);
        if size > i64::from(MAX_WINDOW) {
            return Err(WindowError::Overflow { window: self.size, bytes: more });
        }
        self.size = size;
        Ok(())
    }
}

impl ConnectionWindow {
    /// The window of a new connection.
    pub fn new() -> Self {
        Self::with_size(INITIAL_CONNECTION_WINDOW)
    }
}

impl Default for ConnectionWindow {
    fn default() -> Self {
        Self::new()
    }
}

impl StreamWindow {
    /// The window of a new stream: `SETTINGS_INITIAL_WINDOW_SIZE`, or [`MAX_WINDOW`] if that is
    /// beyond it.
    pub fn new(initial: u32) -> Self {
        Self::with_size(initial.min(MAX_WINDOW))
    }

    /// Follows a change of `SETTINGS_INITIAL_WINDOW_SIZE`, RFC 9113 section 6.9.2.
    ///
    /// # Errors
    ///
    /// The window would exceed [`MAX_WINDOW`], and stays as it is.
    pub fn change_initial(&mut self, from: u32, to: u32) -> Result<(), WindowError> {
        self.change(to, from)
    }
}

// === impl Increment ===

// Derived impls would ask the same of the marker.
impl<S> Clone for Increment<S> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<S> Copy for Increment<S> {}

impl<S> Increment<S> {
    /// An increment by this many bytes, if a WINDOW_UPDATE can carry it.
    pub fn new(bytes: u32) -> Option<Self> {
        (1..=MAX_WINDOW).contains(&bytes).then_some(Self { bytes, of: PhantomData })
    }

    /// The increment in bytes.
    pub fn bytes(self) -> u32 {
        self.bytes
    }
}

#[cfg(test)]
mod tests;
