//! What `docs/` says is complete and true, as far as a program can tell.

#![forbid(unsafe_code)]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    sync::Arc,
};

use anyhow::{Context as _, Result, ensure};
use clap::CommandFactory as _;
use interceptor::{
    admin::metrics,
    cli::Cli,
    config::{annotation::wrong_condition, policy::Policy},
    control::registry::Registry,
    datapath::Callers,
    exit::Exit,
    kubernetes::Cluster,
    relay::{stats::Piped, worker::Workers},
};
use interceptor_api::{
    Decision, Direction, EventOutcome, EventReason, Outcome, PodGroup, Reason, Server, Side, State,
};
use interceptor_condition::Condition;
use interceptor_deploy::values::Values;
use prometheus_client::{encoding::text::encode, metrics::histogram::Histogram};

fn read(path: &str) -> Result<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path);
    fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))
}

/// The rows of all tables in `text` whose first cell is code: the words in it, and the other cells.
fn rows(text: &str) -> Vec<(String, Vec<String>)> {
    let cells = |line: &str| -> Vec<String> {
        line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect()
    };
    let rows = text.lines().filter(|line| line.starts_with("| `")).map(cells);
    rows.map(|cells| (word(&cells[0]), cells[1..].to_vec())).collect()
}

/// The table below the heading `title` of `page`: the word in the first cell of each row, and the
/// cell after it.
fn table(page: &str, title: &str) -> Result<BTreeMap<String, String>> {
    let rows = rows(section(&read(page)?, title)?).into_iter();
    Ok(rows.map(|(word, cells)| (word, cells.first().cloned().unwrap_or_default())).collect())
}

/// The text without the backticks around it.
fn word(cell: &str) -> String {
    cell.trim_matches('`').to_owned()
}

/// The part of `text` below the heading `title`, up to the next of its level or above.
fn section<'a>(text: &'a str, title: &str) -> Result<&'a str> {
    let (_, below) =
        text.split_once(&format!("\n{title}\n")).with_context(|| format!("no `{title}`"))?;
    let level = title.chars().take_while(|c| *c == '#').count();
    let end =
        (1..=level).filter_map(|level| below.find(&format!("\n{} ", "#".repeat(level)))).min();
    Ok(&below[..end.unwrap_or(below.len())])
}

// --- annotations ---------------------------------------------------------------------------------

#[test]
fn every_reason_is_explained_with_its_status() -> Result<()> {
    let status = |reason| if reason == Reason::Intercepting { "True" } else { "False" };
    let reasons = Reason::ALL.map(|reason| (reason.to_string(), status(reason).to_owned()));
    assert_eq!(table("docs/annotations.md", "### Reasons")?, reasons.into());
    Ok(())
}

#[test]
fn every_event_is_explained_with_its_type() -> Result<()> {
    let type_ = |event: EventReason| if event.is_warning() { "Warning" } else { "Normal" };
    let events = EventReason::ALL.map(|event| (event.to_string(), type_(event).to_owned()));
    assert_eq!(table("docs/annotations.md", "### Events")?, events.into());
    Ok(())
}

#[test]
fn the_page_for_people_who_are_stuck_has_every_reason_event_and_exit_code() -> Result<()> {
    let page = read("docs/stuck.md")?;
    let first_cells = |title: &str| -> Result<BTreeSet<String>> {
        let rows = section(&page, title)?.lines().filter(|line| line.starts_with("| `"));
        let cells = rows.filter_map(|row| row.split('|').nth(1));
        Ok(cells.flat_map(|cell| cell.split(',')).map(|name| word(name.trim())).collect())
    };
    let reasons = Reason::ALL.iter().filter(|&&reason| reason != Reason::Intercepting);
    let reasons: BTreeSet<_> = reasons.map(ToString::to_string).collect();
    assert_eq!(first_cells("## The condition is False")?, reasons);
    assert!(
        section(&page, "## The condition is True, and my machine gets nothing")?
            .contains(&format!("`{}`", Reason::Intercepting))
    );
    let events: BTreeSet<_> = EventReason::ALL.iter().map(ToString::to_string).collect();
    assert_eq!(first_cells("## An Event appears")?, events);
    let codes: BTreeSet<_> = table("docs/cli.md", "## Exit codes")?.into_keys().collect();
    assert_eq!(first_cells("## A command ends with an exit code")?, codes);
    Ok(())
}

#[test]
fn every_example_is_a_rule() -> Result<()> {
    let docs = read("docs/annotations.md")?;
    let block = section(&docs, "## Rules")?;
    let examples = block.lines().filter_map(|line| line.strip_prefix("    "));
    // Not the grammar itself, and no commands.
    let is_rule =
        |line: &&str| !["[", "interceptor", "kubectl"].iter().any(|at| line.starts_with(at));
    let examples: Vec<_> = examples.filter(is_rule).collect();
    assert_eq!(examples.len(), 6, "{examples:?}");
    for example in examples {
        for rule in interceptor_rule::parse(example).with_context(|| example.to_owned())? {
            ensure!(wrong_condition(&rule).is_none(), "{example}");
        }
    }
    Ok(())
}

/// The commands that list what is redirected; `e2e` runs them.
#[test]
fn helm_shows_the_same_command_as_the_documentation() -> Result<()> {
    let docs = read("docs/annotations.md")?;
    let block = section(&docs, "### What is redirected here?")?;
    let mut commands = block.split("\n\n").filter(|block| block.starts_with("    "));
    let command = commands.next().context("no command")?;
    let notes = read("deploy/charts/interceptor/templates/NOTES.txt")?;
    ensure!(command.lines().count() == 5 && notes.contains(command), "{command}");
    Ok(())
}

#[test]
fn every_example_of_a_condition_is_one() -> Result<()> {
    let docs = read("docs/annotations.md")?;
    let block = section(&docs, "## Conditions")?;
    let examples = block.lines().filter_map(|line| line.strip_prefix("    "));
    let (commands, conditions): (Vec<_>, Vec<_>) =
        examples.partition(|line| line.starts_with("interceptor"));
    assert_eq!((commands.len(), conditions.len()), (2, 5), "{conditions:?}");
    for condition in conditions {
        Condition::compile(condition).with_context(|| condition.to_owned())?;
    }
    Ok(())
}

#[test]
fn every_decision_and_every_reason_for_a_pipe_is_explained() -> Result<()> {
    let docs = read("docs/metrics.md")?;
    let block = section(&docs, "## Conditions and shares")?;
    for decision in Decision::ALL {
        ensure!(block.contains(&format!("| `{}` |", decision.as_str())), "{}", decision.as_str());
    }
    for why in Piped::all() {
        ensure!(block.contains(&format!("`{}`", why.reason())), "{}", why.reason());
    }
    Ok(())
}

#[test]
fn every_label_value_is_explained() -> Result<()> {
    let docs = read("docs/metrics.md")?;
    let row = |metric: &str| {
        let row = docs.lines().find(|line| line.starts_with(&format!("| `{metric}` |")));
        row.with_context(|| format!("no row of {metric}"))
    };
    let words = |all: &[&'static str]| all.to_vec();
    for (metric, values) in [
        ("interceptor_bytes_total", words(&Direction::ALL.map(Direction::as_str))),
        ("interceptor_response_seconds", words(&Server::ALL.map(Server::as_str))),
        ("interceptor_rules", words(&State::ALL.map(State::as_str))),
        ("interceptor_pods", words(&PodGroup::ALL.map(PodGroup::as_str))),
        ("interceptor_events_total", words(&EventOutcome::ALL.map(EventOutcome::as_str))),
    ] {
        let row = row(metric)?;
        for value in values {
            ensure!(row.contains(&format!("`{value}`")), "{metric}: {value}");
        }
    }
    let block = section(&docs, "## Conditions and shares")?;
    for side in Side::ALL {
        ensure!(block.contains(&format!("`{side}`")), "{side}");
    }
    Ok(())
}

// --- metrics -------------------------------------------------------------------------------------

/// What a daemon in Kubernetes serves: the names of its metrics with their types.
fn served() -> Result<BTreeMap<String, String>> {
    let workers = Workers::start(1, 1)?;
    let cluster = Cluster::new(&Arc::new(Policy::default()));
    let shared = Arc::clone(workers.shared());
    let registry = metrics::registry(
        Arc::new(Registry::default()),
        shared,
        Arc::new(Callers::disabled()),
        Histogram::new([1.0]),
        Some(cluster),
    );
    let mut text = String::new();
    encode(&mut text, &registry)?;
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    types
        .map(|line| {
            let (name, kind) = line.split_once(' ').with_context(|| line.to_owned())?;
            // The counters' samples end in it, their family does not.
            let suffix = if kind == "counter" { "_total" } else { "" };
            Ok((format!("{name}{suffix}"), kind.to_owned()))
        })
        .collect()
}

#[test]
fn every_metric_is_explained_with_its_type() -> Result<()> {
    let docs = read("docs/metrics.md")?;
    let rows = rows(&docs).into_iter().filter(|(name, _)| name.starts_with("interceptor_"));
    let documented: BTreeMap<_, _> = rows.map(|(name, cells)| (name, cells[0].clone())).collect();
    assert_eq!(documented, served()?);
    Ok(())
}

#[test]
fn every_outcome_is_explained() -> Result<()> {
    let all: BTreeSet<_> = Outcome::ALL
        .map(|outcome| (outcome.outcome().to_owned(), outcome.reason().to_owned()))
        .into();
    let docs = read("docs/metrics.md")?;
    let rows = rows(section(&docs, "## Outcomes")?);
    let documented: BTreeSet<_> =
        rows.into_iter().map(|(outcome, cells)| (outcome, word(&cells[0]))).collect();
    assert_eq!(documented, all);
    Ok(())
}

#[test]
fn alerts_and_dashboard_ask_for_metrics_that_there_are() -> Result<()> {
    let served = served()?;
    for file in ["alerts/interceptor.yaml", "dashboards/interceptor.json"] {
        let text = read(&format!("deploy/charts/interceptor/{file}"))?;
        let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        let asked: BTreeSet<_> = words.filter(|word| word.starts_with("interceptor_")).collect();
        ensure!(asked.len() > 5, "{file}: {asked:?}");
        for name in asked {
            let known = |suffix| {
                name.strip_suffix(suffix)
                    .is_some_and(|name| served.get(name).is_some_and(|kind| kind == "histogram"))
            };
            ensure!(served.contains_key(name) || known("_bucket"), "{file}: {name}");
        }
    }
    Ok(())
}

#[test]
fn every_alert_has_a_remedy() -> Result<()> {
    let alerts: serde_json::Value =
        serde_saphyr::from_str(&read("deploy/charts/interceptor/alerts/interceptor.yaml")?)?;
    let rules = alerts["groups"]
        .as_array()
        .context("no groups")?
        .iter()
        .flat_map(|group| group["rules"].as_array());
    let names: BTreeSet<_> =
        rules.flatten().filter_map(|rule| Some(rule["alert"].as_str()?.to_owned())).collect();
    ensure!(!names.is_empty());
    let docs = read("docs/troubleshooting.md")?;
    let documented: BTreeSet<_> =
        rows(section(&docs, "## Alerts")?).into_iter().map(|(name, _)| name).collect();
    assert_eq!(documented, names);
    Ok(())
}

// --- all of them ---------------------------------------------------------------------------------

/// Pages beside those in `docs`.
const PAGES: [&str; 8] = [
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "README.md",
    "SECURITY.md",
    "bench/README.md",
    "deploy/charts/interceptor/README.md",
    "tests/README.md",
];

/// Every page, by its path in the repository.
fn pages() -> Result<BTreeSet<String>> {
    let mut pages: BTreeSet<_> = PAGES.map(str::to_owned).into();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    for folder in ["docs", "docs/adr"] {
        let Ok(entries) = fs::read_dir(root.join(folder)) else { continue };
        for entry in entries {
            let name = entry?.file_name().display().to_string();
            pages.extend(name.ends_with(".md").then(|| format!("{folder}/{name}")));
        }
    }
    ensure!(pages.len() > PAGES.len() + 4, "{pages:?}");
    Ok(pages)
}

/// As code hosts make them: lower case, dashes for blanks, no other signs.
fn anchor(title: &str) -> String {
    let kept = title.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.collect::<String>().to_lowercase().replace(' ', "-")
}

#[test]
fn the_example_of_a_policy_has_every_key() -> Result<()> {
    let docs = read("docs/policy.md")?;
    let block = section(&docs, "## Stand-alone")?;
    let (_, example) = block.split_once("```yaml\n").context("no example")?;
    let (example, _) = example.split_once("```").context("no end of the example")?;
    Policy::parse(example, "policy.md")?;
    let example: serde_json::Value = serde_saphyr::from_str(example)?;
    let example = example.as_object().context("no map")?;
    let keys = example.iter().flat_map(|(key, value)| match value.as_object() {
        Some(inner) => inner.keys().map(|inner| format!("{key}.{inner}")).collect(),
        None => vec![key.clone()],
    });
    let documented: BTreeSet<_> = rows(block).into_iter().map(|(key, _)| key).collect();
    assert_eq!(documented, keys.collect());
    Ok(())
}

#[test]
fn every_exit_code_is_explained() -> Result<()> {
    let codes = [
        Exit::Ok,
        Exit::Failure,
        Exit::Usage,
        Exit::Data,
        Exit::NoInput,
        Exit::Os,
        Exit::NoPermission,
    ];
    let codes: BTreeSet<_> = codes.map(|code| (code as u8).to_string()).into();
    let docs = read("docs/cli.md")?;
    let documented: BTreeSet<_> =
        rows(section(&docs, "## Exit codes")?).into_iter().map(|(code, _)| code).collect();
    assert_eq!(documented, codes);
    Ok(())
}

#[test]
fn every_option_of_the_daemon_is_explained() -> Result<()> {
    let command = Cli::command();
    let run = command.find_subcommand("run").context("no command `run`")?;
    let docs = read("docs/cli.md")?;
    let block = section(&docs, "## The daemon's options")?;
    for option in run.get_arguments().filter_map(|argument| argument.get_long()) {
        ensure!(block.contains(&format!("--{option}")), "--{option} is missing");
    }
    Ok(())
}

#[test]
fn links_lead_somewhere() -> Result<()> {
    for page in pages()? {
        let text = read(&page)?;
        for link in text.split("](").skip(1).filter_map(|rest| Some(rest.split_once(')')?.0)) {
            if link.contains("://") {
                continue;
            }
            let (file, part) = link.split_once('#').unwrap_or((link, ""));
            let folder = Path::new(&page).parent().context("a folder")?;
            let target = if file.is_empty() {
                page.clone()
            } else {
                folder.join(file).display().to_string()
            };
            let target = read(&target).with_context(|| format!("{page}: {link}"))?;
            let titles = target.lines().filter(|line| line.starts_with('#'));
            let mut anchors = titles.map(|line| anchor(line.trim_start_matches('#').trim()));
            ensure!(
                part.is_empty() || anchors.any(|one| one == part),
                "{page}: no heading for {link}"
            );
        }
    }
    Ok(())
}

#[test]
fn values_that_are_named_exist() -> Result<()> {
    let values = Values::parse(&read("deploy/charts/interceptor/values.yaml")?)?;
    let keys: BTreeSet<_> = values.entries().map(interceptor_deploy::values::Entry::key).collect();
    let tops: BTreeSet<_> = keys.iter().filter_map(|key| Some(key.split_once('.')?.0)).collect();
    for page in pages()? {
        let text = read(&page)?;
        for code in text.split('`').skip(1).step_by(2) {
            let name = code.split([':', ' ', '=']).next().unwrap_or_default();
            let Some((top, rest)) =
                name.split_once('.').filter(|(_, rest)| !["yaml", "rs"].contains(rest))
            else {
                continue;
            };
            let is_value = tops.contains(top)
                && !rest.is_empty()
                && rest.chars().all(|c| c.is_alphanumeric() || c == '.');
            ensure!(!is_value || keys.contains(name), "{page}: there is no value {name}");
        }
    }
    Ok(())
}

/// Every Rust file of the repository, by its path.
fn sources(folder: &Path, found: &mut Vec<String>) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| format!("read {}", folder.display()))? {
        let entry = entry?;
        let (path, name) = (entry.path(), entry.file_name().display().to_string());
        if entry.file_type()?.is_dir() {
            if name != "target" && !name.starts_with('.') {
                sources(&path, found)?;
            }
        } else if name.ends_with(".rs") {
            found.push(path.display().to_string());
        }
    }
    Ok(())
}

#[test]
fn files_that_are_named_exist() -> Result<()> {
    let mut files = Vec::new();
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join(".."), &mut files)?;
    let text = read("ARCHITECTURE.md")? + &read("CONTRIBUTING.md")?;
    let named = text.split('`').skip(1).step_by(2).filter(|code| code.ends_with(".rs"));
    let named: BTreeSet<_> = named.collect();
    ensure!(named.len() > 30, "{named:?}");
    let missing: Vec<_> = named
        .into_iter()
        .filter(|name| !files.iter().any(|file| file.ends_with(&format!("/{name}"))))
        .collect();
    ensure!(missing.is_empty(), "no such files: {missing:?}");
    Ok(())
}
