//! Plays one side of a raw connection, and records what the other side sent and how it ended.

use std::{
    io::{self, Read as _, Write as _},
    net::{Shutdown, TcpStream},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use parking_lot::{Condvar, Mutex};
use serde_json::{Value, json};
use socket2::SockRef;

use crate::{
    frames::{self, Detail},
    script::{End, MAXIMUM_WAIT, Step},
    text::text,
};

/// Silence after the last step, until a connection counts as still open.
const QUIET: Duration = Duration::from_millis(300);

/// What one side has got so far.
#[derive(Debug, Default)]
struct Received {
    bytes: Vec<u8>,
    /// How the other side's half ended.
    end: Option<&'static str>,
    /// How far earlier waits have found what they waited for.
    found: usize,
    /// The waits that found nothing.
    missed: Vec<String>,
}

/// One side of a connection.
#[derive(Clone, Debug)]
pub struct Side {
    /// Nothing after a reset by this side: the last handle sends it when it is dropped.
    stream: Arc<Mutex<Option<Arc<TcpStream>>>>,
    received: Arc<(Mutex<Received>, Condvar)>,
}

// === impl Side ===

impl Side {
    /// Begins to receive.
    ///
    /// # Errors
    /// The socket can't be configured.
    pub fn new(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        // A peer that does not read must not hold the matrix up.
        stream.set_write_timeout(Some(MAXIMUM_WAIT))?;
        let stream = Arc::new(stream);
        let side = Self {
            stream: Arc::new(Mutex::new(Some(Arc::clone(&stream)))),
            received: Arc::default(),
        };
        let received = Arc::clone(&side.received);
        thread::spawn(move || receive(&stream, &received));
        Ok(side)
    }

    /// Takes the steps. Stops early when the other side takes nothing any more, or has ended
    /// without a byte while this side waits for some.
    pub fn play(&self, steps: &[Step]) {
        for step in steps {
            if self.was_left_alone() {
                return;
            }
            match step {
                Step::Send(bytes) => {
                    if !self.send(bytes) {
                        return;
                    }
                }
                Step::Pause(time) => thread::sleep(*time),
                Step::Until(wanted) => {
                    let wait = self.wait(MAXIMUM_WAIT, |received| {
                        let rest = &received.bytes[received.found..];
                        let at = memchr::memmem::find(rest, wanted)?;
                        received.found += at + wanted.len();
                        Some(())
                    });
                    self.note(wait, || format!("no {}", text(wanted)));
                }
                Step::UntilBytes(number) => {
                    let wait = self.wait(MAXIMUM_WAIT, |received| {
                        (received.bytes.len() >= *number).then_some(())
                    });
                    self.note(wait, || format!("fewer than {number} bytes"));
                }
                Step::UntilEnd => {
                    let wait = self.wait(MAXIMUM_WAIT, |received| received.end.map(drop));
                    self.note(wait, || "no end".into());
                }
                Step::UntilAnswer => {
                    let wait = self.wait(MAXIMUM_WAIT, |received| {
                        frames::has_answer(&received.bytes).then_some(())
                    });
                    self.note(wait, || "no answer".into());
                }
                Step::End(end) => self.end(*end),
            }
        }
    }

    /// Answers each head of an HTTP/1 request, until the client ends.
    pub fn answer_heads(&self, answer: &[u8]) {
        loop {
            let wait = self.wait(Duration::from_secs(3600), |received| {
                let rest = &received.bytes[received.found..];
                if let Some(at) = memchr::memmem::find(rest, b"\r\n\r\n") {
                    received.found += at + 4;
                    return Some(true);
                }
                received.end.map(|_| false)
            });
            if wait != Some(true) || !self.send(answer) {
                return;
            }
        }
    }

    /// Whether this side has waited in vain, and the other side has ended without a byte.
    fn was_left_alone(&self) -> bool {
        let received = self.received.0.lock();
        received.end.is_some() && received.bytes.is_empty() && !received.missed.is_empty()
    }

    /// Waits until the other side has ended, for as long as it takes; then closes.
    pub fn close_after_peer(&self) {
        self.wait(Duration::from_secs(3600), |received| received.end.map(drop));
        self.shut_down(Shutdown::Both);
    }

    /// Waits for the other side's end, or for silence.
    pub fn settle(&self) {
        let mut seen = 0;
        while self
            .wait(QUIET, |received| {
                let is_over = received.end.is_some() || received.bytes.len() != seen;
                is_over.then(|| seen = received.bytes.len())
            })
            .is_some()
            && self.received.0.lock().end.is_none()
        {}
    }

    /// Ends the connection and the thread that receives.
    pub fn abandon(&self) {
        self.shut_down(Shutdown::Both);
    }

    /// What happened so far. With `frames`, a server's HTTP/2 is shown frame by frame.
    pub fn record(&self, frames: Option<Detail>) -> Value {
        let received = self.received.0.lock();
        let described = frames.and_then(|detail| frames::describe(&received.bytes, detail));
        json!({
            "received": described.unwrap_or_else(|| text(&received.bytes).into()),
            "end": received.end.unwrap_or("open"),
            "missed": received.missed,
        })
    }

    /// Whether the other side still takes bytes.
    fn send(&self, bytes: &[u8]) -> bool {
        let stream = self.stream.lock().clone();
        stream.is_some_and(|stream| (&*stream).write_all(bytes).is_ok())
    }

    fn shut_down(&self, how: Shutdown) {
        if let Some(stream) = &*self.stream.lock() {
            let _ = stream.shutdown(how);
        }
    }

    fn end(&self, end: End) {
        match end {
            End::Finish => self.shut_down(Shutdown::Write),
            End::Close => self.shut_down(Shutdown::Both),
            End::Reset => {
                let Some(stream) = self.stream.lock().take() else { return };
                self.received.0.lock().end = Some("reset by this side");
                let _ = SockRef::from(&*stream).set_linger(Some(Duration::ZERO));
                // Wakes the thread that receives, which has the last handle then.
                let _ = stream.shutdown(Shutdown::Read);
            }
        }
    }

    fn note(&self, wait: Option<()>, what: impl FnOnce() -> String) {
        if wait.is_none() {
            self.received.0.lock().missed.push(what());
        }
    }

    /// Waits until `found` finds something, or the time is over. The other side's end is the last
    /// chance.
    fn wait<T>(
        &self,
        time: Duration,
        mut found: impl FnMut(&mut Received) -> Option<T>,
    ) -> Option<T> {
        let deadline = Instant::now() + time;
        let (mutex, changed) = &*self.received;
        let mut received = mutex.lock();
        loop {
            if let Some(found) = found(&mut received) {
                return Some(found);
            }
            if received.end.is_some() || changed.wait_until(&mut received, deadline).timed_out() {
                return found(&mut received);
            }
        }
    }
}

/// Receives until the other side ends.
fn receive(stream: &TcpStream, received: &(Mutex<Received>, Condvar)) {
    let mut buffer = [0; 64 << 10];
    loop {
        let result = (&*stream).read(&mut buffer);
        let (mutex, changed) = received;
        let mut received = mutex.lock();
        let end = match result {
            Ok(0) => "finished",
            Ok(n) => {
                received.bytes.extend_from_slice(&buffer[..n]);
                changed.notify_all();
                continue;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => "reset",
            Err(_) => "failed",
        };
        received.end.get_or_insert(end);
        changed.notify_all();
        return;
    }
}
