//! Calls: requests on one connection, and all bytes that come back.

use anyhow::{Context as _, Result, ensure};
use interceptor_tests::HttpClient;
use testbed::Namespace;

use crate::{
    Files,
    kinds::{Kind, PORT, Upload},
    without_date,
};

/// Requests on one connection.
pub(crate) struct Call {
    pub(crate) name: &'static str,
    pub(crate) requests: Vec<Request>,
    /// Whether all requests are sent at once.
    pub(crate) pipelined: bool,
}

/// A request.
#[derive(Clone)]
pub(crate) struct Request {
    pub(crate) line: &'static str,
    pub(crate) fields: &'static [&'static str],
    /// The body with its framing.
    pub(crate) body: Vec<u8>,
    /// Whether the client waits for 100 (Continue) before it sends the body.
    pub(crate) expects_continue: bool,
}

pub(crate) const CLOSE: &[&str] = &["Connection: close"];

pub(crate) const LENGTH: &str = "Content-Length: 1500001";

pub(crate) const CHUNKED: &str = "Transfer-Encoding: chunked";

pub(crate) const EXPECT: &str = "Expect: 100-continue";

/// All calls for a kind of server.
pub(crate) fn calls(kind: Kind, files: &Files) -> Vec<Call> {
    let get = |line, fields| Request { line, fields, body: Vec::new(), expects_continue: false };
    let hello = || get("GET /hello HTTP/1.1", &[]);
    let last = || get("GET /hello HTTP/1.1", CLOSE);
    let call = |name, requests| Call { name, requests, pipelined: false };
    let mut calls = vec![
        call("one", vec![last()]),
        call("kept alive", [vec![hello(); 100], vec![last()]].concat()),
        call(
            "head",
            vec![get("HEAD /hello HTTP/1.1", &[]), hello(), get("HEAD /large HTTP/1.1", CLOSE)],
        ),
        call("missing", vec![get("GET /nothing HTTP/1.1", CLOSE)]),
        call("large", vec![get("GET /large HTTP/1.1", &[]), last()]),
        call("chunks", vec![get("GET /stream HTTP/1.1", &[]), get("GET /stream HTTP/1.1", CLOSE)]),
        call("compressed", vec![get("GET /text HTTP/1.1", &["Accept-Encoding: gzip"]), last()]),
        call("1.0", vec![get("GET /hello HTTP/1.0", &[])]),
        call("close, 1.0", vec![get("GET /hello HTTP/1.0", CLOSE)]),
        call(
            "ranges",
            vec![
                get("GET /large HTTP/1.1", &["Range: bytes=1000-70000"]),
                get("GET /large HTTP/1.1", &["Range: bytes=-5"]),
                get("GET /large HTTP/1.1", &["Range: bytes=99999999-"]),
                last(),
            ],
        ),
    ];
    if kind.pipelines {
        let mut requests = vec![hello(); 8];
        requests.extend([
            get("HEAD /large HTTP/1.1", &[]),
            get("GET /large HTTP/1.1", &[]),
            hello(),
            last(),
        ]);
        calls.push(Call { name: "pipelined", requests, pipelined: true });
    }
    let chunks = chunked(&files.upload);
    let uploads: [(_, &[_], &[u8]); 4] = [
        ("length", &[LENGTH], &files.upload),
        ("chunked", &[CHUNKED], &chunks),
        ("length, expect", &[LENGTH, EXPECT], &files.upload),
        ("chunked, expect", &[CHUNKED, EXPECT], &chunks),
    ];
    for (name, fields, body) in uploads {
        let line = match kind.upload {
            Upload::Echo => "POST /echo HTTP/1.1",
            Upload::File => "PUT /up/a HTTP/1.1",
        };
        let expects_continue = fields.contains(&EXPECT);
        let mut requests = vec![Request { line, fields, body: body.to_vec(), expects_continue }];
        if kind.upload == Upload::File {
            requests.push(get("DELETE /up/a HTTP/1.1", &[]));
        }
        requests.push(last());
        calls.push(call(name, requests));
    }
    calls
}

/// A body with chunked framing.
pub(crate) fn chunked(body: &[u8]) -> Vec<u8> {
    let chunk =
        |chunk: &[u8]| [format!("{:x}\r\n", chunk.len()).as_bytes(), chunk, b"\r\n"].concat();
    let mut chunks = body.chunks(70_001).map(chunk).collect::<Vec<_>>();
    chunks.push(b"0\r\n\r\n".to_vec());
    chunks.concat()
}

impl Call {
    /// Sends the requests and returns all responses, up to the end of the connection.
    pub(crate) fn make(
        &self,
        client: &Namespace,
        server: &Namespace,
        user: &str,
    ) -> Result<Vec<Vec<u8>>> {
        let mut connection = HttpClient::connect(client, (server.ip4(), PORT))?;
        let mut responses = Vec::new();
        if self.pipelined {
            connection.send(
                self.requests.iter().flat_map(|request| request.bytes(user)).collect::<Vec<_>>(),
            )?;
        } else {
            for request in &self.requests {
                responses.push(request.make(&mut connection, user)?);
            }
        }
        responses.push(without_date(connection.read_to_end()?));
        Ok(responses)
    }
}

impl Request {
    pub(crate) fn head(&self, user: &str) -> Vec<u8> {
        let fields = self.fields.iter().map(|field| format!("{field}\r\n")).collect::<String>();
        format!("{}\r\nHost: web\r\n{user}\r\n{fields}\r\n", self.line).into()
    }

    pub(crate) fn bytes(&self, user: &str) -> Vec<u8> {
        [self.head(user), self.body.clone()].concat()
    }

    pub(crate) fn is_head(&self) -> bool {
        self.line.starts_with("HEAD ")
    }

    /// Sends the request and returns all its responses.
    pub(crate) fn make(&self, connection: &mut HttpClient, user: &str) -> Result<Vec<u8>> {
        connection.send(self.head(user))?;
        let mut all = Vec::new();
        if self.expects_continue {
            let interim = connection.response(false).context("no 100")?;
            ensure!(interim.status == 100, "{interim:?}");
            all.extend(interim.raw);
        }
        connection.send(&self.body)?;
        all.extend(connection.response(self.is_head())?.raw);
        Ok(without_date(all))
    }
}
