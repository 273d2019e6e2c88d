//! Programs in wide use, on both ends of stolen connections. Except where a test starts an app, the
//! pod has none: then every answer came through the relay.

#![forbid(unsafe_code)]

mod databases;
mod http;
mod tools;
