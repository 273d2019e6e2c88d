//! Tests of finding a pod's network namespace by its address, for any name of the namespace.

#![forbid(unsafe_code)]

use std::{
    fs,
    net::IpAddr,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result};
use interceptor::netns::{HomeNetns, Netns, NetnsError, finder::Finder};
use testbed::{Namespace, Topology, netns_test, wait_until};

/// A folder like that of a container runtime. It has links to this test's namespaces only, because
/// namespaces of other tests have the same addresses.
struct Folder(PathBuf);

impl Folder {
    fn new(t: &Topology) -> Result<Self> {
        let path = t.dir().join("netns");
        fs::create_dir(&path)?;
        Ok(Self(path))
    }

    fn add(&self, name: &str, namespace: &Namespace) -> Result<()> {
        Ok(symlink(namespace.netns_path(), self.0.join(name))?)
    }

    fn finder(&self, home: &'static HomeNetns) -> Finder {
        Finder::new(vec![PathBuf::from("/nowhere"), self.0.clone()], false, home)
    }
}

fn found(netns: &Netns) -> Option<&str> {
    netns.path().file_name()?.to_str()
}

/// The name of the namespace with the address `ip`. Waits, because the finder limits how often it
/// searches.
fn find_soon(finder: &Finder, ip: IpAddr) -> Result<String> {
    find_all_soon(finder, &[ip])
}

fn find_all_soon(finder: &Finder, ips: &[IpAddr]) -> Result<String> {
    let mut name = None;
    wait_until("the next look", Duration::from_secs(5), || {
        name = finder.find(ips).ok().and_then(|netns| found(&netns).map(str::to_owned));
        name.is_some()
    })?;
    name.context("a name")
}

fn ips(pod: &Namespace) -> (IpAddr, IpAddr) {
    (pod.ip4().into(), pod.ip6().into())
}

#[test]
fn a_pod_is_found_by_any_of_its_addresses_whatever_the_name() {
    netns_test("find", |t| {
        let (web, cart, folder) = (t.pod("web")?, t.pod("cart")?, Folder::new(t)?);
        folder.add("cni-7c1c9a3e-1b5c-4c0e-b7f5-0e2f6a7c1d11", &web)?;
        folder.add("1a2b3c4d5e6f", &cart)?;
        fs::write(folder.0.join("not-a-namespace"), "")?;
        let finder = folder.finder(HomeNetns::capture()?);

        let (ip4, ip6) = ips(&web);
        for ips in [vec![ip4], vec![ip6], vec![ip4, ip6]] {
            assert_eq!(
                found(&finder.find(&ips)?),
                Some("cni-7c1c9a3e-1b5c-4c0e-b7f5-0e2f6a7c1d11")
            );
        }
        assert_eq!(found(&finder.find(&[ips(&cart).0])?), Some("1a2b3c4d5e6f"));
        Ok(())
    });
}

#[test]
fn a_pod_that_is_not_there_yet_is_found_when_it_is() {
    netns_test("later", |t| {
        let (web, folder) = (t.pod("web")?, Folder::new(t)?);
        let finder = folder.finder(HomeNetns::capture()?);
        let (ip4, _) = ips(&web);
        let error = finder.find(&[ip4]).expect_err("nothing is there");
        assert!(matches!(error, NetnsError::NoneHasAddress { .. }));
        assert!(error.to_string().contains(&ip4.to_string()), "{error}");

        folder.add("a", &web)?;
        assert_eq!(find_soon(&finder, ip4)?, "a");
        Ok(())
    });
}

#[test]
fn what_was_remembered_is_not_believed() {
    netns_test("anew", |t| {
        let (web, cart, folder) = (t.pod("web")?, t.pod("cart")?, Folder::new(t)?);
        folder.add("a", &web)?;
        let finder = folder.finder(HomeNetns::capture()?);
        assert_eq!(found(&finder.find(&[ips(&web).0])?), Some("a"));

        // The sandbox is made again: the address moves to another namespace with another name.
        fs::remove_file(folder.0.join("a"))?;
        folder.add("a", &cart)?;
        assert!(finder.find(&[ips(&web).0]).is_err());
        folder.add("b", &web)?;
        assert_eq!(find_soon(&finder, ips(&web).0)?, "b");
        Ok(())
    });
}

#[test]
fn an_address_in_two_namespaces_identifies_none() {
    netns_test("twice", |t| {
        let (web, cart, folder) = (t.pod("web")?, t.pod("cart")?, Folder::new(t)?);
        let (ip4, _) = ips(&web);
        cart.ip(&format!("addr add {ip4}/32 dev lo"))?;
        folder.add("a", &web)?;
        folder.add("b", &cart)?;
        let error = folder.finder(HomeNetns::capture()?).find(&[ip4]).expect_err("which of them?");
        assert!(matches!(error, NetnsError::Ambiguous { .. }), "{error}");
        // The set of all addresses of the pod is unambiguous.
        let (ip4, ip6) = ips(&web);
        assert_eq!(find_all_soon(&folder.finder(HomeNetns::capture()?), &[ip4, ip6])?, "a");
        Ok(())
    });
}

#[test]
fn a_namespace_that_was_left_behind_is_not_taken_for_the_pods() {
    netns_test("left", |t| {
        let (old, web, folder) = (t.pod("old")?, t.pod("web")?, Folder::new(t)?);
        let finder = folder.finder(HomeNetns::capture()?);
        let (ip4, _) = ips(&web);
        old.ip(&format!("addr add {ip4}/32 dev lo"))?;
        folder.add("old", &old)?;
        assert_eq!(found(&finder.find(&[ip4])?), Some("old"), "no other namespace has the address");
        folder.add("new", &web)?;
        let error = finder.find(&[ip4]).expect_err("which of them?");
        assert!(matches!(error, NetnsError::Ambiguous { .. }), "{error}");
        fs::remove_file(folder.0.join("old"))?;
        assert_eq!(found(&finder.find(&[ip4])?), Some("new"));
        Ok(())
    });
}

#[test]
fn the_nodes_own_namespace_is_never_a_pods() {
    netns_test("own", |t| {
        let folder = Folder::new(t)?;
        symlink(Path::new("/proc/self/ns/net"), folder.0.join("default")).context("a link")?;
        let home = HomeNetns::capture()?;
        // Addresses of the node: one that it may have, and loopback.
        let own = ["10.99.0.1", "127.0.0.1"].map(|ip| ip.parse::<IpAddr>().expect("an address"));
        assert!(folder.finder(home).find(&own).is_err());
        Ok(())
    });
}
