//! Compares what all sides saw of a cell, directly and through the daemon.

use std::fmt;

use serde_json::{Value, json};

use crate::{
    lane::Seen,
    normal::normalise,
    oddity::{Oddity, User},
};

/// Maximum number of lines of a difference, for each side.
const MAXIMUM_LINES: usize = 6;

/// The records of one way, ready for comparison.
#[derive(Clone, Debug, PartialEq)]
pub struct Expected(Seen);

// === impl Expected ===

impl Expected {
    /// What has to be seen through the daemon, by what was seen directly. With `any_order`, the
    /// order of a server's records does not matter.
    pub fn from_direct(direct: Seen, oddity: &Oddity, any_order: bool) -> Self {
        let Seen { client, app, .. } = direct;
        let is_targets = |record: &Value| match oddity.user {
            User::None => false,
            User::Debug => true,
            User::Mixed => record["user"] == "debug",
        };
        let (target, app) = app.into_iter().partition(is_targets);
        Self(ready(Seen { client, app, target }, any_order))
    }

    /// What was seen through the daemon.
    pub fn from_relayed(mut relayed: Seen, oddity: &Oddity, any_order: bool) -> Self {
        if oddity.user != User::None {
            // The daemon may connect to the app before it knows who gets the request.
            relayed.app.retain(|record| record["received"] != "");
        }
        Self(ready(relayed, any_order))
    }

    /// Whether no server saw anything.
    pub fn is_empty(&self) -> bool {
        self.0.app.is_empty() && self.0.target.is_empty()
    }

    /// Whether a step of a script waited in vain.
    pub fn misses(&self) -> bool {
        let Seen { client, app, target } = &self.0;
        let misses = |record: &Value| record["missed"].as_array().is_some_and(|m| !m.is_empty());
        misses(client) || app.iter().chain(target).any(misses)
    }

    /// The lines that differ, side by side.
    pub fn difference(&self, relayed: &Self) -> Option<String> {
        if self == relayed {
            return None;
        }
        let sides = [
            ("client", pretty(&self.0.client), pretty(&relayed.0.client)),
            ("app", pretty(&self.0.app.clone().into()), pretty(&relayed.0.app.clone().into())),
            (
                "target",
                pretty(&self.0.target.clone().into()),
                pretty(&relayed.0.target.clone().into()),
            ),
        ];
        let mut text = String::new();
        for (side, direct, relayed) in sides.iter().filter(|(_, direct, relayed)| direct != relayed)
        {
            text += &format!("  {side}:\n");
            let lines =
                only_in(direct, relayed, "directly") + &only_in(relayed, direct, "relayed ");
            text += if lines.is_empty() { "    the same lines in another order\n" } else { &lines };
        }
        Some(text)
    }
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Seen { client, app, target } = &self.0;
        write!(f, "{:#}", json!({ "client": client, "app": app, "target": target }))
    }
}

fn ready(mut seen: Seen, any_order: bool) -> Seen {
    normalise(&mut seen.client);
    for records in [&mut seen.app, &mut seen.target] {
        records.iter_mut().for_each(normalise);
        if any_order {
            records.sort_by_key(Value::to_string);
        }
    }
    seen
}

fn pretty(value: &Value) -> Vec<String> {
    let text = serde_json::to_string_pretty(value).unwrap_or_default();
    text.lines().map(|line| line.trim().trim_end_matches(',').to_owned()).collect()
}

/// The lines of `one` that `other` does not have, as often.
fn only_in(one: &[String], other: &[String], how: &str) -> String {
    let mut rest = other.to_vec();
    let mut lines = Vec::new();
    for line in one {
        match rest.iter().position(|candidate| candidate == line) {
            Some(at) => drop(rest.remove(at)),
            None => lines.push(line),
        }
    }
    // Brackets alone show nothing.
    lines.retain(|line| line.chars().any(char::is_alphanumeric));
    let shown = lines.iter().take(MAXIMUM_LINES).map(|line| {
        let short: String = line.chars().take(400).collect();
        format!("    {how}: {short}\n")
    });
    shown.collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::oddity::{Job, Protocol};

    fn oddity(user: User) -> Oddity {
        Oddity {
            name: "test".into(),
            protocol: Protocol::Http1,
            clients: None,
            servers: None,
            user,
            app_is_down: false,
            app_stands_still: Duration::ZERO,
            any_order: false,
            client: Vec::new(),
            app: Vec::new(),
            job: Job::default(),
        }
    }

    fn seen(client: &str, app: &[&str], target: &[&str]) -> Seen {
        let records = |users: &[&str]| users.iter().map(|user| json!({ "user": user })).collect();
        Seen { client: client.into(), app: records(app), target: records(target) }
    }

    #[test]
    fn each_user_has_a_server_through_the_daemon() {
        let oddity = oddity(User::Mixed);
        let direct = Expected::from_direct(seen("ok", &["debug", "other"], &[]), &oddity, false);
        let right = Expected::from_relayed(seen("ok", &["other"], &["debug"]), &oddity, false);
        assert_eq!(direct.difference(&right), None);
        for wrong in [
            seen("ok", &["debug", "other"], &[]),
            seen("ok", &["other"], &["debug", "debug"]),
            seen("ok", &[], &["debug", "other"]),
            seen("error", &["other"], &["debug"]),
        ] {
            let wrong = Expected::from_relayed(wrong, &oddity, false);
            assert!(direct.difference(&wrong).is_some(), "{wrong}");
        }
    }

    #[test]
    fn the_app_of_a_developers_call_may_see_a_connection_without_bytes_only() {
        let oddity = oddity(User::Debug);
        let bytes = |bytes: &str| vec![json!({ "received": bytes, "missed": [] })];
        let direct = Seen { client: "ok".into(), app: bytes("GET"), target: Vec::new() };
        let direct = Expected::from_direct(direct, &oddity, false);
        let relayed = |app: &str| {
            let seen = Seen { client: "ok".into(), app: bytes(app), target: bytes("GET") };
            Expected::from_relayed(seen, &oddity, false)
        };
        assert_eq!(direct.difference(&relayed("")), None);
        assert!(direct.difference(&relayed("G")).is_some());
    }
}
