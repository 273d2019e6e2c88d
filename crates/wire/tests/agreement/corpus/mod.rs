//! Messages that software reads in different ways, or that are broken, and good ones that look odd.

pub(crate) mod requests;
pub(crate) mod responses;
