//! Connections whose first request matches: only the target is dialled until the app is needed.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    time::Duration,
};

use anyhow::Result;
use interceptor_tests::{Frozen, HttpClient, TIMEOUT, threads};
use testbed::{Daemon, TcpService, wait_until};

use crate::{DEBUG, HttpFixture, WHEN, run_http};

/// A caller whose first request was the laptop's, and had come when he was accepted.
fn caller_of_the_laptop_alone(f: &HttpFixture<'_>, daemon: &Daemon) -> Result<HttpClient> {
    let workers = threads(daemon.pid(), "relay-")?;
    // A machine that has no time for us while they stand still makes them look hung: then he is the app's.
    for _ in 0..10 {
        let calls = f.app.service().connections();
        let frozen = Frozen::new(&workers)?;
        let mut caller = f.caller()?;
        caller.say(format!("GET / HTTP/1.1\r\nHost: web\r\n{DEBUG}\r\n\r\n"))?;
        drop(frozen);
        if caller.answer(false)?.tag == "laptop" {
            assert_eq!(f.app.service().connections(), calls, "who has spoken needs no app");
            return Ok(caller);
        }
    }
    anyhow::bail!("ten callers in a row were left with the app")
}

/// A caller of the laptop alone, for whom the app is called when `nudge` has happened.
fn caller_for_whom_the_app_is_called(
    f: &HttpFixture<'_>,
    daemon: &Daemon,
    nudge: impl FnOnce(&mut HttpClient) -> Result<()>,
) -> Result<HttpClient> {
    let mut caller = caller_of_the_laptop_alone(f, daemon)?;
    let calls = f.app.service().connections();
    nudge(&mut caller)?;
    wait_until("the app to be called", TIMEOUT, || f.app.service().connections() == calls + 1)?;
    Ok(caller)
}

/// A caller whose developer has given his idle connection up.
fn caller_left_to_the_app(f: &HttpFixture<'_>, daemon: &Daemon) -> Result<HttpClient> {
    caller_for_whom_the_app_is_called(f, daemon, |_| {
        f.target.service().close_connections();
        Ok(())
    })
}

/// A caller who has begun another request.
fn caller_with_half_a_head(f: &HttpFixture<'_>, daemon: &Daemon) -> Result<HttpClient> {
    caller_for_whom_the_app_is_called(f, daemon, |caller| Ok(caller.say("GET / HTTP/1.1\r\nHo")?))
}

#[test]
fn a_request_of_the_developer_calls_nobody_else() {
    run_http(|f| {
        let daemon = f.daemon()?;
        let mut caller = caller_of_the_laptop_alone(&f, &daemon)?;
        let (calls, targets) = (f.app.service().connections(), f.target.service().connections());
        for _ in 0..3 {
            assert_eq!(caller.get("/", &[DEBUG])?.tag, "laptop");
        }
        assert_eq!(f.app.service().connections(), calls);
        for turn in 0..10 {
            let headers: &[&str] = if turn % 2 == 1 { &[DEBUG] } else { &[] };
            assert_eq!(caller.get("/", headers)?.tag, if turn % 2 == 1 { "laptop" } else { "app" });
        }
        assert_eq!(
            f.app.service().connections(),
            calls + 1,
            "called with the first request of its own"
        );
        assert_eq!(f.target.service().connections(), targets, "kept");
        Ok(())
    });
}

#[test]
fn a_developer_who_gives_an_idle_connection_up_leaves_it_to_the_app() {
    run_http(|f| {
        let daemon = f.daemon()?;
        let mut caller = caller_left_to_the_app(&f, &daemon)?;
        let calls = f.app.service().connections();
        // To the caller nothing has happened.
        assert_eq!(caller.get("/", &[DEBUG])?.tag, "laptop");
        assert_eq!(caller.get("/", &[])?.tag, "app");
        assert_eq!(f.app.service().connections(), calls);
        // How long he may be idle is the app's to say.
        f.app.service().close_connections();
        assert_eq!(caller.rest()?, b"");
        Ok(())
    });
}

#[test]
fn an_app_that_was_called_because_a_developer_gave_up_may_give_up_too() {
    run_http(|f| {
        let daemon = f.daemon()?;
        let mut caller = caller_left_to_the_app(&f, &daemon)?;
        f.app.service().close_connections();
        assert_eq!(caller.rest()?, b"");
        Ok(())
    });
}

#[test]
fn half_a_head_is_the_apps_to_wait_for() {
    run_http(|f| {
        let daemon = f.daemon()?;
        let mut caller = caller_with_half_a_head(&f, &daemon)?;
        caller.say(format!("st: web\r\n{DEBUG}\r\n\r\n"))?;
        assert_eq!(caller.answer(false)?.tag, "laptop");

        let mut caller = caller_with_half_a_head(&f, &daemon)?;
        f.app.service().close_connections();
        assert_eq!(caller.rest()?, b"", "the app has lost its patience");
        Ok(())
    });
}

/// The relay holds the end of an answer while its caller is slow. Which size makes it so is up to the kernel's buffers.
#[test]
fn a_caller_who_is_done_speaking_has_all_of_the_developers_answer() {
    run_http(|f| {
        const STEP: usize = 100 << 10;
        let _target =
            TcpService::start(&f.base.laptop, (f.base.laptop.ip4(), 4001), |mut stream, _| {
                let mut lines = BufReader::new(stream.try_clone()?).lines();
                while let Some(line) = lines.next().transpose()? {
                    let size =
                        line.split(' ').nth(1).and_then(|path| path[1..].parse().ok()).unwrap_or(0);
                    while lines.next().transpose()?.is_some_and(|line| !line.is_empty()) {}
                    write!(
                        stream,
                        "HTTP/1.1 200 OK\r\nX-Served-By: laptop\r\nContent-Length: {size}\r\n\r\n"
                    )?;
                    stream.write_all(&vec![b'x'; size])?;
                }
                Ok(())
            })?;
        let daemon =
            f.base.daemon_with(&format!("80 -> {}:4001 {WHEN}", f.base.laptop.ip4()), &[])?;
        for size in (1..80).map(|step| step * STEP) {
            let mut caller = caller_of_the_laptop_alone(&f, &daemon)?;
            caller.say(format!("GET /{size} HTTP/1.1\r\nHost: web\r\n{DEBUG}\r\n\r\n"))?;
            // Not to see something happen: to let nothing happen any more.
            std::thread::sleep(Duration::from_millis(15));
            caller.finish()?;
            let answer = caller.answer(false)?;
            assert_eq!(answer.body.len(), size);
            assert_eq!(caller.rest()?, b"");
        }
        Ok(())
    });
}

#[test]
fn an_idle_connection_of_a_developer_who_gives_it_up_ends_in_order_while_the_app_is_down() {
    run_http(|f| {
        let daemon = f.daemon()?;
        let mut caller = caller_of_the_laptop_alone(&f, &daemon)?;
        let HttpFixture { base, app, target } = f;
        drop(app);
        target.service().close_connections();
        assert_eq!(caller.rest()?, b"");
        drop(base);
        Ok(())
    });
}

#[test]
fn a_developer_serves_while_the_app_is_down() {
    run_http(|f| {
        let daemon = f.daemon()?;
        let mut caller = caller_of_the_laptop_alone(&f, &daemon)?;
        let HttpFixture { base, app, target } = f;
        drop(app);
        assert_eq!(caller.get("/", &[DEBUG])?.tag, "laptop");
        caller.say("GET / HTTP/1.1\r\nHost: web\r\n\r\n")?;
        caller.rest().expect_err("nobody serves it: as a caller is told whose server is gone");
        drop((base, target));
        Ok(())
    });
}
