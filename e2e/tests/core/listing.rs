//! The commands of the documentation that list what is redirected.

use std::{fs, path::Path};

use anyhow::{Context as _, Result, ensure};
use interceptor_e2e::{Kind, Manifest, run};

/// The commands below a heading of `docs/annotations.md`, block by block.
fn commands() -> Result<Vec<String>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/annotations.md");
    let docs = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    let (_, below) = docs.split_once("### What is redirected here?").context("the heading")?;
    let (section, _) = below.split_once("\n### ").context("the next heading")?;
    let blocks = section.split("\n\n").filter(|block| block.starts_with("    "));
    Ok(blocks.map(|block| block.replace("\n    ", "\n").trim_start().to_owned()).collect())
}

#[test]
fn the_commands_of_the_documentation_list_every_rule_with_its_state() {
    run("listing", |f| {
        f.installed(&[])?;
        let plain = f.start(Manifest::new(Kind::Pod, "plain"))?.pod()?;
        let shared = f.start(Manifest::new(Kind::Pod, "shared"))?.pod()?;
        f.start(Manifest::new(Kind::Pod, "bystander"))?;
        plain.annotate("debug.redirect", &f.to_laptop())?;
        shared.annotate("debug.redirect/alice", &f.to_laptop())?;
        shared.annotate("debug.redirect/bob", "8080 -> 127.0.0.1:3000")?;
        plain.wait_active()?;
        shared.wait_refused("TargetDenied")?;

        let commands = commands()?;
        let [columns, template] = &commands[..] else { anyhow::bail!("{commands:?}") };
        let columns = f.cluster.shell(columns)?;
        let row = |name: &str| {
            let mut rows = columns.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
            rows.find(|row| row.get(1) == Some(&name)).with_context(|| columns.clone())
        };
        let rule = f.to_laptop();
        let words: Vec<&str> = rule.split(' ').collect();
        ensure!(
            row("plain")?.starts_with(
                &[&[f.namespace(), "plain"], &words[..], &["True", "Intercepting"]].concat()
            ),
            "{columns}"
        );
        ensure!(
            row("shared")?.starts_with(&[
                f.namespace(),
                "shared",
                "<none>",
                "False",
                "TargetDenied"
            ]),
            "{columns}"
        );
        ensure!(!columns.contains("bystander"), "{columns}");

        let listed = f.cluster.shell(template)?;
        let (namespace, rule) = (f.namespace(), f.to_laptop());
        for line in [
            format!("{namespace}/plain debug.redirect: {rule}"),
            format!("{namespace}/plain debug.redirect/Active: True Intercepting"),
            format!("{namespace}/shared debug.redirect/alice: {rule}"),
            format!("{namespace}/shared debug.redirect/bob: 8080 -> 127.0.0.1:3000"),
            format!("{namespace}/shared debug.redirect/Active-alice: True Intercepting"),
            format!("{namespace}/shared debug.redirect/Active-bob: False TargetDenied"),
        ] {
            ensure!(listed.lines().any(|have| have == line), "no {line:?} in {listed}");
        }
        ensure!(!listed.contains("bystander"), "{listed}");
        Ok(())
    });
}
