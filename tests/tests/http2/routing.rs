//! Which streams match a condition, and what a condition may look at.

use http::Request;
use rstest::rstest;

use crate::fixture::{answer, calling, run};

#[test]
fn streams_of_one_connection_go_where_the_rule_says() {
    run("h2-streams", |f| {
        let (app, target, _daemon) = (f.app()?, f.target()?, f.daemon()?);
        calling(async {
            let mut call = f.call().await?;
            for n in 0..20 {
                let is_debug = n % 3 == 1;
                let answer = call.get("/who", is_debug).await?;
                assert_eq!(answer.text, if is_debug { "laptop" } else { "app" }, "{n}");
                assert_eq!(answer.tag(), answer.text);
            }
            Ok(())
        })?;
        assert_eq!((app.seen.connections(), target.seen.connections()), (1, 1));
        assert_eq!((app.seen.requests().len(), target.seen.requests().len()), (13, 7));
        Ok(())
    });
}

#[rstest]
#[case("request.headers['cookie'] == 'a=1; b=2'")]
#[case("request.headers['x-many'] == 'first,second'")]
#[case("request.host == 'web.example:81' && request.scheme == 'http'")]
#[case("request.path == '/who?a=b' && request.url_path == '/who' && request.query == 'a=b'")]
#[case("request.protocol == 'HTTP/2' && request.method == 'POST'")]
fn conditions_see_what_there_is(#[case] condition: &str) {
    run("h2-when", |f| {
        let (_app, _target) = (f.app()?, f.target()?);
        let _daemon =
            f.daemon_with(&format!("8080 -> {}:3000 when {condition}", f.laptop.ip4()))?;
        calling(async {
            let mut call = f.call().await?;
            let request = Request::post("http://web.example:81/who?a=b")
                .header("cookie", "a=1")
                .header("cookie", "b=2")
                .header("x-many", "first")
                .header("x-many", "second")
                .body(())?;
            let (response, _) = call.open(request, true).await?;
            assert_eq!(answer(response).await?.text, "laptop");
            let other = Request::get("http://web/other").header("cookie", "a=1").body(())?;
            let (response, _) = call.open(other, true).await?;
            assert_eq!(answer(response).await?.text, "app");
            Ok(())
        })
    });
}
