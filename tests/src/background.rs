//! A tokio server for a test that is not async.

use std::{
    io,
    net::{Ipv4Addr, TcpListener},
    thread::{self, JoinHandle},
};

use anyhow::{Context as _, Result};
use testbed::Namespace;
use tokio::{net, runtime, sync::oneshot};

/// A future on a thread of its own. Dropping this ends the future and all tasks that it has
/// spawned.
#[derive(Debug)]
pub struct Background {
    end: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
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
