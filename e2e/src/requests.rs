//! Several requests on one connection, for rules with conditions.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
};

use anyhow::{Context as _, Result, ensure};

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
                let (mut line, mut length) = (String::new(), 0);
                while line != "\r\n" {
                    line.clear();
                    ensure!(answers.read_line(&mut line)? > 0, "the connection ended");
                    if let Some(value) = line.strip_prefix("Content-Length: ") {
                        length = value.trim().parse()?;
                    }
                }
                let mut body = vec![0; length];
                answers.read_exact(&mut body)?;
                let body = String::from_utf8(body)?;
                let mut words = body.split_ascii_whitespace();
                let (who, peer) = words
                    .next()
                    .zip(words.next())
                    .with_context(|| format!("an answer {body:?}"))?;
                Ok((who.to_owned(), peer.parse().with_context(|| format!("an answer {body:?}"))?))
            })
            .collect()
    })
}
