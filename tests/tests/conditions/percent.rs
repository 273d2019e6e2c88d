//! `percent N`: the exact share of connections or requests that is redirected.

use interceptor_tests::{outcomes, run, sum};

use crate::{DEBUG, WHEN, decided, run_http};

#[test]
fn a_share_of_connections_is_exact() {
    run(|f| {
        let daemon = f.daemon_with(&format!("{} percent 25", f.rule()), &[])?;
        let mut laptops = 0;
        for _ in 0..400 {
            laptops += u64::from(f.served_by()? == "laptop");
        }
        // Exact over 10 000, and to the next whole one over fewer. The probe that proved the rule was not asked.
        assert!((99..=101).contains(&laptops), "{laptops}");
        assert_eq!(sum(&outcomes(&daemon, "web")?, "redirected"), laptops);
        assert_eq!(decided(&daemon, "outside_share")?, 400 - laptops);
        Ok(())
    });
}

#[test]
fn a_share_of_matching_requests_is_exact() {
    run_http(|f| {
        let _daemon = f.base.daemon_with(&f.rule(&format!("{WHEN} percent 10")), &[])?;
        let mut callers = [f.caller()?, f.caller()?];
        let mut laptops = 0;
        for turn in 0..500 {
            let caller = &mut callers[turn % 2];
            laptops += u32::from(caller.get("/", &[DEBUG])?.tag == "laptop");
            assert_eq!(caller.get("/", &[])?.tag, "app");
        }
        assert!((49..=51).contains(&laptops), "{laptops}");
        Ok(())
    });
}
