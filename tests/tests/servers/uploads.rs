//! Uploads and counters.

use anyhow::{Result, ensure};
use interceptor_tests::{HttpClient, TIMEOUT};
use testbed::{Daemon, Namespace, wait_until};

use crate::{
    Files, USER_HEADERS,
    calls::{CHUNKED, Request, chunked},
    kinds::{Kind, PORT, Upload},
};

/// Fails unless a file that was uploaded comes back. The other checks only compare responses with
/// each other.
pub(crate) fn check_uploads(
    kind: Kind,
    files: &Files,
    pod: &Namespace,
    client: &Namespace,
) -> Result<()> {
    for user in USER_HEADERS {
        let mut connection = HttpClient::connect(client, (pod.ip4(), PORT))?;
        let mut request = |line: &'static str, fields: &'static [&'static str], body: &[u8]| {
            let one = Request { line, fields, body: body.to_vec(), expects_continue: false };
            connection.send(one.bytes(user))?;
            connection.response(false)
        };
        ensure!(request("GET /large HTTP/1.1", &[], &[])?.body == files.large);
        let chunked = chunked(&files.upload);
        let back = match kind.upload {
            Upload::Echo => request("POST /echo HTTP/1.1", &[CHUNKED], &chunked)?,
            Upload::File => {
                let put = request("PUT /up/d HTTP/1.1", &[CHUNKED], &chunked)?;
                ensure!(put.status == 201, "{}", put.head);
                request("GET /up/d HTTP/1.1", &[], &[])?
            }
        };
        ensure!(back.body == files.upload, "{}", back.head);
    }
    Ok(())
}

/// Fails unless the daemon has counted requests for both servers, and no pipe except tunnels.
pub(crate) fn check_counters(daemon: &Daemon) -> Result<()> {
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
