//! Tests that the binary understands the command lines in the chart.

use anyhow::{Context as _, Result, bail};
use clap::Parser as _;
use interceptor::cli::{Cli, Command, Run};
use serde_json::Value;

use crate::common::{is_hook, only, render, render_with, scenarios, with_helm};

/// Parses the arguments of a container as the binary does, with the variables that the kubelet
/// substitutes.
fn read(container: &Value) -> Result<Command> {
    let arguments = container["args"].as_array().context("no arguments")?;
    let words: Vec<_> = arguments.iter().filter_map(Value::as_str).collect();
    // The arguments that the container gets by its environment, and not by substitution.
    let env = |name: &str| {
        let mut variables = container["env"].as_array().into_iter().flatten();
        let is_substituted = words.iter().any(|word| word.contains(&format!("$({name})")));
        variables.any(|variable| variable["name"] == name) && !is_substituted
    };
    let given =
        [("POD_NAME", "--pod=a"), ("POD_NAMESPACE", "--namespace=b"), ("POD_IP", "--ip=10.4.5.6")];
    let given = given.into_iter().filter(|(name, _)| env(name)).map(|(_, flag)| flag.to_owned());
    let substituted = words.iter().map(|word| {
        let word = word.replace("$(NODE_NAME)", "node1").replace("$(HOST_IP)", "10.1.2.3");
        word.replace("$(POD_NAME)", "daemon-1")
    });
    let words: Vec<_> =
        std::iter::once("interceptor".to_owned()).chain(substituted).chain(given).collect();
    Ok(Cli::try_parse_from(&words).with_context(|| words.join(" "))?.command)
}

fn daemon(objects: &[Value]) -> Result<Run> {
    match read(&only(objects, "DaemonSet")?["spec"]["template"]["spec"]["containers"][0])? {
        Command::Run(run) => Ok(run),
        other => bail!("the DaemonSet runs {other:?}"),
    }
}

#[test]
fn the_daemon_understands_its_arguments_in_every_scenario() {
    with_helm(|helm| {
        for scenario in scenarios()? {
            daemon(&render(helm, &scenario)?).context(scenario)?;
        }
        Ok(())
    });
}

#[test]
fn the_arguments_follow_the_values() {
    with_helm(|helm| {
        let run = daemon(&render(helm, "default")?)?;
        assert!(run.kubernetes);
        assert_eq!(run.node_name.as_deref(), Some("node1"));
        assert_eq!(run.admin.to_string(), "127.0.0.1:9469");
        assert_eq!(
            run.metrics.map(|address| address.to_string()).as_deref(),
            Some("10.1.2.3:9469")
        );
        assert_eq!(run.drain_timeout.as_secs(), 25);
        assert_eq!(run.workers, None);
        assert!(!run.proc_netns);

        let more = ["netns.fromProc=true", "workers=3", "drainSeconds=50", "metrics.port=9471"];
        let run = daemon(&render_with(helm, &["--set", &more.join(",")])?)?;
        assert!(run.proc_netns);
        assert_eq!(run.workers, Some(3));
        assert_eq!(run.drain_timeout.as_secs(), 50);
        assert_eq!(run.metrics.map(|address| address.port()), Some(9471));
        Ok(())
    });
}

#[test]
fn the_hooks_understand_their_arguments() {
    with_helm(|helm| {
        let objects = render(helm, "default")?;
        let mut seen = Vec::new();
        for hook in objects.iter().filter(|object| is_hook(object)) {
            let pod = match hook["kind"].as_str() {
                Some("Pod") => &hook["spec"],
                Some("Job") => &hook["spec"]["template"]["spec"],
                _ => continue,
            };
            match read(&pod["containers"][0])? {
                Command::Selftest(_) => seen.push("selftest"),
                Command::Uninstall(options) => {
                    seen.push("uninstall");
                    assert_eq!(options.daemonset, "interceptor");
                    assert_eq!(options.test_pod.as_deref(), Some("interceptor-test"));
                    // The Job waits longer than a daemon may take to shut down.
                    let daemon = &only(&objects, "DaemonSet")?["spec"]["template"]["spec"];
                    let grace = &daemon["terminationGracePeriodSeconds"];
                    assert!(grace.as_u64() < Some(options.timeout.as_secs()), "{grace}");
                }
                other => bail!("{} runs {other:?}", hook["kind"]),
            }
        }
        seen.sort_unstable();
        assert_eq!(seen, ["selftest", "uninstall"]);
        Ok(())
    });
}
