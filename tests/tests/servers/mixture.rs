//! A mixture of requests for both servers on one connection.

use anyhow::{Context as _, Result};
use interceptor_tests::HttpClient;
use testbed::Namespace;

use crate::{
    Files, USER_HEADERS,
    calls::{CHUNKED, Request, chunked},
    kinds::{Kind, PORT, Upload},
    without_date,
};

/// Requests, each with the server that it is for: 0 is the app, 1 the target.
pub(crate) struct Mixture(Vec<(usize, Request)>);

/// The mixture for a kind of server.
pub(crate) fn mixture(kind: Kind, files: &Files) -> Mixture {
    let get = |line, fields| Request { line, fields, body: Vec::new(), expects_continue: false };
    let all = [
        get("GET /hello HTTP/1.1", &[]),
        get("HEAD /large HTTP/1.1", &[]),
        get("GET /stream HTTP/1.1", &[]),
        get("GET /middle HTTP/1.1", &[]),
        get("GET /text HTTP/1.1", &["Accept-Encoding: gzip"]),
        get("GET /middle HTTP/1.1", &["Range: bytes=5-70000"]),
        match kind.upload {
            Upload::Echo => Request {
                line: "POST /echo HTTP/1.1",
                fields: &[CHUNKED],
                body: chunked(&files.upload),
                expects_continue: false,
            },
            Upload::File => get("OPTIONS /hello HTTP/1.1", &[]),
        },
    ];
    // Each request follows each other one, for the same server and for the other.
    let order = [0, 1, 0, 0, 1, 1, 0, 1];
    let requests = all.iter().cycle().take(7 * 8).cloned();
    Mixture(requests.enumerate().map(|(n, request)| (order[n % order.len()], request)).collect())
}

impl Mixture {
    /// The responses of each server to its own requests, on a connection to that server.
    pub(crate) fn directly(
        &self,
        servers: [&Namespace; 2],
        client: &Namespace,
    ) -> Result<Vec<Vec<u8>>> {
        let mut connections = Vec::new();
        for server in servers {
            connections.push(HttpClient::connect(client, (server.ip4(), PORT))?);
        }
        let responses = self.0.iter().enumerate().map(|(number, (server, request))| {
            request
                .make(&mut connections[*server], USER_HEADERS[*server])
                .with_context(|| format!("number {number}"))
        });
        responses.collect()
    }

    /// The responses to all requests on one connection to the pod.
    pub(crate) fn through(
        &self,
        pod: &Namespace,
        client: &Namespace,
        pipelined: bool,
    ) -> Result<Vec<Vec<u8>>> {
        let mut connection = HttpClient::connect(client, (pod.ip4(), PORT))?;
        if !pipelined {
            return self
                .0
                .iter()
                .map(|(server, request)| request.make(&mut connection, USER_HEADERS[*server]))
                .collect();
        }
        let all = self
            .0
            .iter()
            .flat_map(|(server, request)| request.bytes(USER_HEADERS[*server]))
            .collect::<Vec<_>>();
        let mut sender = connection.try_clone()?;
        std::thread::scope(|scope| {
            // The requests are larger than all buffers, so they are sent while responses are read.
            let sent = scope.spawn(move || sender.send(all));
            let responses = self
                .0
                .iter()
                .map(|(_, request)| Ok(without_date(connection.response(request.is_head())?.raw)));
            let responses = responses.collect();
            sent.join().expect("no panic")?;
            responses
        })
    }
}
