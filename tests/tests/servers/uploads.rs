//! Files that are uploaded arrive whole.

use anyhow::{Result, ensure};
use interceptor_tests::HttpClient;
use testbed::{Daemon, Namespace, wait_until};

use crate::{
    Files, MARKS, TIMEOUT,
    calls::{CHUNKED, Request, chunked},
    kinds::{Kind, PORT, Upload},
};

/// The other comparisons say that nothing is changed; this one, that what is served is what was put there.
pub(crate) fn files_arrive(
    kind: Kind,
    files: &Files,
    pod: &Namespace,
    client: &Namespace,
) -> Result<()> {
    for mark in MARKS {
        let mut caller = HttpClient::connect(client, (pod.ip4(), PORT))?;
        let mut ask = |line: &'static str, fields: &'static [&'static str], body: &[u8]| {
            let request = Request { line, fields, body: body.to_vec(), waits: false };
            caller.say(request.bytes(mark))?;
            caller.answer(false)
        };
        ensure!(ask("GET /large HTTP/1.1", &[], &[])?.body == files.large);
        let chunked = chunked(&files.upload);
        let back = match kind.upload {
            Upload::Echo => ask("POST /echo HTTP/1.1", &[CHUNKED], &chunked)?,
            Upload::File => {
                let put = ask("PUT /up/d HTTP/1.1", &[CHUNKED], &chunked)?;
                ensure!(put.status == 201, "{}", put.head);
                ask("GET /up/d HTTP/1.1", &[], &[])?
            }
        };
        ensure!(back.body == files.upload, "{}", back.head);
    }
    Ok(())
}

pub(crate) fn nothing_was_in_doubt(daemon: &Daemon) -> Result<()> {
    wait_until("the daemon's count", TIMEOUT, || {
        let workload = daemon.workload("web")?;
        let rule = &workload["rules"][0];
        let counted = |decision: &str| rule["decisions"][decision].as_u64().unwrap_or_default();
        ensure!(
            counted("matched") > 150 && counted("no_match") > 150 && counted("error") == 0,
            "{workload}"
        );
        let mut pipes = rule["piped"].as_array().into_iter().flatten();
        ensure!(pipes.all(|pipe| pipe["reason"] == "tunnel"), "{workload}");
        Ok(())
    })
}
