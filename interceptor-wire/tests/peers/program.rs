//! Servers in other languages, as programs of their own.

use std::env;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::Saw;

/// How long a server may take to say something more. There is no way to see that it waits.
const QUIET: Duration = Duration::from_millis(700);

pub(super) struct Program {
    child: Child,
    port: u16,
}

pub(super) fn node() -> io::Result<Program> {
    start(Command::new("node").arg(source("server.js")))
}

pub(super) fn go() -> io::Result<Program> {
    let binary = Path::new(env!("CARGO_TARGET_TMPDIR")).join("peer-go");
    let mut build = Command::new("go");
    build.args(["build", "-o"]).arg(&binary).arg(source("server.go"));
    let built = build.env("GOTOOLCHAIN", "local").env("GO111MODULE", "off").output()?;
    if !built.status.success() {
        return Err(io::Error::other(String::from_utf8_lossy(&built.stderr).into_owned()));
    }
    start(&mut Command::new(binary))
}

/// Not `eprintln`, which the test harness hides when a test passes.
pub(super) fn left_out(name: &str, why: &io::Error) {
    let _ = writeln!(io::stderr(), "\nLEFT OUT: {name} does not run here: {why}\n");
}

fn source(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers").join(name)
}

fn start(command: &mut Command) -> io::Result<Program> {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
    let mut line = String::new();
    BufReader::new(child.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?).read_line(&mut line)?;
    let port = line.trim().parse().map_err(|_| io::Error::other(format!("said {line:?}")))?;
    Ok(Program { child, port })
}

impl Program {
    pub(super) fn saw(&self, bytes: &[u8]) -> Saw {
        let (answers, closed) = self.answers(bytes).expect("the server takes connections");
        let answers = String::from_utf8_lossy(&answers);
        let saw =
            answers.lines().filter_map(|line| line.to_ascii_lowercase().strip_prefix("saw: ").map(unhex));
        let refused = closed || answers.contains("HTTP/1.1 4") || answers.contains("HTTP/1.1 5");
        Saw { requests: saw.collect(), refused }
    }

    fn answers(&self, bytes: &[u8]) -> io::Result<(Vec<u8>, bool)> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
        stream.set_read_timeout(Some(QUIET))?;
        let mut answers = Vec::new();
        // It may have closed before it got all.
        if stream.write_all(bytes).is_err() {
            return Ok((answers, true));
        }
        match stream.read_to_end(&mut answers) {
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                Ok((answers, false))
            }
            _ => Ok((answers, true)),
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // The end of its standard input ends it.
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

fn unhex(text: &str) -> String {
    let digits = text.trim().as_bytes().chunks(2);
    let bytes =
        digits.map(|pair| u8::from_str_radix(&String::from_utf8_lossy(pair), 16).expect("hexadecimal"));
    String::from_utf8_lossy(&bytes.collect::<Vec<_>>()).into_owned()
}
