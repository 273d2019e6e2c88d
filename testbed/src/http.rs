//! A minimal HTTP/1 client, and a reader of whole messages.

use std::{
    io::{self, BufRead, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};

use crate::Namespace;

/// `GET path` from inside a namespace. Returns the body of a 2xx response; any other is an error.
pub(crate) fn get(netns: &Namespace, to: SocketAddr, path: &str) -> Result<String> {
    let timeout = Duration::from_secs(2);
    let (head, body) = netns.run(|| -> Result<_> {
        let mut stream =
            TcpStream::connect_timeout(&to, timeout).with_context(|| format!("connect to {to}"))?;
        stream.set_read_timeout(Some(timeout)).context("set the read timeout")?;
        let request = format!("GET {path} HTTP/1.0\r\nHost: {to}\r\n\r\n");
        stream.write_all(request.as_bytes()).context("send the request")?;
        let response =
            io::read_to_string(stream).with_context(|| format!("read the response of {path}"))?;
        let (head, body) = response.split_once("\r\n\r\n").context("a response without a head")?;
        Ok((head.to_owned(), body.to_owned()))
    })?;
    let status = head.lines().next().unwrap_or_default();
    ensure!(
        status.split(' ').nth(1).is_some_and(|code| code.starts_with('2')),
        "{path}: {status}: {body}"
    );
    Ok(body)
}

/// Reads one message, framed by `Content-Length` or without a body, and returns its body. `None` at
/// the end of the stream.
pub fn read_message(stream: &mut impl BufRead) -> io::Result<Option<Vec<u8>>> {
    let mut length = 0;
    let mut line = String::new();
    for number in 0.. {
        line.clear();
        if stream.read_line(&mut line)? == 0 {
            return if number == 0 { Ok(None) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
        }
        let line = line.trim_end();
        if line.is_empty() {
            break;
        }
        if let Some((key, value)) = line.split_once(':')
            && key.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().map_err(io::Error::other)?;
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    Ok(Some(body))
}
