//! Which streams match a condition, and what a condition may look at.

use http::Request;
use interceptor_tests::block_on;
use rstest::rstest;

use crate::fixture::{read_response, run};

#[test]
fn the_condition_selects_the_server_for_each_stream() {
    run("h2-streams", |f| {
        let (app, target, _daemon) = (f.app()?, f.target()?, f.daemon()?);
        block_on(async {
            let mut client = f.connect().await?;
            for n in 0..20 {
                let is_debug = n % 3 == 1;
                let response = client.get("/name", is_debug).await?;
                assert_eq!(response.text, if is_debug { "laptop" } else { "app" }, "{n}");
                assert_eq!(response.tag(), response.text);
            }
            Ok(())
        })?;
        assert_eq!((app.record.connections(), target.record.connections()), (1, 1));
        assert_eq!((app.record.requests().len(), target.record.requests().len()), (13, 7));
        Ok(())
    });
}

#[rstest]
#[case("request.headers['cookie'] == 'a=1; b=2'")]
#[case("request.headers['x-many'] == 'first,second'")]
#[case("request.host == 'web.example:81' && request.scheme == 'http'")]
#[case("request.path == '/name?a=b' && request.url_path == '/name' && request.query == 'a=b'")]
#[case("request.protocol == 'HTTP/2' && request.method == 'POST'")]
fn a_condition_may_look_at_all_parts_of_a_head(#[case] condition: &str) {
    run("h2-when", |f| {
        let (_app, _target) = (f.app()?, f.target()?);
        let _daemon =
            f.daemon_with(&format!("8080 -> {}:3000 when {condition}", f.hosts.laptop.ip4()))?;
        block_on(async {
            let mut client = f.connect().await?;
            let request = Request::post("http://web.example:81/name?a=b")
                .header("cookie", "a=1")
                .header("cookie", "b=2")
                .header("x-many", "first")
                .header("x-many", "second")
                .body(())?;
            let (response, _) = client.open(request, true).await?;
            assert_eq!(read_response(response).await?.text, "laptop");
            let other = Request::get("http://web/other").header("cookie", "a=1").body(())?;
            let (response, _) = client.open(other, true).await?;
            assert_eq!(read_response(response).await?.text, "app");
            Ok(())
        })
    });
}
