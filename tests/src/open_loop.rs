//! An open-loop load: calls start at a steady pace, whether or not earlier calls have ended.
//!
//! Each thread of `testbed::Load` waits for its answer before its next call, so a call that hangs
//! hides the calls that would have followed. Here each call has a thread of its own.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use testbed::{Call, Connection, Namespace, Protocol, Report};

use crate::TIMEOUT;

/// A running load. [`stop`](Self::stop) ends it.
#[derive(Debug)]
pub struct OpenLoopLoad {
    stop: Arc<AtomicBool>,
    pace: Option<JoinHandle<Report>>,
}

impl OpenLoopLoad {
    /// Starts a call every `interval` from now on.
    pub fn start(netns: &Namespace, to: SocketAddr, interval: Duration) -> Self {
        let (netns, stop) = (netns.clone(), Arc::new(AtomicBool::new(false)));
        let stopped = stop.clone();
        let pace = thread::spawn(move || {
            let mut calls = Vec::new();
            while !stopped.load(Ordering::Relaxed) {
                let netns = netns.clone();
                calls.push(thread::spawn(move || {
                    let started = Instant::now();
                    let answer =
                        Connection::open(&netns, to, Protocol::Line).and_then(|mut connection| {
                            // The test decides how long a call may take.
                            connection.stream().set_read_timeout(Some(TIMEOUT))?;
                            connection.ask()
                        });
                    let outcome = answer.map_err(|error| error.to_string());
                    Call { started, duration: started.elapsed(), outcome }
                }));
                thread::sleep(interval);
            }
            let mut calls: Vec<Call> =
                calls.into_iter().filter_map(|call| call.join().ok()).collect();
            calls.sort_by_key(|call| call.started);
            Report { calls }
        });
        Self { stop, pace: Some(pace) }
    }

    /// Starts no further calls, waits for those in progress, and returns all calls.
    ///
    /// # Panics
    /// If the thread that starts the calls has panicked.
    pub fn stop(mut self) -> Report {
        self.stop.store(true, Ordering::Relaxed);
        self.pace
            .take()
            .and_then(|pace| pace.join().ok())
            .expect("the thread that starts the calls")
    }
}

impl Drop for OpenLoopLoad {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(pace) = self.pace.take() {
            let _ = pace.join();
        }
    }
}
