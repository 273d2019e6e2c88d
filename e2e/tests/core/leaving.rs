//! `helm uninstall`, under load: nothing of ours remains, and nobody notices.

use std::{collections::BTreeSet, fs, path::Path};

use anyhow::{Context as _, Result, ensure};
use interceptor_e2e::{Kind, Manifest, Pod, TIMEOUT, run};
use testbed::{bpf_inventory, wait_until};

/// The processes of the product on this machine, by name.
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

/// What the cluster has of the product, by kind and name.
fn objects(f: &interceptor_e2e::Fixture) -> Result<BTreeSet<String>> {
    let kinds = "clusterroles,clusterrolebindings,validatingadmissionpolicies,validatingadmissionpolicybindings";
    let wide = f.cluster.kubectl(&["get", kinds, "--output=name"])?;
    let own = "all,configmaps,serviceaccounts,secrets,roles,rolebindings";
    let own =
        f.cluster.kubectl(&["get", own, "--namespace=interceptor-system", "--output=name"])?;
    let defaults = ["configmap/kube-root-ca.crt", "serviceaccount/default"];
    let ours = wide.lines().filter(|name| name.contains("interceptor"));
    Ok(ours.chain(own.lines().filter(|name| !defaults.contains(name))).map(str::to_owned).collect())
}

#[test]
fn after_helm_uninstall_nothing_is_left_and_no_call_failed() {
    run("uninstall", |f| {
        f.product.uninstall()?;
        let before = bpf_inventory()?;
        assert_eq!(objects(f)?, BTreeSet::new(), "left by an earlier release");

        f.installed(&[])?;
        ensure!(!objects(f)?.is_empty(), "objects should be there now");
        let web = f.deployment("web", 2)?;
        let refused = f.start(Manifest::new(Kind::Pod, "refused"))?.pod()?;
        let pods = web.pods()?;
        let looked = pods.iter().map(Pod::looks).collect::<Result<Vec<_>>>()?;
        for pod in &pods {
            pod.annotate("debug.redirect", &f.to_laptop())?;
            pod.wait_active()?;
        }
        refused.annotate("debug.redirect", "8080 => x")?;
        refused.wait_refused("RuleInvalid")?;
        ensure!(bpf_inventory()? != before, "programs should be there now");
        ensure!(!processes()?.is_empty(), "a process should be there now");
        let callers = f.callers_of(&pods.iter().map(Pod::address).collect::<Vec<_>>())?;

        f.product.uninstall()?;
        wait_until("no process of the product", TIMEOUT, || {
            let left = processes()?;
            ensure!(left.is_empty(), "{left:?}");
            Ok(())
        })?;
        wait_until("programs, maps and links as before", TIMEOUT, || {
            let now = bpf_inventory()?;
            ensure!(now == before, "{now:?} and before {before:?}");
            Ok(())
        })?;
        // What helm does not wait for is collected: the pod of its hook.
        wait_until("no object of the product", TIMEOUT, || {
            let left = objects(f)?;
            ensure!(left.is_empty(), "{left:?}");
            Ok(())
        })?;
        for pod in pods.iter().chain([&refused]) {
            pod.wait_untouched()?;
            assert_eq!(pod.who()?, pod.name());
        }
        let events = f.events()?.lines().count();
        callers.wait_for_calls(300)?;
        assert_eq!(f.events()?.lines().count(), events, "Events go on");
        callers.stop().assert_none_failed();
        let looks = pods.iter().map(Pod::looks).collect::<Result<Vec<_>>>()?;
        assert_eq!(looks, looked);
        Ok(())
    });
}

#[test]
fn helm_test_proves_the_installation() {
    run("helm-test", |f| {
        f.installed(&[])?;
        let told = f.product.test()?;
        ensure!(told.contains("Succeeded"), "{told}");
        Ok(())
    });
}
