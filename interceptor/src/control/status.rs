//! States and reasons of rules and workloads: the words of [`interceptor_api`].

pub use interceptor_api::{Reason, Standing, State};
