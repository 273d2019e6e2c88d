//! The node daemon as a library.
