//! Servers and clients in other languages, which run as separate programs.

use std::env;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::Saw;
use crate::corpus::responses::Case;

/// Maximum time for the responses that the test expects. A server does not tell that it waits.
const PATIENCE: Duration = Duration::from_secs(5);
/// Maximum time for an unexpected further response.
const QUIET: Duration = Duration::from_millis(300);

pub(super) struct Program {
    child: Child,
    port: u16,
}

pub(super) fn node(name: &str) -> io::Result<Command> {
    let mut command = Command::new("node");
    command.arg(source(name));
    Command::new("node").arg("--version").output().map(|_| command)
}

pub(super) fn go(name: &str) -> io::Result<Command> {
    let binary = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name).with_extension("bin");
    let mut build = Command::new("go");
    build.args(["build", "-o"]).arg(&binary).arg(source(name));
    let built = build.env("GOTOOLCHAIN", "local").env("GO111MODULE", "off").output()?;
    if !built.status.success() {
        return Err(io::Error::other(String::from_utf8_lossy(&built.stderr).into_owned()));
    }
    Ok(Command::new(binary))
}

/// Prints that a peer is left out. Not with `eprintln`, whose output the test harness hides when a
/// test passes.
pub(super) fn left_out(name: &str, why: &io::Error) {
    let _ = writeln!(io::stderr(), "\nLEFT OUT: {name} does not run here: {why}\n");
}

fn source(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/agreement/peers").join(name)
}

/// Starts a server, which prints its port.
pub(super) fn serve(command: &mut Command) -> io::Result<Program> {
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
    let mut line = String::new();
    BufReader::new(child.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?).read_line(&mut line)?;
    let port = line.trim().parse().map_err(|_| io::Error::other(format!("said {line:?}")))?;
    Ok(Program { child, port })
}

/// Runs a client that requests one response after the other.
pub(super) fn got(
    command: &mut Command,
    cases: &'static [Case],
) -> io::Result<Vec<Option<String>>> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    command.arg(listener.local_addr()?.port().to_string());
    command.args(cases.iter().map(|case| case.method)).stdout(Stdio::piped()).stderr(Stdio::null());
    // The thread accepts connections until the test process ends.
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || respond(stream, cases));
        }
    });
    let output = command.output()?;
    let mut got = vec![None; cases.len()];
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let number_and_rest = line
            .split_once(' ')
            .and_then(|(number, rest)| Some((number.parse::<usize>().ok()?, rest)));
        let (number, rest) =
            number_and_rest.ok_or_else(|| io::Error::other(format!("said {line:?}")))?;
        got[number] = (rest != "-").then(|| rest.to_owned());
    }
    Ok(got)
}

/// Responds to `GET /7` with the case of that number.
fn respond(mut stream: TcpStream, cases: &[Case]) -> Option<()> {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).ok()?;
        request.extend_from_slice(&byte);
    }
    let number = str::from_utf8(&request)
        .ok()?
        .split(' ')
        .nth(1)?
        .trim_start_matches('/')
        .parse::<usize>()
        .ok()?;
    stream.write_all(cases.get(number)?.bytes).ok()?;
    stream.shutdown(Shutdown::Write).ok()?;
    // A close with unread bytes would send RST, which can discard the response on its way.
    stream.read_to_end(&mut request).ok().map(|_| ())
}

impl Program {
    /// What the server finds. `expected` is the number of requests to wait for.
    pub(super) fn saw(&self, bytes: &[u8], expected: usize) -> Saw {
        let (answers, closed) =
            self.answers(bytes, expected).expect("the server accepts connections");
        let answers = String::from_utf8_lossy(&answers);
        let refused = closed || answers.contains("HTTP/1.1 4") || answers.contains("HTTP/1.1 5");
        Saw { requests: told(&answers), refused }
    }

    /// The responses of the server, and whether it closed the connection.
    fn answers(&self, bytes: &[u8], expected: usize) -> io::Result<(Vec<u8>, bool)> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
        stream.set_read_timeout(Some(QUIET))?;
        let mut answers = Vec::new();
        // The server may close before it has read all bytes.
        if stream.write_all(bytes).is_err() {
            return Ok((answers, true));
        }
        let started = Instant::now();
        loop {
            match stream.read_to_end(&mut answers) {
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
                    ) =>
                {
                    let told = told(&String::from_utf8_lossy(&answers)).len();
                    if told >= expected || started.elapsed() > PATIENCE {
                        return Ok((answers, false));
                    }
                }
                _ => return Ok((answers, true)),
            }
        }
    }
}

/// The requests that a server reports in its responses.
fn told(answers: &str) -> Vec<String> {
    let told = answers
        .lines()
        .filter_map(|line| line.to_ascii_lowercase().strip_prefix("saw: ").map(unhex));
    told.collect()
}

impl Drop for Program {
    fn drop(&mut self) {
        // The program exits when its standard input is closed.
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

fn unhex(text: &str) -> String {
    let digits = text.trim().as_bytes().chunks(2);
    let bytes = digits
        .map(|pair| u8::from_str_radix(&String::from_utf8_lossy(pair), 16).expect("hexadecimal"));
    String::from_utf8_lossy(&bytes.collect::<Vec<_>>()).into_owned()
}
