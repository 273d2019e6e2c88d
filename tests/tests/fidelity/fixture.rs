//! A port of the pod with both servers behind it and the caller in front, on which conversations are played.

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

use super::conversation::{Conversation, Owner, Part, Step};

/// Nobody waits longer than this for a byte.
const TIMEOUT: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(crate) struct PortFixture {
    client: Namespace,
    to: SocketAddr,
    servers: [TcpListener; 2],
}

// === impl PortFixture ===

impl PortFixture {
    /// On the pod's port 80, 81, …
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

    /// Its rule.
    pub(crate) fn rule(f: &Fixture<'_>, number: u16, condition: &str) -> String {
        let (port, target) = Self::ports(number);
        format!("{port} -> {}:{target} {condition}", f.laptop.ip4())
    }

    fn ports(number: u16) -> (u16, u16) {
        (80 + number, 4000 + number)
    }

    /// Has all three play their parts, on one connection of each.
    pub(crate) fn run(&self, conversation: &Conversation) -> Result<()> {
        // What a play that failed may have left.
        self.servers.iter().for_each(|server| while accept_now(server).is_some() {});
        let parts = conversation.parts();
        let is_over = AtomicBool::new(false);
        thread::scope(|scope| {
            let servers = [Owner::App, Owner::Laptop].map(|owner| {
                let (part, server) =
                    (&parts.servers[owner as usize], &self.servers[owner as usize]);
                let is_over = &is_over;
                scope.spawn(move || match (owner, part.hears.is_empty()) {
                    (_, false) => part.run(&server.accept().context("nobody calls")?.0),
                    (Owner::Laptop, true) => Ok(()),
                    // It is called at once, unless what the caller says is there before that.
                    (Owner::App, true) => loop {
                        let over = is_over.load(Ordering::Relaxed);
                        match accept_now(server) {
                            Some(stream) => return part.run(&stream),
                            None if over => return Ok(()),
                            None => thread::sleep(Duration::from_micros(200)),
                        }
                    },
                })
            });
            let caller = self
                .client
                .run(|| TcpStream::connect_timeout(&self.to, TIMEOUT))
                .context("connect")
                .and_then(|stream| parts.caller.run(&stream));
            is_over.store(true, Ordering::Relaxed);
            let [app, laptop] = servers.map(|server| server.join().expect("no panic"));
            let all = [("the caller", caller), ("the app", app), ("the laptop", laptop)];
            let wrong = all
                .into_iter()
                .filter_map(|(who, played)| Some(format!("{who}: {:#}", played.err()?)));
            let wrong = wrong.collect::<Vec<_>>();
            if wrong.is_empty() { Ok(()) } else { Err(anyhow!(wrong.join("\n"))) }
        })?;
        ensure!(
            self.servers.iter().all(|server| accept_now(server).is_none()),
            "one more connection"
        );
        Ok(())
    }
}

/// The next connection, if it is there.
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
        // For accept, too.
        socket.set_read_timeout(Some(TIMEOUT))?;
        Ok(socket.into())
    });
    listener.with_context(|| format!("listen on port {port}"))
}

/// What has been heard so far.
#[derive(Debug, Default)]
struct Heard {
    progress: Mutex<Progress>,
    changed: Condvar,
}

#[derive(Clone, Copy, Debug, Default)]
struct Progress {
    bytes: usize,
    /// There is no more to come.
    ended: bool,
}

// === impl Part ===

impl Part {
    fn run(&self, stream: &TcpStream) -> Result<()> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.set_write_timeout(Some(TIMEOUT))?;
        let heard = Heard::default();
        thread::scope(|scope| {
            // It always listens, so nobody who speaks has to wait for long.
            let listening = scope.spawn(|| {
                let listened = heard.listen(stream, &self.hears);
                if listened.is_err() {
                    // The others need not wait for what won't come.
                    let _ = stream.shutdown(Shutdown::Both);
                }
                heard.progress(|progress| progress.ended = true);
                listened
            });
            let told = self.tell(stream, &heard);
            if told.is_err() {
                let _ = stream.shutdown(Shutdown::Both);
            }
            listening.join().expect("no panic").and(told)
        })
    }

    fn tell(&self, mut stream: &TcpStream, heard: &Heard) -> Result<()> {
        for step in &self.steps {
            match step {
                Step::Say(bytes, cuts) => {
                    let mut from = 0;
                    for cut in cuts {
                        stream.write_all(&bytes[from..cut.at]).context("speak")?;
                        from = cut.at;
                        thread::sleep(Duration::from_micros(cut.micros));
                    }
                    stream.write_all(&bytes[from..]).context("speak")?;
                }
                Step::Await(bytes) => {
                    let progress =
                        heard.wait(|progress| progress.bytes >= *bytes || progress.ended);
                    ensure!(progress.bytes >= *bytes, "the end came before byte {bytes}");
                }
                Step::AwaitEnd => ensure!(heard.wait(|progress| progress.ended).ended),
                // The other side may be gone by now.
                Step::Finish => drop(SockRef::from(stream).shutdown(Shutdown::Write)),
            }
        }
        Ok(())
    }
}

// === impl Heard ===

impl Heard {
    /// Compares what comes with what should.
    fn listen(&self, mut stream: &TcpStream, expected: &[u8]) -> Result<()> {
        let mut buffer = vec![0; 16 << 10];
        let mut at = 0;
        loop {
            let heard = match stream.read(&mut buffer) {
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
            let right = &expected[at..expected.len().min(at + heard.len())];
            if heard != right {
                let same =
                    heard.iter().zip(right).take_while(|(heard, right)| heard == right).count();
                let (heard, right) = (text(&heard[same..]), text(&expected[at + same..]));
                bail!("at byte {}: heard {heard:?} instead of {right:?}", at + same);
            }
            at += heard.len();
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

/// The beginning of it.
fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&bytes[..bytes.len().min(200)]).into_owned()
}
