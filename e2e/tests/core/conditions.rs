//! A rule with a condition takes the requests that match, one by one, and leaves everybody else alone.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
};

use anyhow::{Context as _, Result, ensure};
use interceptor_e2e::{Kind, Manifest, on_laptop, play};

/// Asks several times on one connection, as these users; gives who answered each, and the callers that they saw.
pub(crate) fn ask(to: SocketAddr, users: &[&str]) -> Result<Vec<(String, String)>> {
    on_laptop(|| {
        let mut stream = TcpStream::connect(to)?;
        let mut answers = BufReader::new(stream.try_clone()?);
        users
            .iter()
            .map(|user| {
                write!(stream, "GET / HTTP/1.1\r\nHost: app\r\nX-User: {user}\r\n\r\n")?;
                let (mut line, mut length) = (String::new(), 0);
                while line != "\r\n" {
                    line.clear();
                    ensure!(answers.read_line(&mut line)? > 0, "the connection ended");
                    if let Some(value) = line.strip_prefix("Content-Length: ") {
                        length = value.trim().parse()?;
                    }
                }
                let mut body = vec![0; length];
                answers.read_exact(&mut body)?;
                let body = String::from_utf8(body)?;
                let mut words = body.split_ascii_whitespace().map(str::to_owned);
                words.next().zip(words.next()).with_context(|| format!("an answer {body:?}"))
            })
            .collect()
    })
}

#[test]
fn only_the_requests_that_match_reach_the_laptop_and_the_app_sees_its_caller() {
    play("conditions", |s| {
        s.installed(&[])?;
        let app = s.start(Manifest::new(Kind::Pod, "app").on("node1"))?.pod()?;
        let callers = s.callers(app.address())?;
        let rule = format!("{} when request.headers[\"x-user\"] == \"debug\"", s.to_laptop());
        app.annotate("debug.redirect/alice", &rule)?;
        app.wait_for("condition=debug.redirect/Active-alice")?;

        let users = ["debug", "somebody", "debug", "somebody"];
        let answers = ask(app.address(), &users)?;
        let tags: Vec<_> = answers.iter().map(|(tag, _)| tag.as_str()).collect();
        assert_eq!(tags, ["laptop", app.name(), "laptop", app.name()]);
        let directly = app.ask()?.peer.context("no address in the answer")?.ip();
        for (_, peer) in answers.iter().filter(|(tag, _)| tag == app.name()) {
            ensure!(peer.parse::<SocketAddr>()?.ip() == directly, "{peer}, not {directly}");
        }
        // A wrong condition is refused with its place, and the rule that was there stays.
        app.annotate("debug.redirect/alice", &rule.replace("headers", "header"))?;
        let refused = app.wait_refused("RuleInvalid")?;
        ensure!(refused.message.contains("headers"), "{}", refused.message);
        assert_eq!(ask(app.address(), &["debug"])?[0].0, "laptop");

        app.unannotate("debug.redirect/alice")?;
        app.wait_untouched()?;
        assert_eq!(ask(app.address(), &["debug"])?[0].0, app.name());
        let calls = callers.stop();
        calls.assert_none_failed();
        assert_eq!(calls.by("laptop"), 0, "{calls}");
        Ok(())
    });
}
