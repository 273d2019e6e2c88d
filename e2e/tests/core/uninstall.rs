//! `helm uninstall` under load: nothing of the product remains, and no call fails.

use std::{collections::BTreeSet, fs, path::Path};

use anyhow::{Context as _, Result, ensure};
use interceptor_e2e::{Kind, Manifest, Pod, TIMEOUT, run};
use testbed::{bpf_inventory, wait_until};

/// The ids of the product's processes on this machine.
fn processes() -> Result<Vec<String>> {
    let mut found = Vec::new();
    for process in Path::new("/proc").read_dir().context("list /proc")?.flatten() {
        let name = fs::read_to_string(process.path().join("comm")).unwrap_or_default();
        let group = fs::read_to_string(process.path().join("cgroup")).unwrap_or_default();
        if name.trim() == "interceptor" && group.contains("/kubepods/") {
            found.push(process.file_name().to_string_lossy().into_owned());
        }
    }
    Ok(found)
}

/// The product's objects in the cluster, by kind and name.
fn objects(f: &interceptor_e2e::Fixture) -> Result<BTreeSet<String>> {
    let kinds = "clusterroles,clusterrolebindings,\
                 validatingadmissionpolicies,validatingadmissionpolicybindings";
    let wide = f.cluster.kubectl(&["get", kinds, "--output=name"])?;
    let own = "all,configmaps,serviceaccounts,secrets,roles,rolebindings";
    let own =
        f.cluster.kubectl(&["get", own, "--namespace=interceptor-system", "--output=name"])?;
    let defaults = ["configmap/kube-root-ca.crt", "serviceaccount/default"];
    let ours = wide.lines().filter(|name| name.contains("interceptor"));
    Ok(ours.chain(own.lines().filter(|name| !defaults.contains(name))).map(str::to_owned).collect())
}

#[test]
fn helm_uninstall_leaves_nothing_behind_and_fails_no_call() {
    run("uninstall", |f| {
        f.product.uninstall()?;
        let before = bpf_inventory()?;
        assert_eq!(objects(f)?, BTreeSet::new(), "an earlier release left objects behind");

        f.installed(&[])?;
        ensure!(!objects(f)?.is_empty(), "the release has no objects");
        let web = f.deployment("web", 2)?;
        let refused = f.start(Manifest::new(Kind::Pod, "refused"))?.pod()?;
        let pods = web.pods()?;
        let before_rule = pods.iter().map(Pod::snapshot).collect::<Result<Vec<_>>>()?;
        for pod in &pods {
            pod.annotate("debug.redirect", &f.to_laptop())?;
            pod.wait_active()?;
        }
        refused.annotate("debug.redirect", "8080 => x")?;
        refused.wait_refused("RuleInvalid")?;
        ensure!(bpf_inventory()? != before, "the kernel has no programs of the product");
        ensure!(!processes()?.is_empty(), "the product has no process");
        let load = f.load_on(&pods.iter().map(Pod::address).collect::<Vec<_>>())?;

        f.product.uninstall()?;
        wait_until("no process of the product", TIMEOUT, || {
            let left = processes()?;
            ensure!(left.is_empty(), "{left:?}");
            Ok(())
        })?;
        wait_until("programs, maps and links as before", TIMEOUT, || {
            let now = bpf_inventory()?;
            ensure!(now == before, "{now:?}, and before: {before:?}");
            Ok(())
        })?;
        // helm does not wait for the pod of its hook, which is deleted later.
        wait_until("no object of the product", TIMEOUT, || {
            let left = objects(f)?;
            ensure!(left.is_empty(), "{left:?}");
            Ok(())
        })?;
        for pod in pods.iter().chain([&refused]) {
            pod.wait_untouched()?;
            assert_eq!(pod.served_by()?, pod.name());
        }
        let events = f.events()?.lines().count();
        load.wait_for_calls(300)?;
        assert_eq!(f.events()?.lines().count(), events, "there are new Events");
        load.stop().assert_none_failed();
        let now = pods.iter().map(Pod::snapshot).collect::<Result<Vec<_>>>()?;
        assert_eq!(now, before_rule);
        Ok(())
    });
}

#[test]
fn helm_test_succeeds() {
    run("helm-test", |f| {
        f.installed(&[])?;
        let output = f.product.test()?;
        ensure!(output.contains("Succeeded"), "{output}");
        ensure!(output.matches("POD LOGS:").count() == 1, "{output}");
        Ok(())
    });
}
