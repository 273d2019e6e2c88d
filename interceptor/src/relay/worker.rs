//! A worker: one thread with one event loop that accepts for every armed workload and relays what it accepted.
//!
//! A connection stays on the thread that accepted it. The kernel program spreads connections over the workers and
//! avoids one whose heartbeat is stale; the beat is stored by the very loop that accepts, so whatever keeps that loop
//! from running (blocked, starved, stopped) also stops the beat.

use std::{
    collections::HashMap,
    io,
    net::{SocketAddr, TcpListener as StdListener},
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    thread,
    time::Duration,
};

use futures_util::{
    Stream, StreamExt as _,
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
    task::AbortHandle,
    time::{MissedTickBehavior, interval},
};

use super::{
    connection, dial,
    pressure::Pressure,
    workload::{Workload, WorkloadId},
};
use crate::datapath::heartbeat;

/// The workers of this daemon.
#[derive(Debug)]
pub struct Workers {
    handles: Vec<mpsc::UnboundedSender<Command>>,
    shared: Arc<Shared>,
}

/// A grant is a store for each armed namespace: not worth it for each connection when there is little room.
const WORTH_A_GRANT: i64 = 16;

/// What all workers have in common.
#[derive(Debug)]
pub struct Shared {
    /// Connections open at present, over all workloads.
    open: AtomicUsize,
    /// How many may be open; beyond that the kernel leaves new ones with the application.
    limit: AtomicUsize,
    /// Connection tasks that panicked.
    panics: AtomicU64,
    /// Whether the process is out of something.
    pressure: Arc<Pressure>,
    /// When each worker last went round its loop, `CLOCK_MONOTONIC` nanoseconds.
    beats: Vec<AtomicU64>,
    /// How many connections each worker has room for that are not open yet: together at most what is free.
    promised: Vec<AtomicI64>,
}

/// A listener of every family, for one worker.
pub type Listeners = Vec<StdListener>;

/// What the control side asks of a worker.
enum Command {
    /// Accept for `workload` from now on, and say when the heart beats for it.
    Serve { workload: Arc<Workload>, listeners: Listeners, ready: oneshot::Sender<()> },
    /// Accept what is queued for this workload, then close its listeners. Its connections go on.
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
            let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
            let worker = Worker::new(index, Arc::clone(&shared));
            thread::Builder::new()
                .name(format!("relay-{index}"))
                .spawn(move || runtime.block_on(worker.run(commands)))?;
            Ok(sender)
        };
        let handles = (0..count).map(start).collect::<io::Result<_>>()?;
        Ok(Self { handles, shared })
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.handles.len() as u32
    }

    /// What status and metrics may read.
    #[must_use]
    pub fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Hands each worker its listeners, and returns when every one of them beats for the workload.
    pub async fn serve(&self, workload: &Arc<Workload>, listeners: Vec<Listeners>) {
        assert_eq!(listeners.len(), self.handles.len(), "listeners for each worker");
        for (worker, listeners) in self.handles.iter().zip(listeners) {
            let (ready, is_ready) = oneshot::channel();
            let workload = Arc::clone(workload);
            // A worker that is gone can't beat, so the kernel never steers to it: nothing to handle here.
            let _ = worker.send(Command::Serve { workload, listeners, ready });
            let _ = is_ready.await;
        }
    }

    /// Closes the workload's listeners after what they have queued; connections go on. Its program must be detached.
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

// === impl Shared ===

impl Shared {
    fn new(workers: u32, limit: usize) -> Arc<Self> {
        Arc::new(Self {
            open: AtomicUsize::new(0),
            limit: AtomicUsize::new(limit),
            panics: AtomicU64::new(0),
            pressure: Arc::default(),
            beats: (0..workers).map(|_| AtomicU64::new(NO_BEAT)).collect(),
            promised: (0..workers).map(|_| AtomicI64::new(0)).collect(),
        })
    }

    /// Connections open at present.
    #[must_use]
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// Sets how many connections may be open.
    pub fn set_limit(&self, limit: usize) {
        self.limit.store(limit, Ordering::Relaxed);
    }

    /// How many connections may be open.
    #[must_use]
    pub fn limit(&self) -> usize {
        self.limit.load(Ordering::Relaxed)
    }

    /// Connection tasks that panicked so far.
    #[must_use]
    pub fn panics(&self) -> u64 {
        self.panics.load(Ordering::Relaxed)
    }

    /// How long ago the slowest worker went round its loop.
    #[must_use]
    pub fn heartbeat_age(&self) -> Duration {
        let oldest = self.beats.iter().map(|beat| beat.load(Ordering::Relaxed)).min().unwrap_or(NO_BEAT);
        Duration::from_nanos(heartbeat::now().saturating_sub(oldest))
    }

    /// Whether the process is out of something.
    #[must_use]
    pub fn pressure(&self) -> &Arc<Pressure> {
        &self.pressure
    }

    fn is_full(&self) -> bool {
        self.open() >= self.limit()
    }

    /// What `worker` may have promised at most, and its fair share of what is free.
    fn free_for(&self, worker: u32) -> Free {
        let signed = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        let free = signed(self.limit().saturating_sub(self.open()));
        let others = self.promised.iter().enumerate().filter(|(index, _)| *index != worker as usize);
        let promised: i64 = others.map(|(_, promised)| promised.load(Ordering::Relaxed)).sum();
        let workers = signed(self.promised.len());
        Free { most: free.saturating_sub(promised), share: free / workers + i64::from(free % workers != 0) }
    }
}

/// The loop's own state.
struct Worker {
    index: u32,
    shared: Arc<Shared>,
    listening: SelectAll<Listening>,
    served: Vec<Served>,
    room: Room,
    connections: Arc<Connections>,
    /// No accepting until the next beat: the kernel was out of something.
    paused: bool,
    /// The cells say that there is no room.
    said_full: bool,
}

// === impl Worker ===

impl Worker {
    fn new(index: u32, shared: Arc<Shared>) -> Self {
        Self {
            index,
            shared,
            listening: SelectAll::new(),
            served: Vec::new(),
            room: Room::default(),
            connections: Arc::default(),
            paused: false,
            said_full: false,
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
        let pressed = self.shared.pressure.is_on();
        if !pressed {
            self.shared.pressure.refill();
        }
        if self.index == 0 {
            self.served.iter().for_each(|served| served.workload.sockets.clear_unwanted());
        }
        self.said_full = pressed || self.shared.is_full();
        self.room.age();
        self.grant();
        self.store(if self.said_full { AT_LIMIT } else { now });
        self.shared.beats[self.index as usize].store(now, Ordering::Relaxed);
    }

    fn store(&self, beat: Beat) {
        for served in &self.served {
            served.workload.heartbeats.store(self.index, beat);
        }
    }

    /// Tells the kernel how many connections it may send until the next grant.
    fn grant(&mut self) {
        for served in &mut self.served {
            let left = served.workload.heartbeats.room(self.index);
            self.room.steered(served.granted.saturating_sub(left));
            served.granted = left;
        }
        let room = self.room.next_grant(self.shared.free_for(self.index));
        for served in &mut self.served {
            served.workload.heartbeats.grant(self.index, room - served.granted);
            served.granted = room;
        }
        self.promise();
    }

    /// Lets the other workers know how much of what is free is this one's.
    fn promise(&self) {
        self.shared.promised[self.index as usize].store(self.room.promised(), Ordering::Relaxed);
    }

    fn apply(&mut self, command: Command) {
        match command {
            Command::Serve { workload, listeners, ready } => {
                for listener in listeners {
                    match TcpListener::from_std(listener) {
                        Ok(listener) => {
                            self.listening.push(Listening { listener, workload: Arc::clone(&workload) });
                        }
                        Err(error) => {
                            // Without it the kernel finds no listener of ours for that family and passes.
                            tracing::warn!(workload = %workload.name, %error, "can't wait for connections");
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
            // Straight from the kernel: the event loop may not have heard of all that is queued.
            while let Ok((socket, peer)) = SockRef::from(&listener).accept() {
                let stream = socket.set_nonblocking(true).and_then(|()| TcpStream::from_std(socket.into()));
                let peer = peer.as_socket().ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData));
                self.accept((Arc::clone(&workload), stream.and_then(|stream| Ok((stream, peer?)))));
            }
        }
    }

    fn accept(&mut self, (workload, accepted): Accepted) {
        match accepted {
            Ok((stream, peer)) => {
                let id = workload.id;
                self.connections.spawn(id, connection::serve(workload, stream, peer), &self.shared);
                if self.room.accepted() {
                    self.grant();
                } else {
                    self.promise();
                }
                if !self.said_full && self.shared.is_full() {
                    self.said_full = true;
                    self.store(AT_LIMIT);
                }
            }
            Err(error) if dial::is_shortage(&error) => {
                tracing::debug!(%error, workload = %workload.name, "accept");
                self.shared.pressure.report();
                self.said_full = true;
                self.store(AT_LIMIT);
                // What is queued already waits for a spare file descriptor, or for the next beat.
                self.paused = !self.shared.pressure.lend();
            }
            // A caller that gave up before it was accepted.
            Err(error) => tracing::debug!(%error, workload = %workload.name, "accept"),
        }
    }
}

/// A workload that this worker accepts for.
struct Served {
    workload: Arc<Workload>,
    /// How many connections the kernel may send, as far as this side knows.
    granted: i64,
}

/// What is free at a moment, as one worker sees it.
#[derive(Clone, Copy, Debug)]
struct Free {
    /// Beside what the other workers have promised.
    most: i64,
    /// If all workers had the same.
    share: i64,
}

/// The books of what the kernel may send and what has come.
#[derive(Debug, Default)]
struct Room {
    /// Granted, and not sent as far as is known.
    left: i64,
    /// Sent by the kernel and not accepted yet: in the accept queue, or in a handshake that may never end. Below zero
    /// while something has come that was not known to be sent.
    on_the_way: i64,
    /// Last granted.
    granted: i64,
    /// Accepted since the last grant.
    accepted: i64,
}

// === impl Room ===

impl Room {
    /// The kernel has sent this many more.
    fn steered(&mut self, count: i64) {
        self.left = self.left.saturating_sub(count);
        self.on_the_way = self.on_the_way.saturating_add(count);
    }

    /// One has arrived. True when it is time for another grant: half of the last one has been used, and a few more.
    fn accepted(&mut self) -> bool {
        self.on_the_way -= 1;
        self.accepted += 1;
        self.accepted > (self.granted / 2).max(WORTH_A_GRANT)
    }

    /// How many more may be sent now. What is left is kept, unless there is no room for it: another worker's callers
    /// may come here too, so nothing that is free lies idle.
    fn next_grant(&mut self, free: Free) -> i64 {
        self.accepted = 0;
        self.on_the_way = self.on_the_way.max(0);
        let wanted = self.left.max(free.share.saturating_sub(self.on_the_way));
        self.left = wanted.min(free.most.saturating_sub(self.on_the_way)).max(0);
        self.granted = self.left;
        self.granted
    }

    /// Room that is taken without being open yet.
    fn promised(&self) -> i64 {
        self.left.saturating_add(self.on_the_way)
    }

    /// Forgets half of those that never come: handshakes that were given up must not use up the room.
    fn age(&mut self) {
        // What has come and was not known to be sent must not be forgotten: it is sent for in the next books.
        if self.on_the_way > 0 {
            self.on_the_way /= 2;
        }
    }
}

/// What a listener gives.
type Accepted = (Arc<Workload>, io::Result<(TcpStream, SocketAddr)>);

/// A listener as a stream of connections.
struct Listening {
    listener: TcpListener,
    workload: Arc<Workload>,
}

impl Stream for Listening {
    type Item = Accepted;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Accepted>> {
        match self.listener.poll_accept(cx) {
            Poll::Ready(accepted) => Poll::Ready(Some((Arc::clone(&self.workload), accepted))),
            Poll::Pending => Poll::Pending,
        }
    }
}

/// The connections of one worker, so that those of one workload can be cut.
#[derive(Debug, Default)]
struct Connections {
    tasks: Mutex<HashMap<u64, (WorkloadId, AbortHandle)>>,
    next: AtomicU64,
}

/// Takes a connection out of the books however its task ends.
struct Booked {
    number: u64,
    connections: Arc<Connections>,
    shared: Arc<Shared>,
}

// === impl Connections ===

impl Connections {
    fn spawn<F>(self: &Arc<Self>, id: WorkloadId, connection: F, shared: &Arc<Shared>)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        shared.open.fetch_add(1, Ordering::Relaxed);
        let booked = Booked { number, connections: Arc::clone(self), shared: Arc::clone(shared) };
        let task = tokio::spawn(async move {
            let _booked = booked;
            connection.await;
        });
        // The task can't have run yet: it belongs to this very thread.
        self.lock().insert(number, (id, task.abort_handle()));
    }

    fn abort(&self, id: WorkloadId) {
        self.lock().values().filter(|(owner, _)| *owner == id).for_each(|(_, task)| task.abort());
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<u64, (WorkloadId, AbortHandle)>> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Booked ===

impl Drop for Booked {
    fn drop(&mut self) {
        self.shared.open.fetch_sub(1, Ordering::Relaxed);
        if thread::panicking() {
            // tokio ends this task alone; the panic hook has said what happened.
            self.shared.panics.fetch_add(1, Ordering::Relaxed);
        }
        self.connections.lock().remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use tokio::{sync::oneshot, task::yield_now};

    use super::*;

    const SOMEBODY: WorkloadId = WorkloadId(1);
    const SOMEBODY_ELSE: WorkloadId = WorkloadId(2);

    #[tokio::test]
    async fn a_panic_ends_its_own_connection_and_no_other() {
        let shared = Shared::new(1, 10);
        let connections: Arc<Connections> = Arc::default();
        let (done, is_done) = oneshot::channel();
        connections.spawn(SOMEBODY, async { panic!("on purpose, by the test") }, &shared);
        connections.spawn(
            SOMEBODY,
            async move {
                yield_now().await;
                done.send(()).expect("the test waits");
            },
            &shared,
        );
        is_done.await.expect("the other connection goes on");
        yield_now().await;
        assert_eq!(shared.panics(), 1);
        assert_eq!(shared.open(), 0);
        assert!(connections.lock().is_empty());
    }

    fn alone(free: i64) -> Free {
        Free { most: free, share: free }
    }

    #[test]
    fn what_is_on_the_way_has_its_room_already() {
        let mut room = Room::default();
        assert_eq!(room.next_grant(alone(10)), 10);
        room.steered(8);
        assert!(!room.accepted());
        // One of eight has arrived, and is one of those that are open now.
        assert_eq!(room.next_grant(alone(9)), 2);
        room.steered(2);
        assert_eq!(room.next_grant(alone(9)), 0);
    }

    #[test]
    fn a_handshake_that_never_ends_gives_its_room_back() {
        let mut room = Room::default();
        room.steered(8);
        assert_eq!(room.next_grant(alone(10)), 2);
        for _ in 0..4 {
            room.age();
        }
        assert_eq!(room.next_grant(alone(10)), 10);
    }

    #[test]
    fn a_beat_between_a_burst_and_the_books_loses_no_room() {
        let mut room = Room::default();
        assert_eq!(room.next_grant(alone(100)), 100);
        for _ in 0..10 {
            room.accepted();
        }
        room.age();
        room.steered(10);
        assert_eq!(room.next_grant(alone(90)), 90);
        assert_eq!(room.promised(), 90);
    }

    #[test]
    fn all_of_what_is_free_is_granted_and_no_more() {
        const LIMIT: usize = 22;
        let shared = Shared::new(2, LIMIT);
        let mut workers = [Worker::new(0, Arc::clone(&shared)), Worker::new(1, Arc::clone(&shared))];
        workers.iter_mut().for_each(Worker::grant);
        let granted = |workers: &[Worker; 2]| workers.each_ref().map(|worker| worker.room.left);
        assert_eq!(granted(&workers), [11, 11]);

        // All that come are the second worker's, until it has no room and the first gets them.
        for (worker, count) in [(1, 11), (0, 4)] {
            for _ in 0..count {
                shared.open.fetch_add(1, Ordering::Relaxed);
                workers[worker].room.steered(1);
                workers[worker].room.accepted();
                workers[worker].promise();
            }
            // However often and in whichever order they look.
            for worker in [0, 1, 1, 0, 1] {
                workers[worker].grant();
                let free = LIMIT - shared.open();
                assert_eq!(usize::try_from(granted(&workers).iter().sum::<i64>()), Ok(free));
            }
        }
    }

    #[test]
    fn what_closes_is_shared_among_the_workers() {
        let shared = Shared::new(2, 10);
        shared.open.store(10, Ordering::Relaxed);
        let mut workers = [Worker::new(0, Arc::clone(&shared)), Worker::new(1, Arc::clone(&shared))];
        workers.iter_mut().for_each(Worker::grant);
        shared.open.store(2, Ordering::Relaxed);
        workers.iter_mut().for_each(Worker::grant);
        assert_eq!(workers.each_ref().map(|worker| worker.room.left), [4, 4]);
    }

    #[tokio::test]
    async fn cutting_a_workload_leaves_the_others_alone() {
        let shared = Shared::new(1, 10);
        let connections: Arc<Connections> = Arc::default();
        for id in [SOMEBODY, SOMEBODY_ELSE] {
            connections.spawn(id, std::future::pending(), &shared);
        }
        yield_now().await;
        connections.abort(SOMEBODY);
        while shared.open() > 1 {
            yield_now().await;
        }
        assert!(connections.lock().values().all(|(id, _)| *id == SOMEBODY_ELSE));
    }
}
