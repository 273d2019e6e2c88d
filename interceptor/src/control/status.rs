//! Where rules and workloads stand: the words of [`interceptor_api`].

pub use interceptor_api::{Reason, Standing, State};
