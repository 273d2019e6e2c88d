//! Tests of the chart, which a real Helm renders.

#![forbid(unsafe_code)]

mod arguments;
mod common;
mod objects;
mod policy;
mod rights;
mod whole;
