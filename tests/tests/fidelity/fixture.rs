//! A port of the pod with app, target and client, on which conversations run.

use std::{
    io::{self, Read as _, Write as _},
    net::{Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use interceptor_tests::Fixture;
use parking_lot::{Condvar, Mutex};
use socket2::{Domain, SockRef, Socket, Type};
use testbed::Namespace;

use super::conversation::{Conversation, Owner, Script, Step};

/// Maximum wait for a byte.
const TIMEOUT: Duration = Duration::from_secs(5);

/// A port of the pod with app, target and client.
#[derive(Debug)]
pub(crate) struct PortFixture {
    client: Namespace,
    to: SocketAddr,
    servers: [TcpListener; 2],
}

// === impl PortFixture ===

impl PortFixture {
    /// Listens on port 80 + `number` of the pod, and on port 4000 + `number` of the laptop.
    pub(crate) fn new(f: &Fixture<'_>, number: u16) -> Result<Self> {
        let (port, target) = Self::ports(number);
        let servers = [listen(&f.pod, port)?, listen(&f.laptop, target)?];
        let to = if number.is_multiple_of(2) {
            (f.pod.ip4(), port).into()
        } else {
            (f.pod.ip6(), port).into()
        };
        Ok(Self { client: f.client.clone(), to, servers })
    }

    /// The rule for the port.
    pub(crate) fn rule(f: &Fixture<'_>, number: u16, condition: &str) -> String {
        let (port, target) = Self::ports(number);
        format!("{port} -> {}:{target} {condition}", f.laptop.ip4())
    }

    fn ports(number: u16) -> (u16, u16) {
        (80 + number, 4000 + number)
    }

    /// Runs the scripts of all three peers, on one connection of each.
    pub(crate) fn run(&self, conversation: &Conversation) -> Result<()> {
        // An earlier conversation that failed may have left connections.
        self.servers.iter().for_each(|server| while accept_now(server).is_some() {});
        let scripts = conversation.scripts();
        let is_over = AtomicBool::new(false);
        thread::scope(|scope| {
            let servers = [Owner::App, Owner::Target].map(|owner| {
                let (script, server) =
                    (&scripts.servers[owner as usize], &self.servers[owner as usize]);
                let is_over = &is_over;
                scope.spawn(move || match (owner, script.expects.is_empty()) {
                    (_, false) => {
                        script.run(&server.accept().context("no connection to this server")?.0)
                    }
                    (Owner::Target, true) => Ok(()),
                    // The relay may dial the app, for which there is no request.
                    (Owner::App, true) => loop {
                        let over = is_over.load(Ordering::Relaxed);
                        match accept_now(server) {
                            Some(stream) => return script.run(&stream),
                            None if over => return Ok(()),
                            None => thread::sleep(Duration::from_micros(200)),
                        }
                    },
                })
            });
            let client = self
                .client
                .run(|| TcpStream::connect_timeout(&self.to, TIMEOUT))
                .context("connect")
                .and_then(|stream| scripts.client.run(&stream));
            is_over.store(true, Ordering::Relaxed);
            let [app, target] = servers.map(|server| server.join().expect("no panic"));
            let all = [("the client", client), ("the app", app), ("the target", target)];
            let errors = all
                .into_iter()
                .filter_map(|(peer, result)| Some(format!("{peer}: {:#}", result.err()?)));
            let errors = errors.collect::<Vec<_>>();
            if errors.is_empty() { Ok(()) } else { Err(anyhow!(errors.join("\n"))) }
        })?;
        ensure!(
            self.servers.iter().all(|server| accept_now(server).is_none()),
            "more than one connection to a server"
        );
        Ok(())
    }
}

/// Accepts a connection that is waiting.
fn accept_now(server: &TcpListener) -> Option<TcpStream> {
    server.set_nonblocking(true).ok()?;
    let accepted = server.accept();
    server.set_nonblocking(false).ok()?;
    accepted.ok().map(|(stream, _)| stream)
}

fn listen(netns: &Namespace, port: u16) -> Result<TcpListener> {
    let listener = netns.run(|| -> io::Result<TcpListener> {
        let socket = Socket::new(Domain::IPV6, Type::STREAM, None)?;
        socket.set_reuse_address(true)?;
        socket.bind(&SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)).into())?;
        socket.listen(128)?;
        // This is also the timeout of accept.
        socket.set_read_timeout(Some(TIMEOUT))?;
        Ok(socket.into())
    });
    listener.with_context(|| format!("listen on port {port}"))
}

/// The bytes received so far.
#[derive(Debug, Default)]
struct Received {
    progress: Mutex<Progress>,
    changed: Condvar,
}

#[derive(Clone, Copy, Debug, Default)]
struct Progress {
    bytes: usize,
    /// Whether the other side has closed.
    ended: bool,
}

// === impl Script ===

impl Script {
    fn run(&self, stream: &TcpStream) -> Result<()> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.set_write_timeout(Some(TIMEOUT))?;
        let received = Received::default();
        thread::scope(|scope| {
            // A thread reads all the time, so that the other peers can always send.
            let reading = scope.spawn(|| {
                let read = received.read(stream, &self.expects);
                if read.is_err() {
                    // The other peers would wait for bytes that do not come.
                    let _ = stream.shutdown(Shutdown::Both);
                }
                received.progress(|progress| progress.ended = true);
                read
            });
            let sent = self.send_steps(stream, &received);
            if sent.is_err() {
                let _ = stream.shutdown(Shutdown::Both);
            }
            reading.join().expect("no panic").and(sent)
        })
    }

    fn send_steps(&self, mut stream: &TcpStream, received: &Received) -> Result<()> {
        for step in &self.steps {
            match step {
                Step::Send(bytes, cuts) => {
                    let mut from = 0;
                    for cut in cuts {
                        stream.write_all(&bytes[from..cut.at]).context("send")?;
                        from = cut.at;
                        thread::sleep(Duration::from_micros(cut.micros));
                    }
                    stream.write_all(&bytes[from..]).context("send")?;
                }
                Step::Await(bytes) => {
                    let progress =
                        received.wait(|progress| progress.bytes >= *bytes || progress.ended);
                    ensure!(progress.bytes >= *bytes, "the end came before byte {bytes}");
                }
                Step::AwaitEnd => ensure!(received.wait(|progress| progress.ended).ended),
                // The other side may have closed the connection already.
                Step::Finish => drop(SockRef::from(stream).shutdown(Shutdown::Write)),
            }
        }
        Ok(())
    }
}

// === impl Received ===

impl Received {
    /// Reads to the end, and compares with the expected bytes.
    fn read(&self, mut stream: &TcpStream, expected: &[u8]) -> Result<()> {
        let mut buffer = vec![0; 16 << 10];
        let mut at = 0;
        loop {
            let received = match stream.read(&mut buffer) {
                Ok(0) => {
                    ensure!(
                        at == expected.len(),
                        "ended at byte {at}, before {:?}",
                        text(&expected[at..])
                    );
                    return Ok(());
                }
                Ok(n) => &buffer[..n],
                Err(error) => bail!("at byte {at}, before {:?}: {error}", text(&expected[at..])),
            };
            let next = &expected[at..expected.len().min(at + received.len())];
            if received != next {
                let same = received
                    .iter()
                    .zip(next)
                    .take_while(|(received, next)| received == next)
                    .count();
                let (received, next) = (text(&received[same..]), text(&expected[at + same..]));
                bail!("at byte {}: expected {next:?}, received {received:?}", at + same);
            }
            at += received.len();
            self.progress(|progress| progress.bytes = at);
        }
    }

    fn progress(&self, change: impl FnOnce(&mut Progress)) {
        change(&mut self.progress.lock());
        self.changed.notify_all();
    }

    fn wait(&self, until: impl Fn(&Progress) -> bool) -> Progress {
        let mut progress = self.progress.lock();
        self.changed.wait_while(&mut progress, |progress| !until(progress));
        *progress
    }
}

/// The first 200 bytes, as text.
fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&bytes[..bytes.len().min(200)]).into_owned()
}
