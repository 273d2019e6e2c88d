//! A client program that reads jobs and writes records, and the programs that are run once a job.

use std::{
    collections::HashMap,
    fs::File,
    io::{BufRead as _, BufReader, Write as _},
    net::SocketAddr,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result};
use parking_lot::Mutex;
use serde_json::{Value, json};
use testbed::Namespace;

use crate::{
    oddity::{Call, Oddity, Protocol},
    peer::Runtime,
    runtimes::{Part, Runtimes},
};

/// Maximum time of a job. Clients give a call up earlier.
const MAXIMUM_TIME: Duration = Duration::from_secs(60);

/// Maximum time of a program that is run once, in seconds.
const TOOL_TIMEOUT: &str = "15";

/// A client program of a runtime. Dropping it ends it.
#[derive(Debug)]
pub struct Jobs {
    child: Child,
    stdin: Mutex<ChildStdin>,
    waiting: Arc<Mutex<HashMap<u64, mpsc::Sender<Value>>>>,
    next: AtomicU64,
}

// === impl Jobs ===

impl Jobs {
    /// Starts the program inside a namespace.
    ///
    /// # Errors
    /// It can't be started.
    pub fn start(netns: &Namespace, runtimes: &Runtimes, runtime: Runtime) -> Result<Self> {
        let log = netns.dir().join(format!("client-{}.log", runtime.name().replace(' ', "-")));
        let mut command = runtimes.command(netns, runtime, Part::Client);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(File::create(&log)?);
        let what = || format!("start the client of {}", runtime.name());
        let mut child = command.spawn().with_context(what)?;
        let stdin = Mutex::new(child.stdin.take().context("no input")?);
        let stdout = child.stdout.take().context("no output")?;
        let waiting = Arc::default();
        let for_reader = Arc::clone(&waiting);
        thread::spawn(move || forward(stdout, &for_reader));
        Ok(Self { child, stdin, waiting, next: AtomicU64::new(0) })
    }

    /// Does the job of an oddity with a server, and returns what the client saw.
    ///
    /// # Errors
    /// The program has ended, or does not answer.
    pub fn run(&self, oddity: &Oddity, to: SocketAddr) -> Result<Value> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let mut job = serde_json::to_value(&oddity.job)?;
        job["id"] = id.into();
        job["protocol"] = oddity.protocol.name().into();
        job["host"] = to.ip().to_string().into();
        job["port"] = to.port().into();
        let (sender, receiver) = mpsc::channel();
        self.waiting.lock().insert(id, sender);
        writeln!(self.stdin.lock(), "{job}").context("the client program has ended")?;
        receiver.recv_timeout(MAXIMUM_TIME).context("the client program does not answer")
    }
}

impl Drop for Jobs {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Hands each record to the job that waits for it.
fn forward(stdout: ChildStdout, waiting: &Mutex<HashMap<u64, mpsc::Sender<Value>>>) {
    for line in BufReader::new(stdout).lines().map_while(Result::ok) {
        let Ok(mut record) = serde_json::from_str::<Value>(&line) else { continue };
        let id = record["id"].as_u64().unwrap_or(u64::MAX);
        if let Some(sender) = waiting.lock().remove(&id) {
            let _ = sender.send(record["answers"].take());
        }
    }
    // Whoever waits gets an error at once.
    waiting.lock().clear();
}

/// Runs curl with all calls of an oddity, on one connection if curl can.
///
/// # Errors
/// It can't be started.
pub fn curl(netns: &Namespace, oddity: &Oddity, to: SocketAddr) -> Result<Value> {
    let mut curl = tool(netns, "curl");
    if oddity.job.parallel {
        curl.args(["--parallel", "--parallel-immediate"]);
    }
    for (number, call) in oddity.job.calls.iter().enumerate() {
        if number > 0 {
            curl.arg("--next");
        }
        curl.args(["--silent", "--show-error", "--include", "--globoff", "--path-as-is"]);
        curl.args(["--max-time", "6"]);
        curl.arg(match oddity.protocol {
            Protocol::H2 => "--http2-prior-knowledge",
            Protocol::H2cUpgrade => "--http2",
            Protocol::Raw | Protocol::Http1 | Protocol::Grpc => "--http1.1",
        });
        if call.method == "HEAD" {
            curl.arg("--head");
        } else {
            curl.args(["--request", &call.method]);
        }
        for (name, value) in &call.headers {
            curl.args(["--header", &format!("{name}: {value}")]);
        }
        if !call.body.is_empty() {
            curl.args(["--data-binary", &call.body.repeat(call.times)]);
            // Neither the type of a form nor the question whether the body may come.
            curl.args(["--header", "content-type:", "--header", "expect:"]);
        }
        if call.without_length {
            curl.args(["--header", "transfer-encoding: chunked"]);
        }
        curl.args(&oddity.job.arguments);
        curl.arg(format!("http://{to}{}", call.path));
    }
    printed(&mut curl)
}

/// Runs h2load with the first call of an oddity.
///
/// # Errors
/// It can't be started.
pub fn h2load(netns: &Namespace, oddity: &Oddity, to: SocketAddr) -> Result<Value> {
    let mut h2load = tool(netns, "h2load");
    h2load.args(["-n", "12", "-c", "2", "-m", "3"]);
    for Call { path, headers, .. } in oddity.job.calls.iter().take(1) {
        for (name, value) in headers {
            h2load.args(["--header", &format!("{name}: {value}")]);
        }
        h2load.args(&oddity.job.arguments);
        h2load.arg(format!("http://{to}{path}"));
    }
    let mut printed = printed(&mut h2load)?;
    // Times and sizes are in the other lines.
    let wanted = |line: &&str| line.starts_with("requests: ") || line.starts_with("status codes: ");
    let lines: Vec<_> =
        printed["stdout"].as_str().unwrap_or_default().lines().filter(wanted).collect();
    printed["stdout"] = lines.join("\n").into();
    Ok(printed)
}

fn tool(netns: &Namespace, program: &str) -> Command {
    let mut command = netns.command("timeout");
    command.arg(TOOL_TIMEOUT).arg(program);
    command
}

fn printed(command: &mut Command) -> Result<Value> {
    let output = command.output().with_context(|| format!("run {:?}", command.get_program()))?;
    Ok(json!({
        "exit": output.status.code(),
        "stdout": String::from_utf8_lossy(&output.stdout),
        "stderr": String::from_utf8_lossy(&output.stderr),
    }))
}
