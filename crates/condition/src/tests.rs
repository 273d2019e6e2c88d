//! Tests: valid conditions and their results, refused ones, and a comparison with the crate `cel`.

mod bad;
mod form;
mod good;
mod properties;
mod request;
