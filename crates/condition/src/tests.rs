//! What a condition means, what is refused, and that CEL agrees.

mod bad;
mod good;
mod properties;
mod request;
