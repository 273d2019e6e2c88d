//! Clients and servers as people run them: through the daemon, they see what they see directly.
//!
//! This runs the covering set of the peer matrix. `cargo xtask peers` runs all of it.

#![forbid(unsafe_code)]

use std::{
    env,
    io::{self, Write as _},
};

use interceptor_peers::run::{Options, run};

/// The cells that differ for a known reason are in `peers/known.toml`.
#[test]
fn each_pair_of_real_peers_and_oddities_is_served_as_directly() {
    let Some(()) = testbed::require_root() else { return };
    let in_ci = env::var("CI").is_ok_and(|value| value == "true");
    let options = Options { covering: true, allow_missing: !in_ci, ..Options::default() };
    let report = run(&options).unwrap_or_else(|error| panic!("{error:#}"));
    // The test harness would hide the output of `eprintln` when the test passes.
    for missing in &report.missing {
        let _ = writeln!(io::stderr(), "\nSKIPPED peers: {missing}\n");
    }
    println!("{report}");
    assert!(report.failures.is_empty(), "{} failures, see above", report.failures.len());
    assert!(report.same > 0, "no cell was compared");
}
