//! Tests of the address families for which the relay listens in a pod's network namespace.

#![forbid(unsafe_code)]

use interceptor::{
    netns::{HomeNetns, Netns},
    relay::listen::open_listeners,
};
use interceptor_common::steal::Family;
use testbed::netns_test;

#[test]
fn a_family_by_which_a_pod_is_called_and_that_can_not_be_served_is_an_error() {
    netns_test("listen", |t| {
        let home = HomeNetns::capture()?;
        let pod = t.pod("web")?;
        let netns = Netns::open(pod.netns_path(), home)?;
        let families = || -> anyhow::Result<Vec<Family>> {
            let opened = netns.enter(open_listeners)??;
            Ok(opened.into_iter().map(|(family, _)| family).collect())
        };
        assert_eq!(families()?, [Family::V4, Family::V6]);

        // The pod still has an IPv6 address. Without an error the rule would be active, but clients
        // of that address would reach the app.
        pod.sysctl("net/ipv6/conf/lo/disable_ipv6", "1")?;
        let error = families().expect_err("no ::1").to_string();
        assert!(error.contains("not ::1"), "{error}");

        pod.sysctl("net/ipv6/conf/all/disable_ipv6", "1")?;
        assert_eq!(families()?, [Family::V4]);
        Ok(())
    });
}
