//! Which requests match a condition, and what a condition may look at.

use anyhow::ensure;
use interceptor_tests::{DEBUG_HEADER, HttpClient, TIMEOUT, counted, outcomes};
use rstest::rstest;
use testbed::{TcpService, wait_until};

use crate::{greeting, run_http};

#[test]
fn the_condition_selects_the_server_for_each_request_of_a_connection() {
    run_http(|f| {
        let daemon = f.daemon()?;
        let mut client = f.connect()?;
        for turn in 0..20 {
            let matching = turn % 3 == 1;
            let headers: &[&str] = if matching { &[DEBUG_HEADER] } else { &["X-User: other"] };
            let response = client.get("/x", headers)?;
            let tag = if matching { "laptop" } else { "app" };
            ensure!(response.tag == tag, "{turn}: {response:?}");
        }
        assert_eq!(
            f.app.service().connections(),
            1,
            "more than one connection to the app for one of the client"
        );
        assert_eq!(f.target.service().connections(), 1, "more than one connection to the target");
        assert_eq!((f.app.service().requests(), f.target.service().requests()), (13, 7));
        assert_eq!(outcomes(&daemon, "web")?, counted([("redirected", 1)]));
        Ok(())
    });
}

#[test]
fn a_client_without_matching_requests_causes_no_connection_to_the_target() {
    run_http(|f| {
        let daemon = f.daemon()?;
        let mut client = f.connect()?;
        for _ in 0..10 {
            assert_eq!(client.get("/x", &[])?.tag, "app");
        }
        drop(client);
        assert_eq!(f.target.service().connections(), 0);
        wait_until("the connection to be counted", TIMEOUT, || {
            ensure!(outcomes(&daemon, "web")? == counted([("passed/not_matched", 1)]));
            Ok(())
        })
    });
}

#[rstest]
#[case::path("when request.path.startsWith('/api/')", "/api/x", &[], "/x", &[])]
#[case::method(
    "when request.method == 'GET' && request.url_path == '/a'",
    "/a?b=1",
    &[],
    "/b",
    &[]
)]
#[case::query("when request.query == 'debug=1'", "/?debug=1", &[], "/", &[])]
#[case::host("when request.host == 'web'", "/", &[], "http://other/", &[])]
#[case::host_in_capitals("when request.host == 'Web.Test'", "http://WEB.test/", &[], "/", &[])]
#[case::several(
    "when request.headers['x-user'] in ['a', 'b']",
    "/",
    &["X-User: b"],
    "/",
    &["X-User: c"]
)]
#[case::regex(
    "when request.headers['cookie'].matches('user=debug(;|$)')",
    "/",
    &["Cookie: user=debug"],
    "/",
    &["Cookie: user=debugger"]
)]
#[case::missing("when !('x-user' in request.headers)", "/", &[], "/", &["X-User: "])]
fn a_condition_may_look_at(
    #[case] condition: &str,
    #[case] matching: &str,
    #[case] matching_headers: &[&str],
    #[case] other: &str,
    #[case] other_headers: &[&str],
) {
    run_http(|f| {
        let _daemon = f.base.daemon_with(&f.rule(condition), &[])?;
        let mut client = f.connect()?;
        for _ in 0..2 {
            assert_eq!(client.get(matching, matching_headers)?.tag, "laptop");
            assert_eq!(client.get(other, other_headers)?.tag, "app");
        }
        Ok(())
    });
}

#[test]
fn a_cookie_that_is_not_utf8_hides_no_other_cookie_and_no_length_does() {
    run_http(|f| {
        let rule = f.rule("when request.headers['cookie'].matches('(^|; )user=debug(;|$)')");
        let _daemon = f.base.daemon_with(&rule, &[])?;
        let mut client = f.connect()?;
        let odd = b"city=Z\xfcrich".to_vec();
        let long = [&b"a="[..], &[b'x'; 20_000]].concat();
        for first in [odd, long] {
            for (user, server) in [("debug", "laptop"), ("other", "app")] {
                let mut request = b"GET / HTTP/1.1\r\nHost: web\r\nCookie: ".to_vec();
                request.extend(&first);
                request.extend(format!("; user={user}\r\n\r\n").bytes());
                client.send(request)?;
                assert_eq!(client.response(false)?.tag, server);
            }
        }
        Ok(())
    });
}

#[test]
fn a_condition_on_addresses_needs_no_byte_of_the_client() {
    run_http(|f| {
        let condition = format!("when source.address.startsWith('{}:')", f.base.client.ip4());
        // The greeting of a server that speaks first arrives without a request.
        let _greeter =
            TcpService::greets_first(&f.base.laptop, (f.base.laptop.ip4(), 4001), "laptop")?;
        let rule = format!("80 -> {}:4001 {condition}", f.base.laptop.ip4());
        let daemon = f.base.daemon_with(&rule, &[])?;
        assert_eq!(greeting(&f.base, 80)?, "laptop");
        let mut other = HttpClient::connect(&f.base.laptop, (f.base.pod.ip4(), 80))?;
        assert_eq!(other.get("/", &[])?.tag, "app");
        drop(other);
        let expected = counted([("redirected", 1), ("passed/not_matched", 1)]);
        assert_eq!(outcomes(&daemon, "web")?, expected);
        Ok(())
    });
}
