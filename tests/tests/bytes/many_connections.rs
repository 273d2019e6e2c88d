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
    fixture::{Ends, Fixture, Route, raise_open_files, sockets},
};

#[test]
fn nine_thousand_connections_are_open_at_once_and_each_is_answered() {
    const COUNT: usize = 9_000;
    netns_test("many", |t| {
        raise_open_files()?;
        let fixture = Fixture::new(t)?;
        let (files, memory) = (fixture.open_files()?, fixture.memory()?);
        let (mut callers, mut targets) = (Vec::new(), Vec::new());
        thread::scope(|scope| -> Result<()> {
            let accepted = scope
                .spawn(|| (0..COUNT).map(|_| fixture.accept()).collect::<io::Result<Vec<_>>>());
            callers = fixture.client.run(|| {
                let to = fixture.to(Route::Stolen);
                (0..COUNT)
                    .map(|_| TcpStream::connect_timeout(&to, SECOND * 5))
                    .collect::<io::Result<Vec<_>>>()
            })?;
            targets = accepted.join().expect("no panic")?;
            Ok(())
        })?;
        assert_eq!(fixture.active(), COUNT as f64);
        let each = fixture.memory()?.saturating_sub(memory) * 1024 / COUNT as u64;
        assert!(each <= 20 * 1024, "{each} bytes of the daemon's memory for each idle connection");

        for (number, caller) in callers.iter_mut().enumerate() {
            caller.set_read_timeout(Some(SECOND * 5))?;
            caller.write_all(&(number as u32).to_be_bytes())?;
        }
        for target in &mut targets {
            let mut number = [0; 4];
            target.read_exact(&mut number)?;
            target.write_all(&number)?;
        }
        for (number, caller) in callers.iter_mut().enumerate() {
            let mut answer = [0; 4];
            caller
                .read_exact(&mut answer)
                .with_context(|| format!("the answer to caller {number}"))?;
            assert_eq!(u32::from_be_bytes(answer), number as u32);
        }
        drop((callers, targets));
        fixture.wait_for_files(files)
    });
}

#[test]
fn thousands_of_short_connections_leave_nothing_behind() {
    netns_test("short", |t| {
        let fixture = Fixture::new(t)?;
        let files = fixture.open_files()?;
        // The first round fills pools and caches.
        exchanges(&fixture, 1_000)?;
        fixture.wait_for_files(files)?;
        let memory = fixture.memory()?;
        exchanges(&fixture, 5_000)?;
        fixture.wait_for_files(files)?;

        let redirected =
            fixture.daemon.metric("interceptor_connections_total", &[("outcome", "redirected")]);
        assert_eq!(redirected, 6_000.0);
        wait_until("the sockets in the pod to close", SECOND * 5, || {
            match sockets(&fixture.pod) {
                open if open.is_empty() => Ok(()),
                open => Err(open.join("\n")),
            }
        })?;
        let grown = fixture.memory()?.saturating_sub(memory);
        assert!(grown < 1024, "the daemon grew by {grown} KiB");
        Ok(())
    });
}

/// Short connections, two at a time, each with a question and an answer.
fn exchanges(fixture: &Fixture, count: usize) -> Result<()> {
    let call = || -> Result<()> {
        let mut caller = fixture.call(Route::Stolen)?;
        caller.write_all(b"question")?;
        let mut answer = String::new();
        caller.read_to_string(&mut answer)?;
        ensure!(answer == "answer", "{answer:?}");
        Ok(())
    };
    let answer = || -> Result<()> {
        let mut target = fixture.accept()?;
        target.read_exact(&mut [0; 8])?;
        target.write_all(b"answer")?;
        Ok(())
    };
    thread::scope(|scope| {
        let half = || (0..count / 2).try_for_each(|_| call());
        let callers = [scope.spawn(half), scope.spawn(half)];
        let answered = (0..count).try_for_each(|_| answer());
        let called = callers.into_iter().try_for_each(|caller| caller.join().expect("no panic"));
        called.and(answered)
    })
}

#[test]
fn callers_that_leave_at_once_do_no_harm() {
    netns_test("hasty", |t| {
        let fixture = Fixture::new(t)?;
        let files = fixture.open_files()?;
        for number in 0..200 {
            let caller = fixture.call(Route::Stolen)?;
            if number % 2 == 0 { reset(caller)? } else { drop(caller) }
        }
        let seen = || -> Result<f64> {
            let counted = |outcome| {
                fixture.daemon.metric("interceptor_connections_total", &[("outcome", outcome)])
            };
            Ok(counted("redirected") + counted("refused"))
        };
        wait_until("all of them to be counted", SECOND * 5, || {
            seen().is_ok_and(|count| count == 200.0)
        })?;
        let redirected =
            fixture.daemon.metric("interceptor_connections_total", &[("outcome", "redirected")])
                as usize;
        for _ in 0..redirected {
            // End of stream or a reset; to hear nothing is neither.
            let end = fixture.accept()?.read(&mut [0]).map_err(|error| error.kind());
            assert!(matches!(end, Ok(0) | Err(ErrorKind::ConnectionReset)), "{end:?}");
        }
        fixture.wait_for_files(files)?;

        let Ends { mut caller, mut target } = fixture.connect(Route::Stolen)?;
        caller.write_all(b"still here?")?;
        target.read_exact(&mut [0; 11])?;
        Ok(())
    });
}
