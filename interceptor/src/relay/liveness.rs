//! Finds sides of connections that have vanished: a pulled cable or a lost laptop sends no end.
//!
//! Each worker looks at its own connections between two beats. They are entered in a list of its
//! thread; a connection that ends before the first look costs no more. A side that only pauses is
//! never taken for one that has vanished: its kernel answers. So `TCP_USER_TIMEOUT` is not used.
//!
//! - `target.rs`: a connection to a target. Its silent side is given up.
//! - `app.rs`: a connection to the app. The app itself finds out, by its own keepalive.

mod app;
mod target;

use std::{
    cell::RefCell,
    collections::HashMap,
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;

use self::{app::App, target::Target};
use super::{netns_stream::NetnsStream, route::Route, stream::Stream, workload::Workload};

/// Age at which a connection is first looked at. Most are shorter.
const FIRST: Duration = Duration::from_millis(300);
/// Maximum time between two passes over the list.
const PASS: Duration = Duration::from_secs(1);

thread_local! {
    static WATCHED: RefCell<Watched> = RefCell::default();
}

/// The number of the next entry, over all threads.
static NEXT: AtomicU64 = AtomicU64::new(0);

/// Keeps a connection in the list until it is dropped.
#[derive(Debug)]
pub(super) struct Watch(u64);

/// The connections of one thread.
#[derive(Default)]
struct Watched {
    entries: HashMap<u64, Entry>,
    /// When an entry is due, or may be.
    next: Option<Instant>,
}

/// A pair of connections.
struct Entry {
    client: Weak<Stream>,
    upstream: Weak<Stream>,
    kind: Kind,
    /// When to look again; `None` for never.
    next: Option<Instant>,
}

enum Kind {
    Target(Target),
    App(App),
}

/// Watches a client and the target that serves it.
pub(super) fn watch_target(
    client: Weak<Stream>,
    target: &NetnsStream,
    route: &Arc<Route>,
) -> Watch {
    Watch::new(client, target, Kind::Target(Target::new(&route.stats)), Instant::now())
}

/// Watches a client and the app that serves it.
pub(super) fn watch_app(
    client: Weak<Stream>,
    app: &NetnsStream,
    workload: &Arc<Workload>,
) -> Watch {
    let now = Instant::now();
    Watch::new(client, app, Kind::App(App::new(workload, now.into_std())), now)
}

/// Looks at the connections of this thread that are due.
pub(super) fn look() {
    WATCHED.with_borrow_mut(|watched| watched.look(Instant::now()));
}

// === impl Watch ===

impl Watch {
    fn new(client: Weak<Stream>, upstream: &NetnsStream, kind: Kind, now: Instant) -> Self {
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        let next = Some(now + FIRST);
        let entry = Entry { client, upstream: upstream.watched(), kind, next };
        WATCHED.with_borrow_mut(|watched| watched.entries.insert(id, entry));
        Self(id)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        // The thread may be ending. An entry of another thread stays there, without its streams.
        let _ = WATCHED.try_with(|watched| watched.borrow_mut().entries.remove(&self.0));
    }
}

// === impl Watched ===

impl Watched {
    fn look(&mut self, now: Instant) {
        if self.next.is_some_and(|next| now < next) {
            return;
        }
        let mut next = now + PASS;
        for entry in self.entries.values_mut() {
            if entry.next.is_some_and(|next| next <= now) {
                entry.next = entry.look(now);
            }
            next = entry.next.map_or(next, |entry| next.min(entry));
        }
        self.next = Some(next);
    }
}

// === impl Entry ===

impl Entry {
    /// Looks at both sides. Returns when to look again.
    fn look(&mut self, now: Instant) -> Option<Instant> {
        let (client, upstream) = (self.client.upgrade()?, self.upstream.upgrade()?);
        let wait = match &mut self.kind {
            Kind::Target(target) => target.look(&client, &upstream),
            Kind::App(app) => app.look(&client, &upstream),
        };
        wait.map(|wait| now + wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::relay::{netns_stream::NetnsGone, stats::PortStats};

    #[tokio::test]
    async fn a_connection_is_in_the_list_while_it_is_open() {
        let count = || WATCHED.with_borrow(|watched| watched.entries.len());
        let gone = NetnsGone::default();
        let (client, target) = Stream::pair();
        let (client, target) = (NetnsStream::new(client, &gone), NetnsStream::new(target, &gone));
        let kind = Kind::Target(Target::new(&Arc::new(PortStats::default())));
        let watch = Watch::new(client.watched(), &target, kind, Instant::now());
        assert_eq!(count(), 1);
        let other = std::thread::spawn(move || {
            look();
            watch
        });
        let watch = other.join().expect("no panic");
        assert_eq!(count(), 1);
        let now = Instant::now();
        // Not due, then due; without its streams it is never due again.
        let next = |now| {
            WATCHED.with_borrow_mut(|watched| {
                watched.look(now);
                watched.entries.values().next().expect("an entry").next
            })
        };
        let first = next(now).expect("a time");
        assert!(first > now && first <= now + FIRST);
        let second = next(now + 2 * PASS).expect("a time");
        assert!(second > now + 2 * PASS);
        drop(target);
        assert_eq!(next(second + PASS), None);
        drop(watch);
        assert_eq!(count(), 0);
    }
}
