//! Calls that begin at a steady pace, whatever became of those before: the way strangers arrive.
//!
//! `testbed::Caller` waits for its answer before it calls again, so one call that hangs hides those that would have
//! been made meanwhile. Here each call has a thread of its own.

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

/// Calls under way; they end with [`stop`](Self::stop).
#[derive(Debug)]
pub struct OpenLoopLoad {
    stop: Arc<AtomicBool>,
    pace: Option<JoinHandle<Report>>,
}

impl OpenLoopLoad {
    /// Has a call begin every `interval` from now on.
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
                            // How long one may take is for the test to say.
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

    /// Has no further call begin, waits for those under way, and gives all of them.
    ///
    /// # Panics
    /// When the thread that sets the pace did.
    pub fn stop(mut self) -> Report {
        self.stop.store(true, Ordering::Relaxed);
        self.pace.take().and_then(|pace| pace.join().ok()).expect("the pace of the calls")
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
