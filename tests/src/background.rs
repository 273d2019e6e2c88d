//! tokio for tests that are not async: a client on the calling thread, a server in the background.

use std::{
    future::Future,
    io,
    net::{Ipv4Addr, TcpListener},
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Context as _, Result};
use testbed::Namespace;
use tokio::{net, runtime, sync::oneshot, time::timeout};

/// A future on a thread of its own. Dropping this ends the future and all tasks that it has
/// spawned.
#[derive(Debug)]
pub struct Background {
    end: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// Runs a future to its end on the calling thread.
///
/// # Errors
/// The error of the future, or a timeout after 20 s.
pub fn block_on<T>(body: impl Future<Output = Result<T>>) -> Result<T> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    // Inside the runtime: a timer registers with it.
    runtime.block_on(async {
        timeout(Duration::from_secs(20), body).await.context("the test takes more than 20 s")?
    })
}

// === impl Background ===

impl Background {
    /// Listens on `port` of the namespace's IPv4 addresses, and runs the future that `serve`
    /// returns.
    pub fn serve<S: Future<Output = ()>>(
        netns: &Namespace,
        port: u16,
        serve: impl FnOnce(net::TcpListener) -> S + Send + 'static,
    ) -> Result<Self> {
        let listener =
            netns.run(|| TcpListener::bind((Ipv4Addr::UNSPECIFIED, port))).context("listen")?;
        listener.set_nonblocking(true)?;
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        let (end, ended) = oneshot::channel();
        let thread = thread::spawn(move || {
            let served: io::Result<()> = runtime.block_on(async {
                let serving = serve(net::TcpListener::from_std(listener)?);
                tokio::select! {
                    _ = ended => {}
                    () = serving => {}
                }
                Ok(())
            });
            served.expect("register the listener");
        });
        Ok(Self { end: Some(end), thread: Some(thread) })
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
