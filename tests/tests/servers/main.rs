//! Servers that everybody runs, behind a condition, as the app and as the developer's target: whoever calls them gets
//! byte for byte what he gets when he calls them directly.

mod calls;
mod curl;
mod kinds;
mod mixture;
mod uploads;

use std::{fs, time::Duration};

use anyhow::{Context as _, Result, bail};
use interceptor_tests::software::{output, software_test, software_test_if_there};
use rstest::rstest;
use testbed::{Daemon, Namespace, Topology, send, workload};

use crate::{
    calls::calls,
    curl::{curl, curls},
    kinds::{APACHE, GO, GUNICORN, JAVA, Kind, NGINX, NODE, PORT, PYTHON, Site, wait},
    mixture::mixture,
    uploads::{files_arrive, nothing_was_in_doubt},
};

const TIMEOUT: Duration = Duration::from_secs(10);

/// What a caller says of himself: a bystander, and the one whom the laptop serves.
const MARKS: [&str; 2] = ["x-user: someone", "X-User: debug"];

#[rstest]
#[case::nginx(NGINX)]
#[case::apache(APACHE)]
#[case::python(PYTHON)]
#[case::gunicorn(GUNICORN)]
#[case::node(NODE)]
#[case::go(GO)]
#[case::java(JAVA)]
fn callers_get_what_they_get_without_us(#[case] kind: Kind) {
    let title = format!("behind-{}", kind.programs[0]);
    if kind.is_set_up {
        software_test(&title, kind.programs, |t| compare(t, kind));
    } else {
        software_test_if_there(&title, kind.programs, |t| compare(t, kind));
    }
}

/// What was called, and all that came back.
type Transcript = Vec<(String, Vec<u8>)>;

fn compare(t: &Topology, kind: Kind) -> Result<()> {
    let (pod, laptop, client) = (t.pod("web")?, t.host("laptop")?, t.host("client")?);
    let files = Files::new()?;
    let mut servers = Vec::new();
    for netns in [&pod, &laptop] {
        servers.push(kind.start(&Site::new(netns, &files.large)?)?);
    }
    servers.iter_mut().try_for_each(wait)?;
    let upload = t.dir().join("upload");
    fs::write(&upload, &files.upload)?;
    let calls = calls(kind, &files);
    let call = |server: &Namespace, mark: &str| -> Result<Transcript> {
        let by_hand = calls.iter().map(|call| {
            let answers = call.make(&client, server, mark).with_context(|| call.name.to_owned())?;
            Ok((call.name.to_owned(), answers.concat()))
        });
        let by_curl = curls(kind).into_iter().map(|args| {
            let mut command = curl(&client, server, mark, &args);
            // The file is there by its name, and to be read.
            command.stdin(fs::File::open(&upload)?).current_dir(t.dir());
            Ok((format!("curl {args:?}"), without_date(output(&mut command)?)))
        });
        by_hand.chain(by_curl).collect()
    };
    let mixture = mixture(kind, &files);

    // While nobody is in between.
    let directly = [call(&pod, MARKS[0])?, call(&laptop, MARKS[1])?];
    let expected = mixture.directly([&pod, &laptop], &client)?;

    let daemon = Daemon::start(t, &workload(&pod, &rule(&laptop)), &[])?;
    daemon.wait_active("web")?;
    for (mark, directly) in MARKS.iter().zip(&directly) {
        for ((name, directly), (_, relayed)) in directly.iter().zip(&call(&pod, mark)?) {
            same(directly, relayed).with_context(|| format!("{name}, {mark}"))?;
        }
    }
    for together in [false, true] {
        if kind.pipelines || !together {
            let answers = mixture.through(&pod, &client, together)?;
            for (number, (expected, answer)) in expected.iter().zip(&answers).enumerate() {
                same(expected, answer).with_context(|| format!("number {number} of a mixture"))?;
            }
        }
    }
    files_arrive(kind, &files, &pod, &client)?;
    nothing_was_in_doubt(&daemon)
}

fn rule(laptop: &Namespace) -> String {
    format!("{PORT} -> {}:{PORT} when request.headers['x-user'] == 'debug'", laptop.ip4())
}

fn same(expected: &[u8], got: &[u8]) -> Result<()> {
    if expected == got {
        return Ok(());
    }
    let at = expected.iter().zip(got).take_while(|(expected, got)| expected == got).count();
    let text = |bytes: &[u8]| {
        String::from_utf8_lossy(&bytes[at.saturating_sub(100)..bytes.len().min(at + 200)])
            .into_owned()
    };
    bail!(
        "{} bytes instead of {}, the first other one is number {at}: {:?} instead of {:?}",
        got.len(),
        expected.len(),
        text(got),
        text(expected),
    )
}

/// Without the one thing that has to differ.
fn without_date(mut answer: Vec<u8>) -> Vec<u8> {
    const NAME: &[u8] = b"\ndate:";
    let mut from = 0;
    while let Some(at) = memchr::memchr(NAME[0], &answer[from..]) {
        from += at;
        if answer[from..].get(..NAME.len()).is_some_and(|name| name.eq_ignore_ascii_case(NAME)) {
            from += NAME.len();
            let end = memchr::memchr(b'\r', &answer[from..]).unwrap_or_default();
            answer.drain(from..from + end);
        } else {
            from += 1;
        }
    }
    answer
}

struct Files {
    large: Vec<u8>,
    upload: Vec<u8>,
}

impl Files {
    pub(crate) fn new() -> Result<Self> {
        let mut large = Vec::new();
        send(&mut large, 8 << 20)?;
        // More than curl sends unasked.
        let upload = large[1_000_000..].iter().rev().copied().take(1_500_001).collect();
        Ok(Self { large, upload })
    }
}
