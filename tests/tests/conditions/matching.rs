//! Which requests match a condition, and what a condition may look at.

use anyhow::ensure;
use interceptor_tests::{HttpClient, TIMEOUT, counted, outcomes};
use rstest::rstest;
use testbed::{TcpService, wait_until};

use crate::{DEBUG, greeting, run_http};

#[test]
fn each_request_on_a_kept_alive_connection_goes_where_it_is_wanted() {
    run_http(|f| {
        let daemon = f.daemon()?;
        let mut caller = f.caller()?;
        for turn in 0..20 {
            let matching = turn % 3 == 1;
            let headers: &[&str] = if matching { &[DEBUG] } else { &["X-User: somebody"] };
            let answer = caller.get("/x", headers)?;
            ensure!(answer.tag == if matching { "laptop" } else { "app" }, "{turn}: {answer:?}");
        }
        assert_eq!(
            f.app.service().connections(),
            1,
            "one connection to the app for the caller's one"
        );
        assert_eq!(f.target.service().connections(), 1, "and one to the laptop, kept");
        assert_eq!((f.app.service().requests(), f.target.service().requests()), (13, 7));
        assert_eq!(outcomes(&daemon, "web")?, counted([("redirected", 1)]));
        Ok(())
    });
}

#[test]
fn a_caller_who_never_matches_never_meets_the_laptop() {
    run_http(|f| {
        let daemon = f.daemon()?;
        let mut caller = f.caller()?;
        for _ in 0..10 {
            assert_eq!(caller.get("/x", &[])?.tag, "app");
        }
        drop(caller);
        assert_eq!(f.target.service().connections(), 0);
        wait_until("the connection to be counted", TIMEOUT, || {
            ensure!(outcomes(&daemon, "web")? == counted([("passed/not_matched", 1)]));
            Ok(())
        })
    });
}

#[rstest]
#[case::path("when request.path.startsWith('/api/')", "/api/x", &[], "/x", &[])]
#[case::method("when request.method == 'GET' && request.url_path == '/a'", "/a?b=1", &[], "/b", &[])]
#[case::query("when request.query == 'debug=1'", "/?debug=1", &[], "/", &[])]
#[case::host("when request.host == 'web'", "/", &[], "http://other/", &[])]
#[case::several("when request.headers['x-user'] in ['a', 'b']", "/", &["X-User: b"], "/", &["X-User: c"])]
#[case::regex("when request.headers['cookie'].matches('user=debug(;|$)')", "/", &["Cookie: user=debug"], "/", &["Cookie: user=debugger"])]
#[case::missing("when !('x-user' in request.headers)", "/", &[], "/", &["X-User: "])]
fn conditions_are_about(
    #[case] condition: &str,
    #[case] matching: &str,
    #[case] matching_headers: &[&str],
    #[case] other: &str,
    #[case] other_headers: &[&str],
) {
    run_http(|f| {
        let _daemon = f.base.daemon_with(&f.rule(condition), &[])?;
        let mut caller = f.caller()?;
        for _ in 0..2 {
            assert_eq!(caller.get(matching, matching_headers)?.tag, "laptop");
            assert_eq!(caller.get(other, other_headers)?.tag, "app");
        }
        Ok(())
    });
}

#[test]
fn a_condition_on_addresses_reads_no_byte() {
    run_http(|f| {
        let condition = format!("when source.address.startsWith('{}:')", f.base.client.ip4());
        // A server that speaks first could not wait for a request.
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
