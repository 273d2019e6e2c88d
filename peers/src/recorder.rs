//! An app that records every byte of its connections, and plays an oddity's `app`.

use std::{
    io,
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
};

use anyhow::{Context as _, Result};
use parking_lot::Mutex;
use serde_json::Value;
use testbed::Namespace;

use crate::{frames::Detail, play::Side, script::Step};

/// The answer to each head of HTTP/1 if the oddity has no `app`.
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// A port of a host, with the recorder behind it.
#[derive(Debug)]
pub struct Recorder {
    netns: Namespace,
    port: u16,
    listening: Mutex<Option<Listening>>,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    script: Mutex<Vec<Step>>,
    connections: Mutex<Vec<Side>>,
}

#[derive(Debug)]
struct Listening {
    listener: TcpListener,
    is_over: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

// === impl Recorder ===

impl Recorder {
    /// Listens on a port of the host.
    ///
    /// # Errors
    /// The port is taken.
    pub fn start(netns: &Namespace, port: u16) -> Result<Self> {
        let recorder = Self {
            netns: netns.clone(),
            port,
            listening: Mutex::default(),
            shared: Arc::default(),
        };
        recorder.listen(true)?;
        Ok(recorder)
    }

    /// Makes ready for the next cell: forgets connections, and listens or refuses.
    ///
    /// # Errors
    /// The port is taken.
    pub fn prepare(&self, script: &[Step], is_up: bool) -> Result<()> {
        for connection in self.shared.connections.lock().drain(..) {
            connection.abandon();
        }
        script.clone_into(&mut self.shared.script.lock());
        self.listen(is_up)
    }

    /// What each connection sent, in the order of their beginnings.
    pub fn records(&self) -> Vec<Value> {
        self.shared.connections.lock().iter().map(|side| side.record(None)).collect()
    }

    fn listen(&self, is_up: bool) -> Result<()> {
        let mut listening = self.listening.lock();
        if !is_up {
            listening.take();
        } else if listening.is_none() {
            *listening = Some(Listening::start(&self.netns, self.port, &self.shared)?);
        }
        Ok(())
    }
}

// === impl Listening ===

impl Listening {
    fn start(netns: &Namespace, port: u16, shared: &Arc<Shared>) -> Result<Self> {
        let listener = netns
            .run(|| TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)))
            .with_context(|| format!("listen on port {port} of {}", netns.label()))?;
        let is_over = Arc::new(AtomicBool::new(false));
        let (over, shared) = (Arc::clone(&is_over), Arc::clone(shared));
        let accepting = listener.try_clone().context("share the listener")?;
        let thread = thread::spawn(move || {
            for stream in accepting.incoming() {
                if over.load(Ordering::Relaxed) {
                    return;
                }
                // A connection that was reset before it was accepted is the client's affair.
                let _ = stream.and_then(|stream| serve(stream, &shared));
            }
        });
        Ok(Self { listener, is_over, thread })
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        // On a listener, it ends the accept that waits and closes the port.
        let _ = socket2::SockRef::from(&self.listener).shutdown(Shutdown::Both);
        let _ = &self.thread;
    }
}

fn serve(stream: TcpStream, shared: &Arc<Shared>) -> io::Result<()> {
    let side = Side::new(stream)?;
    shared.connections.lock().push(side.clone());
    let script = shared.script.lock().clone();
    thread::spawn(move || {
        if script.is_empty() {
            side.answer_heads(ANSWER);
        } else {
            side.play(&script);
        }
        side.close_after_peer();
    });
    Ok(())
}

/// Plays an oddity's `client` against a port, and returns what it saw. With `frames`, a server's
/// HTTP/2 is shown frame by frame.
pub fn client(netns: &Namespace, to: SocketAddr, script: &[Step], frames: Option<Detail>) -> Value {
    let side = match netns.run(|| TcpStream::connect(to)).and_then(Side::new) {
        Ok(side) => side,
        Err(error) => return Value::String(format!("connect: {:?}", error.kind())),
    };
    side.play(script);
    side.settle();
    let record = side.record(frames);
    side.abandon();
    record
}
