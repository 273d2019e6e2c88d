//! A connection to a port whose rules look at what is sent: most of it is the application's, and must not notice.
//!
//! The application's connection is opened at once, and the first byte of either side decides what this is. A server
//! that speaks first, and a caller who speaks neither HTTP nor TLS, get a plain pipe to the application without any
//! wait. TLS shows a name and hides the rest. HTTP goes where each of its requests is wanted.

mod http1;
mod http2;
mod request;

use std::io;

use interceptor_condition::Needs;
use interceptor_wire::{Opening, Parsed, Reason, hello, opening};
use tokio::net::TcpStream;

use super::{
    connection::Stolen,
    dial,
    select::{Choice, select},
    socket,
    stats::Piped,
};

/// What the first bytes on a connection say.
enum First {
    Http1,
    Http2,
    /// With the name that the caller asks for, if he does.
    Tls(Option<Box<str>>),
    /// Nothing that could be looked into.
    Other(Option<Piped>),
}

/// Serves a connection until its end.
pub async fn serve(stolen: Stolen) {
    let app = match dial::to_app(&stolen.workload, stolen.original).await {
        Ok(app) => app,
        Err(outcome) => {
            stolen.books.settle_all(outcome);
            return socket::reset_on_close(&stolen.client);
        }
    };
    let mut said = Vec::new();
    let first = first(&stolen.client, &app.stream, &mut said).await;
    let (server_name, known) = match &first {
        First::Other(why) => {
            why.iter().for_each(|&why| stolen.books.pipe(why));
            return stolen.pass_on(&app, [said, Vec::new()]).await;
        }
        // The rest is hidden: no more will be known of it.
        First::Tls(name) => (name.as_deref().unwrap_or_default(), Needs::Request),
        First::Http1 | First::Http2 => ("", Needs::ServerName),
    };
    let choice = select(&stolen.routes(), &stolen.facts(Some(server_name)), known);
    match (choice, first) {
        (Choice::Target(route), _) => match stolen.dial(&route).await {
            Ok(target) => {
                stolen.reached(&route);
                stolen.hand_over(&route, &target, said).await;
            }
            Err(outcome) => {
                stolen.failed(&route, outcome);
                stolen.pass_on(&app, [said, Vec::new()]).await;
            }
        },
        (Choice::Later, First::Http1) => http1::serve(stolen, app, said).await,
        (Choice::Later, First::Http2) => http2::serve(stolen, app, said).await,
        (_, first) => {
            if let First::Tls(_) = first {
                stolen.books.pipe(Piped::Tls);
            }
            stolen.pass_on(&app, [said, Vec::new()]).await;
        }
    }
}

/// Reads from the caller until it is known what he speaks, unless the application speaks before.
async fn first(client: &TcpStream, app: &TcpStream, said: &mut Vec<u8>) -> First {
    let mut spoke = false;
    loop {
        tokio::select! {
            biased;
            read = read_more(client, said) => match read {
                // A pipe meets the end, or the failure, by itself.
                Ok(0) | Err(_) => return First::Other(None),
                Ok(_) => {}
            },
            // Some servers open HTTP/2 before the caller does. He waits for nothing all the same.
            is_http2 = opens_http2(app), if !spoke => match is_http2 {
                true => spoke = true,
                false => return First::Other(Some(Piped::ServerSpoke)),
            },
        }
        match opening(said) {
            Opening::Undecided => {}
            Opening::Http1 => return First::Http1,
            Opening::Http2Preface => return First::Http2,
            Opening::Other => return First::Other(Some(Piped::Request(Reason::NotHttp))),
            Opening::Tls => match hello::client_hello(said) {
                Parsed::Partial => {}
                Parsed::Complete { head, .. } => return First::Tls(head.server_name.map(Box::from)),
                Parsed::Unframed(reason) => return First::Other(Some(Piped::Request(reason))),
            },
        }
    }
}

/// Whether what a server says first may be HTTP/2.
async fn opens_http2(app: &TcpStream) -> bool {
    let mut head = [0; 64];
    app.peek(&mut head).await.is_ok_and(|n| n > 0 && http2::may_begin(&head[..n]))
}

/// Appends what `stream` has to say. Nothing is its end.
async fn read_more(stream: &TcpStream, to: &mut Vec<u8>) -> io::Result<usize> {
    loop {
        stream.readable().await?;
        match stream.try_read_buf(to) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            result => return result,
        }
    }
}
