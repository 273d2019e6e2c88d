//! Requests written by hand, and all that comes back on their connection.

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
    /// They are sent at once.
    pub(crate) together: bool,
}

#[derive(Clone)]
pub(crate) struct Request {
    pub(crate) line: &'static str,
    pub(crate) fields: &'static [&'static str],
    /// As on the wire.
    pub(crate) body: Vec<u8>,
    /// The body is sent when it is asked for.
    pub(crate) waits: bool,
}

pub(crate) const CLOSE: &[&str] = &["Connection: close"];

pub(crate) const LENGTH: &str = "Content-Length: 1500001";

pub(crate) const CHUNKED: &str = "Transfer-Encoding: chunked";

pub(crate) const EXPECT: &str = "Expect: 100-continue";

pub(crate) fn calls(kind: Kind, files: &Files) -> Vec<Call> {
    let get = |line, fields| Request { line, fields, body: Vec::new(), waits: false };
    let hello = || get("GET /hello HTTP/1.1", &[]);
    let last = || get("GET /hello HTTP/1.1", CLOSE);
    let call = |name, requests| Call { name, requests, together: false };
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
        calls.push(Call { name: "together", requests, together: true });
    }
    let chunks = chunked(&files.upload);
    let uploads: [(_, &[_], &[u8]); 4] = [
        ("length", &[LENGTH], &files.upload),
        ("chunked", &[CHUNKED], &chunks),
        ("length, asked for", &[LENGTH, EXPECT], &files.upload),
        ("chunked, asked for", &[CHUNKED, EXPECT], &chunks),
    ];
    for (name, fields, body) in uploads {
        let line = match kind.upload {
            Upload::Echo => "POST /echo HTTP/1.1",
            Upload::File => "PUT /up/a HTTP/1.1",
        };
        let waits = fields.contains(&EXPECT);
        let mut requests = vec![Request { line, fields, body: body.to_vec(), waits }];
        if kind.upload == Upload::File {
            requests.push(get("DELETE /up/a HTTP/1.1", &[]));
        }
        requests.push(last());
        calls.push(call(name, requests));
    }
    calls
}

pub(crate) fn chunked(body: &[u8]) -> Vec<u8> {
    let chunk =
        |chunk: &[u8]| [format!("{:x}\r\n", chunk.len()).as_bytes(), chunk, b"\r\n"].concat();
    let mut chunks = body.chunks(70_001).map(chunk).collect::<Vec<_>>();
    chunks.push(b"0\r\n\r\n".to_vec());
    chunks.concat()
}

impl Call {
    /// All answers, up to the end of the connection.
    pub(crate) fn make(
        &self,
        client: &Namespace,
        server: &Namespace,
        mark: &str,
    ) -> Result<Vec<Vec<u8>>> {
        let mut caller = HttpClient::connect(client, (server.ip4(), PORT))?;
        let mut answers = Vec::new();
        if self.together {
            caller.say(
                self.requests.iter().flat_map(|request| request.bytes(mark)).collect::<Vec<_>>(),
            )?;
        } else {
            for request in &self.requests {
                answers.push(request.make(&mut caller, mark)?);
            }
        }
        answers.push(without_date(caller.rest()?));
        Ok(answers)
    }
}

impl Request {
    pub(crate) fn head(&self, mark: &str) -> Vec<u8> {
        let fields = self.fields.iter().map(|field| format!("{field}\r\n")).collect::<String>();
        format!("{}\r\nHost: web\r\n{mark}\r\n{fields}\r\n", self.line).into()
    }

    pub(crate) fn bytes(&self, mark: &str) -> Vec<u8> {
        [self.head(mark), self.body.clone()].concat()
    }

    pub(crate) fn is_head(&self) -> bool {
        self.line.starts_with("HEAD ")
    }

    /// All responses to it.
    pub(crate) fn make(&self, caller: &mut HttpClient, mark: &str) -> Result<Vec<u8>> {
        caller.say(self.head(mark))?;
        let mut all = Vec::new();
        if self.waits {
            let answer = caller.answer(false).context("no 100")?;
            ensure!(answer.status == 100, "{answer:?}");
            all.extend(answer.raw);
        }
        caller.say(&self.body)?;
        all.extend(caller.answer(self.is_head())?.raw);
        Ok(without_date(all))
    }
}
