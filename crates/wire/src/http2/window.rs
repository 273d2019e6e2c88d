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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window<S> {
    size: i32,
    of: PhantomData<S>,
}

/// The window of a connection.
pub type ConnectionWindow = Window<OfConnection>;
/// The window of a stream.
pub type StreamWindow = Window<OfStream>;

/// The bytes that a WINDOW_UPDATE adds to a window, at least one and at most [`MAX_WINDOW`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
        window: i32,
        /// The bytes to add.
        bytes: u32,
    },
    /// The peer sent more than the window allows.
    #[error("{bytes} bytes were sent into a window of {window}")]
    Overrun {
        /// The size of the window in bytes.
        window: i32,
        /// The bytes that were sent.
        bytes: u32,
    },
}

// === impl Window ===

impl<S> Window<S> {
    /// How many bytes may be sent now.
    pub fn available(&self) -> u32 {
        u32::try_from(self.size).unwrap_or_default()
    }

    /// The size in bytes, which may be negative.
    pub fn size(&self) -> i32 {
        self.size
    }

    /// Takes the bytes of a DATA frame's payload, with its padding, out of the window.
    ///
    /// # Errors
    ///
    /// The window is smaller, and stays as it is.
    pub fn consume(&mut self, bytes: u32) -> Result<(), WindowError> {
        let overrun = WindowError::Overrun { window: self.size, bytes };
        if bytes > self.available() {
            return Err(overrun);
        }
        // Fits, since it is not more than the size.
        self.size -= bytes as i32;
        Ok(())
    }

    /// Adds the bytes of a WINDOW_UPDATE.
    ///
    /// # Errors
    ///
    /// The window would exceed [`MAX_WINDOW`], and stays as it is.
    pub fn add(&mut self, increment: Increment<S>) -> Result<(), WindowError> {
        let bytes = increment.bytes;
        let overflow = WindowError::Overflow { window: self.size, bytes };
        // Fits into an `i32`, since it is at most MAX_WINDOW.
        self.size = self.size.checked_add(bytes as i32).ok_or(overflow)?;
        Ok(())
    }
}

impl ConnectionWindow {
    /// The window of a new connection.
    pub fn new() -> Self {
        Self { size: INITIAL_CONNECTION_WINDOW as i32, of: PhantomData }
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
        Self { size: initial.min(MAX_WINDOW) as i32, of: PhantomData }
    }

    /// Follows a change of `SETTINGS_INITIAL_WINDOW_SIZE`, RFC 9113 section 6.9.2.
    ///
    /// # Errors
    ///
    /// The window would exceed [`MAX_WINDOW`], and stays as it is.
    pub fn change_initial(&mut self, from: u32, to: u32) -> Result<(), WindowError> {
        let size = i64::from(self.size) + i64::from(to) - i64::from(from);
        let overflow = WindowError::Overflow { window: self.size, bytes: to.saturating_sub(from) };
        self.size = i32::try_from(size).map_err(|_| overflow)?;
        Ok(())
    }
}

// === impl Increment ===

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
