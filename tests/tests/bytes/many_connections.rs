//! Thousands of connections, at once and one after the other.

use std::{
    io::{self, ErrorKind, Read as _, Write as _},
    net::TcpStream,
    thread,
};

use anyhow::{Context as _, Result, ensure};
use testbed::{netns_test, wait_until};

use crate::{
    SECOND,
    ends::reset,
    fixture::{Fixture, Route, connected_sockets, raise_open_files},
};

#[test]
fn eight_thousand_open_connections_are_all_served() {
    const COUNT: usize = 8_000;
    netns_test("many", |t| {
        raise_open_files()?;
        let f = Fixture::new(t)?;
        let (files, memory) = (f.open_files()?, f.memory()?);
        let (mut clients, mut targets) = (Vec::new(), Vec::new());
        thread::scope(|scope| -> Result<()> {
            // Each client waits for a byte of the target: many without one would look like a loop,
            // and the daemon's probes would be accepted in their place.
            let greet = || {
                let mut target = f.accept()?;
                target.write_all(b"!")?;
                Ok(target)
            };
            let accepted =
                scope.spawn(move || (0..COUNT).map(|_| greet()).collect::<io::Result<Vec<_>>>());
            clients = f.client.run(|| {
                let to = f.to(Route::Stolen);
                let call = || {
                    let mut client = TcpStream::connect_timeout(&to, SECOND * 5)?;
                    client.set_read_timeout(Some(SECOND * 5))?;
                    client.read_exact(&mut [0])?;
                    Ok(client)
                };
                (0..COUNT).map(|_| call()).collect::<io::Result<Vec<_>>>()
            })?;
            targets = accepted.join().expect("no panic")?;
            Ok(())
        })?;
        assert_eq!(f.active(), COUNT as f64);
        let each = f.memory()?.saturating_sub(memory) * 1024 / COUNT as u64;
        assert!(each <= 20 * 1024, "{each} bytes of the daemon's memory for each idle connection");

        for (number, client) in clients.iter_mut().enumerate() {
            client.write_all(&(number as u32).to_be_bytes())?;
        }
        for target in &mut targets {
            let mut number = [0; 4];
            target.read_exact(&mut number)?;
            target.write_all(&number)?;
        }
        for (number, client) in clients.iter_mut().enumerate() {
            let mut answer = [0; 4];
            client
                .read_exact(&mut answer)
                .with_context(|| format!("the answer to client {number}"))?;
            assert_eq!(u32::from_be_bytes(answer), number as u32);
        }
        drop((clients, targets));
        f.wait_for_files(files)
    });
}

#[test]
fn thousands_of_short_connections_leave_nothing_behind() {
    netns_test("short", |t| {
        let f = Fixture::new(t)?;
        let files = f.open_files()?;
        // The first round fills pools and caches.
        exchanges(&f, 1_000)?;
        f.wait_for_files(files)?;
        let memory = f.memory()?;
        exchanges(&f, 5_000)?;
        f.wait_for_files(files)?;

        let redirected =
            f.daemon.metric("interceptor_connections_total", &[("outcome", "redirected")]);
        assert_eq!(redirected, 6_000.0);
        wait_until("the sockets in the pod to close", SECOND * 5, || {
            match connected_sockets(&f.pod) {
                open if open.is_empty() => Ok(()),
                open => Err(format!("{open:#?}")),
            }
        })?;
        let grown = f.memory()?.saturating_sub(memory);
        assert!(grown < 1024, "the daemon grew by {grown} KiB");
        Ok(())
    });
}

/// Opens short connections, two at a time, each with a question and an answer.
fn exchanges(f: &Fixture, count: usize) -> Result<()> {
    let call = || -> Result<()> {
        let mut client = f.connect_client(Route::Stolen)?;
        client.write_all(b"question")?;
        let mut answer = String::new();
        client.read_to_string(&mut answer)?;
        ensure!(answer == "answer", "{answer:?}");
        Ok(())
    };
    let answer = || -> Result<()> {
        let mut target = f.accept()?;
        target.read_exact(&mut [0; 8])?;
        target.write_all(b"answer")?;
        Ok(())
    };
    thread::scope(|scope| {
        let half = || (0..count / 2).try_for_each(|_| call());
        let clients = [scope.spawn(half), scope.spawn(half)];
        let answered = (0..count).try_for_each(|_| answer());
        let called = clients.into_iter().try_for_each(|client| client.join().expect("no panic"));
        called.and(answered)
    })
}

#[test]
fn clients_that_close_or_reset_at_once_leave_nothing_behind() {
    netns_test("hasty", |t| {
        let f = Fixture::new(t)?;
        let files = f.open_files()?;
        for number in 0..200 {
            let client = f.connect_client(Route::Stolen)?;
            if number % 2 == 0 { reset(client)? } else { drop(client) }
        }
        let seen = || -> Result<f64> {
            let counted =
                |outcome| f.daemon.metric("interceptor_connections_total", &[("outcome", outcome)]);
            Ok(counted("redirected") + counted("refused"))
        };
        wait_until("200 counted connections", SECOND * 5, || -> Result<()> {
            let count = seen()?;
            ensure!(count == 200.0, "{count}");
            Ok(())
        })?;
        // Clients that get no answer look like a loop. So there may be connections of the daemon's
        // own, too.
        wait_until("the end of every connection in the pod", SECOND * 5, || -> Result<()> {
            for mut target in f.accept_waiting()? {
                // The end of the stream, or a reset.
                let end = target.read(&mut [0]).map_err(|error| error.kind());
                ensure!(matches!(end, Ok(0) | Err(ErrorKind::ConnectionReset)), "{end:?}");
            }
            let open = connected_sockets(&f.pod);
            ensure!(open.is_empty(), "{open:#?}");
            Ok(())
        })?;
        f.wait_for_files(files)?;

        f.connect_client(Route::Stolen)?.write_all(b"still here?")?;
        // A connection of the daemon's own may come first. It ends without a byte.
        let mut got = Vec::new();
        while got.is_empty() {
            f.accept()?.read_to_end(&mut got).or_else(reset_is_an_end)?;
        }
        assert_eq!(got, b"still here?");
        Ok(())
    });
}

fn reset_is_an_end(error: io::Error) -> io::Result<usize> {
    if error.kind() == ErrorKind::ConnectionReset { Ok(0) } else { Err(error) }
}
