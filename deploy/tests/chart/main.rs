//! The chart, rendered by a real helm.

#![forbid(unsafe_code)]

mod arguments;
mod common;
mod objects;
mod policy;
mod rights;
mod whole;
