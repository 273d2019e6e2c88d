//! Renders the chart with a real Helm for all tests of the chart.
//!
//! Without Helm a test prints that it is skipped. In CI a missing Helm is a failure.

use std::{env, fs};

use anyhow::{Context as _, Result, bail, ensure};
use interceptor_deploy::{
    chart,
    helm::{Helm, HelmError},
};
use serde_json::Value;

/// Runs a test if Helm is installed.
#[track_caller]
pub(crate) fn with_helm(test: impl FnOnce(&Helm) -> Result<()>) {
    let helm = match Helm::find() {
        Ok(helm) => helm,
        Err(error @ HelmError::Missing) if env::var("CI").as_deref() != Ok("true") => {
            eprintln!("\nSKIPPED: {error}\n");
            return;
        }
        Err(error) => panic!("{error}"),
    };
    if let Err(error) = test(&helm) {
        panic!("{error:#}");
    }
}

/// Renders a release with the values of `ci/<scenario>-values.yaml`. Returns its objects.
pub(crate) fn render(helm: &Helm, scenario: &str) -> Result<Vec<Value>> {
    let file = chart().join(format!("ci/{scenario}-values.yaml"));
    render_with(helm, &["--values", &file.to_string_lossy()])
}

/// Renders a release with further arguments of `helm template`. Returns its objects.
pub(crate) fn render_with(helm: &Helm, more: &[&str]) -> Result<Vec<Value>> {
    let text = helm.template(&chart(), more)?;
    serde_saphyr::from_multiple(&text).context("helm renders YAML")
}

/// The names of the scenarios in `ci/`.
pub(crate) fn scenarios() -> Result<Vec<String>> {
    let mut scenarios = Vec::new();
    for entry in fs::read_dir(chart().join("ci"))? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        let Some(scenario) = name.strip_suffix("-values.yaml") else {
            bail!("ci/{name} is not called *-values.yaml")
        };
        scenarios.push(scenario.to_owned());
    }
    scenarios.sort();
    ensure!(!scenarios.is_empty(), "no scenarios");
    Ok(scenarios)
}

/// The only object of a kind, hooks excluded.
pub(crate) fn only<'a>(objects: &'a [Value], kind: &str) -> Result<&'a Value> {
    let found: Vec<_> = of_kind(objects, kind).collect();
    let [object] = found[..] else { bail!("{} objects of kind {kind}", found.len()) };
    Ok(object)
}

/// The objects of a kind, except for hooks and those of `helm test`.
pub(crate) fn of_kind<'a>(objects: &'a [Value], kind: &str) -> impl Iterator<Item = &'a Value> {
    let is_own = |object: &Value| !is_hook(object) && !is_of_test(object);
    objects.iter().filter(move |object| object["kind"] == kind && is_own(object))
}

/// Tells whether an object belongs to `helm test`.
pub(crate) fn is_of_test(object: &Value) -> bool {
    object["metadata"]["name"].as_str().is_some_and(|name| name.ends_with("-test"))
}

/// The first hook of a kind: an object that exists during `helm test` or `helm uninstall` only.
pub(crate) fn hook_of_kind<'a>(objects: &'a [Value], kind: &str) -> Result<&'a Value> {
    let mut found = objects.iter().filter(|object| object["kind"] == kind && is_hook(object));
    found.next().with_context(|| format!("no hook of kind {kind}"))
}

/// Tells whether an object is a hook, which exists during `helm test` or `helm uninstall` only.
pub(crate) fn is_hook(object: &Value) -> bool {
    object["metadata"]["annotations"]["helm.sh/hook"].is_string()
}
