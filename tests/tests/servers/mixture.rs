//! Requests for both servers in turns, on one connection.

use anyhow::{Context as _, Result};
use interceptor_tests::HttpClient;
use testbed::Namespace;

use crate::{
    Files, MARKS,
    calls::{CHUNKED, Request, chunked},
    kinds::{Kind, PORT, Upload},
    without_date,
};

/// Requests whose owners take turns.
pub(crate) struct Mixture(Vec<(usize, Request)>);

pub(crate) fn mixture(kind: Kind, files: &Files) -> Mixture {
    let get = |line, fields| Request { line, fields, body: Vec::new(), waits: false };
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
                waits: false,
            },
            Upload::File => get("OPTIONS /hello HTTP/1.1", &[]),
        },
    ];
    // Each of them behind each, on the same side and on the other.
    let sides = [0, 1, 0, 0, 1, 1, 0, 1];
    let requests = all.iter().cycle().take(7 * 8).cloned();
    Mixture(requests.enumerate().map(|(n, request)| (sides[n % sides.len()], request)).collect())
}

impl Mixture {
    /// What each server answers to its own.
    pub(crate) fn directly(
        &self,
        servers: [&Namespace; 2],
        client: &Namespace,
    ) -> Result<Vec<Vec<u8>>> {
        let mut callers = Vec::new();
        for server in servers {
            callers.push(HttpClient::connect(client, (server.ip4(), PORT))?);
        }
        let answers = self.0.iter().enumerate().map(|(number, (side, request))| {
            request
                .make(&mut callers[*side], MARKS[*side])
                .with_context(|| format!("number {number}"))
        });
        answers.collect()
    }

    pub(crate) fn through(
        &self,
        pod: &Namespace,
        client: &Namespace,
        together: bool,
    ) -> Result<Vec<Vec<u8>>> {
        let mut caller = HttpClient::connect(client, (pod.ip4(), PORT))?;
        if !together {
            return self
                .0
                .iter()
                .map(|(side, request)| request.make(&mut caller, MARKS[*side]))
                .collect();
        }
        let all = self
            .0
            .iter()
            .flat_map(|(side, request)| request.bytes(MARKS[*side]))
            .collect::<Vec<_>>();
        let mut speaker = caller.try_clone()?;
        std::thread::scope(|scope| {
            // Much more than the connection holds.
            let said = scope.spawn(move || speaker.say(all));
            let answers = self
                .0
                .iter()
                .map(|(_, request)| Ok(without_date(caller.answer(request.is_head())?.raw)));
            let answers = answers.collect();
            said.join().expect("no panic")?;
            answers
        })
    }
}
