//! Tests of the chart as a whole: lint, generated files, refused values, notes after the install.

use std::{
    fs,
    path::Path,
    process,
    sync::atomic::{AtomicUsize, Ordering},
};

use anyhow::{Context as _, Result, ensure};
use interceptor_deploy::{
    chart, generate,
    helm::{Helm, KUBE_VERSION},
    values::Values,
};
use rstest::rstest;
use serde_json::Value;

use crate::common::{only, render, render_with, scenarios, with_helm};

#[test]
fn helm_lint_finds_no_mistakes() {
    with_helm(|helm| {
        let folder = chart();
        for scenario in scenarios()? {
            let values = folder.join(format!("ci/{scenario}-values.yaml"));
            helm.run(&[
                "lint",
                "--strict",
                "--kube-version",
                KUBE_VERSION,
                &folder.to_string_lossy(),
                "--values",
                &values.to_string_lossy(),
            ])?;
        }
        Ok(())
    });
}

#[test]
fn generated_files_are_up_to_date() -> Result<()> {
    for file in generate(&chart())? {
        let text = fs::read_to_string(&file.path)?;
        assert!(text == file.text, "{} is out of date; run `cargo xtask gen`", file.path.display());
    }
    Ok(())
}

#[test]
fn the_chart_has_the_version_of_the_daemon() -> Result<()> {
    let text = fs::read_to_string(chart().join("Chart.yaml"))?;
    let about: Value = serde_saphyr::from_str(&text)?;
    assert_eq!(about["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(about["appVersion"], env!("CARGO_PKG_VERSION"));
    Ok(())
}

#[rstest]
#[case::unknown_key(&["polcy.dial=pod"], "additional properties 'polcy' not allowed")]
#[case::unknown_key_within(
    &["policy.targets.denied={}"],
    "additional properties 'denied' not allowed"
)]
#[case::unknown_word(&["policy.dial=host"], "value must be one of 'pod', 'node'")]
#[case::unknown_kind(
    &["policy.targets.allowReserved={public}"],
    "value must be one of 'loopback'"
)]
#[case::wrong_type(&["policy.maxRules=many"], "got string, want integer")]
#[case::too_small(&["policy.maxRules=0"], "minimum: got 0, want 1")]
#[case::no_unit(&["policy.connectTimeout=1"], "got number, want string")]
#[case::unknown_unit(&["policy.maxTtl=8x"], "does not match pattern")]
#[case::not_a_digest(&["image.digest=latest"], "does not match pattern")]
#[case::nothing_instead_of_everything(&["policy.targets.allow=null"], "missing property 'allow'")]
#[case::no_policy(&["policy=null"], "missing property 'policy'")]
#[case::unknown_resource(
    &["resources.limit.memory=1Gi"],
    "additional properties 'limit' not allowed"
)]
#[case::two_daemons_on_a_node(
    &["updateStrategy.rollingUpdate.maxSurge=1"],
    "additional properties 'maxSurge' not allowed"
)]
#[case::mount_that_needs_privilege(
    &[
        "extraVolumeMounts[0].name=a",
        "extraVolumeMounts[0].mountPath=/a",
        "extraVolumeMounts[0].mountPropagation=Bidirectional",
    ],
    "value must be one of 'None', 'HostToContainer'"
)]
fn a_wrong_value_is_refused_at_install(#[case] set: &[&str], #[case] message: &str) {
    with_helm(|helm| {
        let arguments: Vec<_> = set.iter().flat_map(|set| ["--set", set]).collect();
        let error = helm.template(&chart(), &arguments).expect_err("is wrong").to_string();
        ensure!(error.contains(message), "{error}");
        Ok(())
    });
}

#[test]
fn the_chart_can_be_a_part_of_another_chart() {
    with_helm(|helm| {
        // Helm sets `global` for a chart within a chart.
        helm.template(&chart(), &["--set", "global.registry=example"])?;
        Ok(())
    });
}

#[test]
fn a_cluster_of_an_old_version_is_refused() {
    with_helm(|helm| {
        let folder = chart();
        let folder = folder.to_string_lossy();
        let error = helm
            .run(&["template", "a", &folder, "--kube-version", "1.29.9"])
            .expect_err("is too old");
        ensure!(error.to_string().contains(">=1.30.0-0"), "{error}");
        Ok(())
    });
}

#[test]
fn the_operator_gets_the_alerts_with_the_values_applied() {
    with_helm(|helm| {
        let file: Value =
            serde_saphyr::from_str(&fs::read_to_string(chart().join("alerts/interceptor.yaml"))?)?;
        let objects = render_with(helm, &["--set", "prometheusRule.enabled=true"])?;
        assert_eq!(only(&objects, "PrometheusRule")?["spec"], file);

        let objects = render(helm, "monitoring")?;
        let rules = only(&objects, "PrometheusRule")?["spec"]["groups"][0]["rules"].clone();
        let rules = rules.as_array().context("no rules")?;
        assert_eq!(rules.len() + 1, file["groups"][0]["rules"].as_array().map_or(0, Vec::len));
        for rule in rules {
            ensure!(
                rule["alert"] != "InterceptorRulesRefused" && rule["labels"]["team"] == "platform",
                "{rule}"
            );
        }

        let objects =
            render_with(helm, &["--set", "prometheusRule.enabled=true,prometheusRule.job=mine"])?;
        let spec = only(&objects, "PrometheusRule")?["spec"].to_string();
        ensure!(
            spec.contains(r#"job=\"mine\""#) && !spec.contains(r#"job=\"interceptor\""#),
            "{spec}"
        );
        Ok(())
    });
}

#[test]
fn every_value_is_used() -> Result<()> {
    let values = Values::parse(&fs::read_to_string(chart().join("values.yaml"))?)?;
    let mut templates = String::new();
    let mut folders = vec![chart().join("templates")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else {
                templates += &fs::read_to_string(&path)?;
            }
        }
    }
    for entry in values.entries() {
        let (last, groups) = entry.path.split_last().context("a key has a name")?;
        let whole = format!(".Values.{}", entry.key());
        // The template uses `with .Values.group`, or renders the whole group as it is.
        let within = groups.first().is_some_and(|first| {
            let group = format!(".Values.{}", groups.join("."));
            first == "policy"
                || (templates.contains(&format!("with {group}"))
                    && templates.contains(&format!(".{last}")))
        });
        ensure!(templates.contains(&whole) || within, "no template uses {}", entry.key());
    }
    Ok(())
}

#[test]
fn the_notes_have_the_next_steps() {
    with_helm(|helm| {
        let plain = notes(helm, &[])?;
        for line in [
            "kubectl -n interceptor-system rollout status daemonset/interceptor",
            "helm test interceptor -n interceptor-system",
            "kubectl annotate pod POD debug.redirect='8080 -> YOUR-ADDRESS:3000'",
            "kubectl wait pod POD --for=condition=debug.redirect/Active",
            "exec daemonset/interceptor -- /interceptor status",
        ] {
            ensure!(plain.contains(line), "{line}: {plain}");
        }
        for word in ["WARNING", "rbac.create", "automount", "fromProc", "--admin"] {
            ensure!(!plain.contains(word), "{word}: {plain}");
        }
        for (set, words) in [
            ("admissionPolicy.create=false", "WARNING: admissionPolicy.create is false"),
            (
                "rbac.create=false",
                "give system:serviceaccount:interceptor-system:interceptor the rights",
            ),
            ("serviceAccount.automount=false", "The daemon exits at start"),
            ("netns.fromProc=true", "sees all processes"),
            ("admin.port=9470", "/interceptor status --admin 127.0.0.1:9470"),
            ("policy.namespaces=debug=allowed", "pods in namespaces with debug=allowed"),
        ] {
            let notes = notes(helm, &["--set", set])?;
            ensure!(notes.contains(words), "{set}: {notes}");
        }
        Ok(())
    });
}

/// The notes that Helm prints after an install.
///
/// `helm template` leaves the notes out, so a copy of the chart renders them as an object.
fn notes(helm: &Helm, more: &[&str]) -> Result<String> {
    static COPIES: AtomicUsize = AtomicUsize::new(0);
    let copy = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!(
        "notes-{}-{}",
        process::id(),
        COPIES.fetch_add(1, Ordering::Relaxed)
    ));
    fs::create_dir_all(copy.join("templates"))?;
    for file in ["Chart.yaml", "values.yaml", "templates/_helpers.tpl", "templates/NOTES.txt"] {
        fs::copy(chart().join(file), copy.join(file))?;
    }
    let object =
        "notes: |\n  {{- include (print $.Template.BasePath \"/NOTES.txt\") . | nindent 2 }}\n";
    fs::write(copy.join("templates/notes.yaml"), object)?;
    let text = helm.template(&copy, more);
    fs::remove_dir_all(&copy)?;
    let object: Value = serde_saphyr::from_str(&text?)?;
    Ok(object["notes"].as_str().context("no notes")?.to_owned())
}
