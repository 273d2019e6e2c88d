//! A worker: one thread with one event loop, which accepts for every attached workload and relays
//! the connections that it accepted.
//!
//! A connection stays on its thread. The kernel program spreads connections over the workers and
//! avoids one whose heartbeat is stale. The loop that accepts also stores the heartbeat, so
//! whatever keeps the loop from running (blocked, starved, stopped) stops the heartbeat, too.

mod connections;
mod credit;
mod shared;

use std::{
    io,
    net::{SocketAddr, TcpListener as StdListener},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    thread,
    time::Duration,
};

use futures_util::{
    StreamExt as _,
    stream::{SelectAll, select_all},
};
use interceptor_common::{
    heartbeat::{AT_LIMIT, Beat, NO_BEAT, PERIOD_MS},
    steal::MAX_WORKERS,
};
use socket2::SockRef;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{mpsc, oneshot},
    time::{MissedTickBehavior, interval},
};

pub use self::shared::Shared;
use self::{connections::Connections, credit::Credits};
use super::{
    addr::{ClientAddr, OrigDst},
    dial, liveness, serve,
    stream::Stream,
    workload::{Workload, WorkloadId},
};
use crate::datapath::steal::heartbeat;

/// The workers of this daemon.
#[derive(Debug)]
pub struct Workers {
    handles: Vec<mpsc::UnboundedSender<Command>>,
    shared: Arc<Shared>,
}

/// A listener of every family, for one worker.
pub type Listeners = Vec<StdListener>;

/// What the control side asks of a worker.
enum Command {
    /// Accept for `workload` from now on. `ready` is sent after the first heartbeat for it.
    Serve { workload: Arc<Workload>, listeners: Listeners, ready: oneshot::Sender<()> },
    /// Accept the queued connections of this workload, then close its listeners. Its connections
    /// stay open.
    Retire { id: WorkloadId },
    /// Close this workload's listeners and connections now.
    Cut { id: WorkloadId },
}

// === impl Workers ===

impl Workers {
    /// Starts `count` threads that relay up to `limit` connections together.
    ///
    /// # Errors
    /// When the system gives no thread or no event loop.
    pub fn start(count: u32, limit: usize) -> io::Result<Self> {
        assert!((1..=MAX_WORKERS).contains(&count), "1 to {MAX_WORKERS} workers");
        let shared = Shared::new(count, limit);
        let start = |index| {
            let (sender, commands) = mpsc::unbounded_channel();
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
            let worker = Worker::new(index, Arc::clone(&shared));
            thread::Builder::new()
                .name(format!("relay-{index}"))
                .spawn(move || runtime.block_on(worker.run(commands)))?;
            Ok(sender)
        };
        let handles = (0..count).map(start).collect::<io::Result<_>>()?;
        Ok(Self { handles, shared })
    }

    /// The number of workers.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.handles.len() as u32
    }

    /// The state that status and metrics read.
    #[must_use]
    pub fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Hands each worker its listeners, and returns when all have stored a heartbeat for the
    /// workload.
    pub async fn serve(&self, workload: &Arc<Workload>, listeners: Vec<Listeners>) {
        assert_eq!(listeners.len(), self.handles.len(), "listeners for each worker");
        for (worker, listeners) in self.handles.iter().zip(listeners) {
            let (ready, is_ready) = oneshot::channel();
            let workload = Arc::clone(workload);
            // A worker that is gone stores no heartbeat, so the kernel sends nothing to it.
            let _ = worker.send(Command::Serve { workload, listeners, ready });
            let _ = is_ready.await;
        }
    }

    /// Closes the workload's listeners after accepting the queued connections; open connections
    /// stay. The workload's program must be detached before.
    pub fn retire(&self, id: WorkloadId) {
        for worker in &self.handles {
            let _ = worker.send(Command::Retire { id });
        }
    }

    /// Closes the workload's listeners and connections at once: its namespace is gone.
    pub fn cut(&self, id: WorkloadId) {
        for worker in &self.handles {
            let _ = worker.send(Command::Cut { id });
        }
    }
}

/// The state of one loop.
struct Worker {
    index: u32,
    shared: Arc<Shared>,
    listening: SelectAll<Listening>,
    served: Vec<Served>,
    credits: Credits,
    connections: Arc<Connections>,
    /// Whether accepting waits for the next heartbeat, after a shortage.
    paused: bool,
    /// Whether this worker has told the kernel that it takes no more connections.
    reported_full: bool,
}

// === impl Worker ===

impl Worker {
    fn new(index: u32, shared: Arc<Shared>) -> Self {
        Self {
            index,
            shared,
            listening: SelectAll::new(),
            served: Vec::new(),
            credits: Credits::default(),
            connections: Arc::default(),
            paused: false,
            reported_full: false,
        }
    }

    async fn run(mut self, mut commands: mpsc::UnboundedReceiver<Command>) {
        let mut beat = interval(Duration::from_millis(PERIOD_MS));
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                _ = beat.tick() => self.beat(),
                command = commands.recv() => match command {
                    Some(command) => self.apply(command),
                    None => return,
                },
                Some(accepted) = self.listening.next(), if !self.paused => self.accept(accepted),
            }
        }
    }

    fn beat(&mut self) {
        let now = heartbeat::now();
        self.paused = false;
        let pressed = self.shared.pressure().is_on();
        if !pressed {
            self.shared.pressure().refill();
        }
        if self.index == 0 {
            self.served.iter().for_each(|served| served.workload.sockets.clear_unwanted());
        }
        liveness::look();
        if self.shared.farewell().has_begun() {
            self.connections.wake();
        }
        self.reported_full = pressed || self.shared.is_full();
        self.credits.decay();
        self.grant();
        self.store(if self.reported_full { AT_LIMIT } else { now });
        self.shared.beat(self.index, now);
    }

    fn store(&self, beat: Beat) {
        for served in &self.served {
            served.workload.heartbeats.store(self.index, beat);
        }
    }

    /// Tells the kernel how many connections it may send until the next grant.
    fn grant(&mut self) {
        for served in &mut self.served {
            let left = served.workload.heartbeats.credit(self.index);
            self.credits.sent(served.granted.saturating_sub(left));
            served.granted = left;
        }
        let grant = self.credits.next_grant(self.shared.available_to(self.index));
        for served in &mut self.served {
            served.workload.heartbeats.grant(self.index, grant - served.granted);
            served.granted = grant;
        }
        self.reserve();
    }

    /// Tells the other workers how many of the free connections this one has reserved.
    fn reserve(&self) {
        self.shared.reserve(self.index, self.credits.reserved());
    }

    fn apply(&mut self, command: Command) {
        match command {
            Command::Serve { workload, listeners, ready } => {
                for listener in listeners {
                    match TcpListener::from_std(listener) {
                        Ok(listener) => {
                            self.listening
                                .push(Listening { listener, workload: Arc::clone(&workload) });
                        }
                        Err(error) => {
                            // Without a listener of this family the kernel passes its connections.
                            tracing::warn!(workload = %workload.name, %error, "can't listen");
                        }
                    }
                }
                self.served.push(Served { workload, granted: 0 });
                self.beat();
                let _ = ready.send(());
            }
            Command::Retire { id } => {
                self.close_listeners(id, true);
            }
            Command::Cut { id } => {
                self.close_listeners(id, false);
                self.connections.abort(id);
            }
        }
    }

    fn close_listeners(&mut self, id: WorkloadId, drain: bool) {
        self.served.retain(|served| {
            let closes = served.workload.id == id;
            if closes {
                served.workload.heartbeats.store(self.index, NO_BEAT);
                served.workload.sockets.close();
            }
            !closes
        });
        let listening = std::mem::take(&mut self.listening);
        let (closing, staying): (Vec<_>, Vec<_>) =
            listening.into_iter().partition(|listening| listening.workload.id == id);
        self.listening = select_all(staying);
        for Listening { listener, workload } in closing.into_iter().filter(|_| drain) {
            // Straight from the kernel: the event loop may not know of all queued connections yet.
            while let Ok((socket, peer)) = SockRef::from(&listener).accept() {
                let stream =
                    socket.set_nonblocking(true).and_then(|()| TcpStream::from_std(socket.into()));
                let peer =
                    peer.as_socket().ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData));
                self.accept((Arc::clone(&workload), stream.and_then(|stream| Ok((stream, peer?)))));
            }
        }
    }

    fn accept(&mut self, (workload, accepted): Accepted) {
        match accepted {
            Ok((stream, peer)) => {
                // sk_lookup keeps the addresses of a connection: the local one is what the client
                // connected to.
                if let Ok(original) = stream.local_addr() {
                    let (id, stream) = (workload.id, Stream::Tcp(stream));
                    let (client, original) = (ClientAddr(peer), OrigDst(original));
                    let serve = serve::serve(workload, stream, client, original);
                    self.connections.spawn(id, serve, &self.shared);
                }
                if self.credits.accepted() {
                    self.grant();
                } else {
                    self.reserve();
                }
                if !self.reported_full && self.shared.is_full() {
                    self.reported_full = true;
                    self.store(AT_LIMIT);
                }
            }
            Err(error) if dial::is_shortage(&error) => {
                tracing::debug!(%error, workload = %workload.name, "accept");
                self.shared.pressure().report();
                self.reported_full = true;
                self.store(AT_LIMIT);
                // Queued connections wait for a reserved file descriptor, or for the next
                // heartbeat.
                self.paused = !self.shared.pressure().lend();
            }
            // A client that gave up before it was accepted.
            Err(error) => tracing::debug!(%error, workload = %workload.name, "accept"),
        }
    }
}

/// A workload that this worker accepts for.
struct Served {
    workload: Arc<Workload>,
    /// The number of connections that the kernel may send, as last read or granted.
    granted: i64,
}

/// An accepted connection, or the error of the accept.
type Accepted = (Arc<Workload>, io::Result<(TcpStream, SocketAddr)>);

/// A listener as a stream of connections.
struct Listening {
    listener: TcpListener,
    workload: Arc<Workload>,
}

impl futures_util::Stream for Listening {
    type Item = Accepted;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Accepted>> {
        match self.listener.poll_accept(cx) {
            Poll::Ready(accepted) => Poll::Ready(Some((Arc::clone(&self.workload), accepted))),
            Poll::Pending => Poll::Pending,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_free_connections_are_granted_and_no_more() {
        const LIMIT: usize = 22;
        let shared = Shared::new(2, LIMIT);
        let mut workers =
            [Worker::new(0, Arc::clone(&shared)), Worker::new(1, Arc::clone(&shared))];
        workers.iter_mut().for_each(Worker::grant);
        let granted = |workers: &[Worker; 2]| workers.each_ref().map(|worker| worker.credits.left);
        assert_eq!(granted(&workers), [11, 11]);

        // The second worker gets all connections until its credits are used, then the first one.
        for (worker, count) in [(1, 11), (0, 4)] {
            for _ in 0..count {
                shared.opened();
                workers[worker].credits.sent(1);
                workers[worker].credits.accepted();
                workers[worker].reserve();
            }
            // However often and in whichever order they grant.
            for worker in [0, 1, 1, 0, 1] {
                workers[worker].grant();
                let free = LIMIT - shared.open();
                assert_eq!(usize::try_from(granted(&workers).iter().sum::<i64>()), Ok(free));
            }
        }
    }

    #[test]
    fn closed_connections_are_shared_among_the_workers() {
        let shared = Shared::new(2, 10);
        (0..10).for_each(|_| shared.opened());
        let mut workers =
            [Worker::new(0, Arc::clone(&shared)), Worker::new(1, Arc::clone(&shared))];
        workers.iter_mut().for_each(Worker::grant);
        (0..8).for_each(|_| shared.closed());
        workers.iter_mut().for_each(Worker::grant);
        assert_eq!(workers.each_ref().map(|worker| worker.credits.left), [4, 4]);
    }
}
