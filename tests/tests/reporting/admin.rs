//! The admin endpoint while its connections run out.

use std::{io::Read as _, net::TcpStream};

use anyhow::{Result, ensure};
use interceptor_tests::{TIMEOUT, run};

#[test]
fn a_request_is_served_while_100_connections_are_idle() {
    run(|f| {
        let daemon = f.daemon()?;
        let node = f.t.node();
        let before = daemon.open_files()?;
        let idle = || Ok(node.run(|| TcpStream::connect(("127.0.0.1", 9469)))?);
        let connections: Vec<TcpStream> = (0..100).map(|_| idle()).collect::<Result<_>>()?;
        assert_eq!(daemon.get("/livez")?, "ok\n");
        let now = daemon.open_files()?;
        ensure!(now <= before + 20, "{now} files are open, {before} before");
        // The daemon has closed the oldest connection.
        let mut oldest = &connections[0];
        oldest.set_read_timeout(Some(TIMEOUT))?;
        assert_eq!(oldest.read(&mut [0])?, 0);
        Ok(())
    });
}
