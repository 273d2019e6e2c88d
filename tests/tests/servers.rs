//! Servers that everybody runs, behind a condition, as the app and as the developer's target: whoever calls them gets
//! byte for byte what he gets when he calls them directly.

#[path = "servers/kinds.rs"]
mod kinds;
#[allow(dead_code, reason = "other tests use the rest")]
#[path = "real_software/software.rs"]
mod software;

use std::{fs, net::SocketAddr, process::Command, time::Duration};

use anyhow::{Context as _, Result, bail, ensure};
use interceptor_tests::HttpCaller;
use rstest::rstest;
use testbed::{Daemon, Namespace, Topology, send, wait_until, workload};

use self::{
    kinds::{APACHE, GO, GUNICORN, JAVA, Kind, NGINX, NODE, PORT, PYTHON, Site, Upload, wait},
    software::{output, software_test, software_test_if_there, tool},
};

const SOON: Duration = Duration::from_secs(10);

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

// === impl Files ===

impl Files {
    fn new() -> Result<Self> {
        let mut large = Vec::new();
        send(&mut large, 8 << 20)?;
        // More than curl sends unasked.
        let upload = large[1_000_000..].iter().rev().copied().take(1_500_001).collect();
        Ok(Self { large, upload })
    }
}

// --- calls ----------------------------------------------------------------------------------------------------------

/// Requests on one connection.
struct Call {
    name: &'static str,
    requests: Vec<Request>,
    /// They are sent at once.
    together: bool,
}

#[derive(Clone)]
struct Request {
    line: &'static str,
    fields: &'static [&'static str],
    /// As on the wire.
    body: Vec<u8>,
    /// The body is sent when it is asked for.
    waits: bool,
}

const CLOSE: &[&str] = &["Connection: close"];
const LENGTH: &str = "Content-Length: 1500001";
const CHUNKED: &str = "Transfer-Encoding: chunked";
const EXPECT: &str = "Expect: 100-continue";

fn calls(kind: Kind, files: &Files) -> Vec<Call> {
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

fn chunked(body: &[u8]) -> Vec<u8> {
    let chunk =
        |chunk: &[u8]| [format!("{:x}\r\n", chunk.len()).as_bytes(), chunk, b"\r\n"].concat();
    let mut chunks = body.chunks(70_001).map(chunk).collect::<Vec<_>>();
    chunks.push(b"0\r\n\r\n".to_vec());
    chunks.concat()
}

// === impl Call ===

impl Call {
    /// All answers, up to the end of the connection.
    fn make(&self, client: &Namespace, server: &Namespace, mark: &str) -> Result<Vec<Vec<u8>>> {
        let mut caller = HttpCaller::connect(client, (server.ip4(), PORT))?;
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

// === impl Request ===

impl Request {
    fn head(&self, mark: &str) -> Vec<u8> {
        let fields = self.fields.iter().map(|field| format!("{field}\r\n")).collect::<String>();
        format!("{}\r\nHost: web\r\n{mark}\r\n{fields}\r\n", self.line).into()
    }

    fn bytes(&self, mark: &str) -> Vec<u8> {
        [self.head(mark), self.body.clone()].concat()
    }

    fn is_head(&self) -> bool {
        self.line.starts_with("HEAD ")
    }

    /// All responses to it.
    fn make(&self, caller: &mut HttpCaller, mark: &str) -> Result<Vec<u8>> {
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

// --- a mixture of callers on one connection -------------------------------------------------------------------------

/// Requests whose owners take turns.
struct Mixture(Vec<(usize, Request)>);

fn mixture(kind: Kind, files: &Files) -> Mixture {
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

// === impl Mixture ===

impl Mixture {
    /// What each server answers to its own.
    fn directly(&self, servers: [&Namespace; 2], client: &Namespace) -> Result<Vec<Vec<u8>>> {
        let mut callers = Vec::new();
        for server in servers {
            callers.push(HttpCaller::connect(client, (server.ip4(), PORT))?);
        }
        let answers = self.0.iter().enumerate().map(|(number, (side, request))| {
            request
                .make(&mut callers[*side], MARKS[*side])
                .with_context(|| format!("number {number}"))
        });
        answers.collect()
    }

    fn through(&self, pod: &Namespace, client: &Namespace, together: bool) -> Result<Vec<Vec<u8>>> {
        let mut caller = HttpCaller::connect(client, (pod.ip4(), PORT))?;
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

// --- curl -----------------------------------------------------------------------------------------------------------

fn curls(kind: Kind) -> Vec<Vec<&'static str>> {
    // Says so if it had to connect anew.
    let connects = ["-w", "%{http_code} with %{num_connects} connections\n"];
    let asked = ["-H", "Expect: 100-continue", "--expect100-timeout", "20"];
    let to = if kind.upload == Upload::Echo { "URL/echo" } else { "URL/up/c" };
    let mut all = vec![
        [&connects[..], &["URL/hello", "URL/stream", "URL/large", "URL/hello"]].concat(),
        vec!["-I", "URL/hello"],
        vec!["-r", "5-70000", "URL/large"],
        vec!["-0", "URL/hello"],
        vec!["URL/nothing"],
        vec!["--compressed", "URL/text"],
        // By Upgrade. Some servers will, others won't; of more than this, curl 7.88 makes an error with Apache itself.
        vec!["--http2", "URL/hello"],
    ];
    let uploads = [
        [&asked[..], &["-T", "upload", to]].concat(),
        [&asked[..], &["-T", "-", to]].concat(),
        [&asked[..], &["-X", "PUT", "--data-binary", "@upload", to]].concat(),
    ];
    for upload in uploads {
        all.push(upload);
        if kind.upload == Upload::File {
            all.push(vec!["-X", "DELETE", to]);
        }
    }
    if kind.upload == Upload::File {
        // Refused while it is being sent, and before that.
        let too_large = ["-T", "server-web/root/large", "URL/small/c"];
        all.push([&["-H", "Expect:"], &too_large[..]].concat());
        all.push([&asked[..], &too_large].concat());
    }
    all
}

fn curl(client: &Namespace, server: &Namespace, mark: &str, args: &[&str]) -> Command {
    let url = format!("http://{}", SocketAddr::from((server.ip4(), PORT)));
    let mut command = tool(client, "curl");
    command.args(["-sS", "-i", "--http1.1", "-H", "Host: web", "-H", mark]);
    command.args(args.iter().map(|arg| arg.replace("URL", &url)));
    command
}

// --- and more -------------------------------------------------------------------------------------------------------

/// The other comparisons say that nothing is changed; this one, that what is served is what was put there.
fn files_arrive(kind: Kind, files: &Files, pod: &Namespace, client: &Namespace) -> Result<()> {
    for mark in MARKS {
        let mut caller = HttpCaller::connect(client, (pod.ip4(), PORT))?;
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

fn nothing_was_in_doubt(daemon: &Daemon) -> Result<()> {
    wait_until("the daemon's count", SOON, || {
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
