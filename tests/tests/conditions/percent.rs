//! `percent N`: the exact share of connections or requests that is redirected.

use interceptor_tests::{DEBUG_HEADER, WHEN_DEBUG, outcomes, run, sum};

use crate::{decided, run_http};

#[test]
fn the_share_of_connections_is_exact() {
    run(|f| {
        let daemon = f.daemon_with(&format!("{} percent 25", f.rule()), &[])?;
        let mut laptops = 0;
        for _ in 0..400 {
            laptops += u64::from(f.served_by()? == "laptop");
        }
        // The share is exact over 10,000 connections, and within one over fewer. The canary does
        // not count.
        assert!((99..=101).contains(&laptops), "{laptops}");
        assert_eq!(sum(&outcomes(&daemon, "web")?, "redirected"), laptops);
        assert_eq!(decided(&daemon, "outside_share")?, 400 - laptops);
        Ok(())
    });
}

#[test]
fn the_share_of_matching_requests_is_exact() {
    run_http(|f| {
        let _daemon = f.base.daemon_with(&f.rule(&format!("{WHEN_DEBUG} percent 10")), &[])?;
        let mut clients = [f.connect()?, f.connect()?];
        let mut laptops = 0;
        for turn in 0..500 {
            let client = &mut clients[turn % 2];
            laptops += u32::from(client.get("/", &[DEBUG_HEADER])?.tag == "laptop");
            assert_eq!(client.get("/", &[])?.tag, "app");
        }
        assert!((49..=51).contains(&laptops), "{laptops}");
        Ok(())
    });
}
