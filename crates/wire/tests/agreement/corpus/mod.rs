//! Messages that software reads in different ways, malformed ones, and unusual well-formed ones.

pub(crate) mod requests;
pub(crate) mod responses;
