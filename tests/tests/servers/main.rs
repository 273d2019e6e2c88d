//! Servers in wide use as app and as target, on a port with a condition: clients get the same bytes
//! as directly.

#![forbid(unsafe_code)]

mod calls;
mod curl;
mod kinds;
mod mixture;
mod uploads;

use std::fs;

use anyhow::{Context as _, Result, bail};
use interceptor_tests::{
    Hosts,
    software::{output, software_test, software_test_if_there},
};
use rstest::rstest;
use testbed::{Daemon, Namespace, Topology, send};

use crate::{
    calls::calls,
    curl::{curl, curls},
    kinds::{APACHE, GO, GUNICORN, JAVA, Kind, NGINX, NODE, PORT, PYTHON, Site, wait},
    mixture::mixture,
    uploads::{check_counters, check_uploads},
};

/// The header of requests that the app serves, and of those that the target serves.
const USER_HEADERS: [&str; 2] = ["x-user: someone", "X-User: debug"];

/// curl offers to go on with HTTP/2.
const OFFER: &str = "--http2";

#[rstest]
#[case::nginx(NGINX)]
#[case::apache(APACHE)]
#[case::python(PYTHON)]
#[case::gunicorn(GUNICORN)]
#[case::node(NODE)]
#[case::go(GO)]
#[case::java(JAVA)]
fn clients_get_the_same_bytes_as_directly(#[case] kind: Kind) {
    let title = format!("servers-{}", kind.programs[0]);
    if kind.is_set_up {
        software_test(&title, kind.programs, |t| compare(t, kind));
    } else {
        software_test_if_there(&title, kind.programs, |t| compare(t, kind));
    }
}

/// Each call by name, with all bytes that came back.
type Transcript = Vec<(String, Vec<u8>)>;

/// Compares the responses through the relay with those of the servers directly.
fn compare(t: &Topology, kind: Kind) -> Result<()> {
    let hosts = Hosts::new(t)?;
    let Hosts { pod, laptop, client, .. } = &hosts;
    let files = Files::new()?;
    let mut servers = Vec::new();
    for netns in [pod, laptop] {
        servers.push(kind.start(&Site::new(netns, &files.large)?)?);
    }
    servers.iter_mut().try_for_each(wait)?;
    let upload = t.dir().join("upload");
    fs::write(&upload, &files.upload)?;
    let calls = calls(kind, &files);
    // A target gets no offer of HTTP/2.
    let call = |server: &Namespace, user: &str, offer: &str| -> Result<Transcript> {
        let by_hand = calls.iter().map(|call| {
            let responses =
                call.make(client, server, user).with_context(|| call.name.to_owned())?;
            Ok((call.name.to_owned(), responses.concat()))
        });
        let by_curl = curls(kind).into_iter().map(|args| {
            let offered = |arg: &&'static str| if *arg == OFFER { offer } else { *arg };
            let sent: Vec<_> = args.iter().map(offered).collect();
            let mut command = curl(client, server, user, &sent);
            // Some calls upload the file by its name, others from standard input.
            command.stdin(fs::File::open(&upload)?).current_dir(t.dir());
            Ok((format!("curl {args:?}"), without_date(output(&mut command)?)))
        });
        by_hand.chain(by_curl).collect()
    };
    let mixture = mixture(kind, &files);

    // Before the daemon runs.
    let directly =
        [call(pod, USER_HEADERS[0], OFFER)?, call(laptop, USER_HEADERS[1], "--http1.1")?];
    let expected = mixture.directly([pod, laptop], client)?;

    let daemon = Daemon::start_active(t, pod, &hosts.debug_rule(PORT, PORT))?;
    for (user, directly) in USER_HEADERS.iter().zip(&directly) {
        for ((name, directly), (_, relayed)) in directly.iter().zip(&call(pod, user, OFFER)?) {
            check_same(directly, relayed).with_context(|| format!("{name}, {user}"))?;
        }
    }
    for pipelined in [false, true] {
        if kind.pipelines || !pipelined {
            let responses = mixture.through(pod, client, pipelined)?;
            for (number, (expected, response)) in expected.iter().zip(&responses).enumerate() {
                check_same(expected, response)
                    .with_context(|| format!("request {number} of the mixture"))?;
            }
        }
    }
    check_uploads(kind, &files, pod, client)?;
    check_counters(&daemon)
}

/// Fails at the first difference, with the bytes around it.
fn check_same(expected: &[u8], got: &[u8]) -> Result<()> {
    if expected == got {
        return Ok(());
    }
    let at = expected.iter().zip(got).take_while(|(expected, got)| expected == got).count();
    let text = |bytes: &[u8]| {
        String::from_utf8_lossy(&bytes[at.saturating_sub(100)..bytes.len().min(at + 200)])
            .into_owned()
    };
    bail!(
        "expected {} bytes, got {}; they differ from byte {at} on: expected {:?}, got {:?}",
        expected.len(),
        got.len(),
        text(expected),
        text(got),
    )
}

/// Removes the values of `Date` fields, which differ from response to response.
fn without_date(mut response: Vec<u8>) -> Vec<u8> {
    const NAME: &[u8] = b"\ndate:";
    let mut from = 0;
    while let Some(at) = memchr::memchr(NAME[0], &response[from..]) {
        from += at;
        if response[from..].get(..NAME.len()).is_some_and(|name| name.eq_ignore_ascii_case(NAME)) {
            from += NAME.len();
            let end = memchr::memchr(b'\r', &response[from..]).unwrap_or_default();
            response.drain(from..from + end);
        } else {
            from += 1;
        }
    }
    response
}

/// The files of all servers.
struct Files {
    large: Vec<u8>,
    upload: Vec<u8>,
}

impl Files {
    pub(crate) fn new() -> Result<Self> {
        let mut large = Vec::new();
        send(&mut large, 8 << 20)?;
        // More than curl sends before the server asks for the body.
        let upload = large[1_000_000..].iter().rev().copied().take(1_500_001).collect();
        Ok(Self { large, upload })
    }
}
