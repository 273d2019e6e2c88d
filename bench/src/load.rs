//! The loads. Each returns one report that becomes one line of JSON.

pub(crate) mod bulk;
pub(crate) mod conns;
pub(crate) mod idle;
pub(crate) mod rr;
