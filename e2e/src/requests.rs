//! Several requests on one connection, for rules with conditions.

use std::{
    io::{BufReader, Write as _},
    net::{SocketAddr, TcpStream},
};

use anyhow::{Context as _, Result};
use testbed::read_message;

use crate::{TIMEOUT, on_laptop};

/// Sends a request for each of these users (`X-User`) on one connection. Returns for each the name
/// of the server, and the client's address as the server sees it.
pub fn ask_as(to: SocketAddr, users: &[&str]) -> Result<Vec<(String, SocketAddr)>> {
    on_laptop(|| {
        let mut stream = TcpStream::connect(to)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        let mut answers = BufReader::new(stream.try_clone()?);
        users
            .iter()
            .map(|user| {
                write!(stream, "GET / HTTP/1.1\r\nHost: app\r\nX-User: {user}\r\n\r\n")?;
                let body = read_message(&mut answers)?.context("the connection ended")?;
                let body = String::from_utf8(body)?;
                let mut words = body.split_ascii_whitespace();
                let (server, client) = words
                    .next()
                    .zip(words.next())
                    .with_context(|| format!("the answer {body:?}"))?;
                let client = client.parse().with_context(|| format!("the answer {body:?}"))?;
                Ok((server.to_owned(), client))
            })
            .collect()
    })
}
