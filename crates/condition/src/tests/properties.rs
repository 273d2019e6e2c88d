//! Compares our parser and evaluation with the crate `cel`, and tests properties of all conditions.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use cel::extensions;
use cel::{Context, Env, Value};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::request::Made;
use crate::{Condition, Facts, Needs};

/// Stack size for `cel`, whose parser needs a lot of it, in bytes.
const STACK: usize = 256 << 20;

const NAMES: [&str; 5] = ["x-user", "x-role", "user-agent", "accept", "host"];
const ATTRIBUTES: [&str; 7] = [
    "request.path",
    "request.url_path",
    "request.query",
    "request.host",
    "request.scheme",
    "request.useragent",
    "connection.requested_server_name",
];
const WORDS: [&str; 9] = ["", "a", "debug", "Debug", "/shop", "a,b", " a ", "42", "ä€"];

const TOKENS: [&str; 42] = [
    "source.port",
    "request.path",
    "request.method",
    "(",
    ")",
    "[",
    "]",
    "==",
    "!=",
    "<",
    ">",
    "&&",
    "||",
    "!",
    "-",
    "+",
    "*",
    "/",
    "%",
    "?",
    ":",
    ",",
    ".",
    "in",
    "true",
    "false",
    "1",
    "2",
    "0x1F",
    "'a'",
    "\"GET\"",
    "r'\\d'",
    "'''b'''",
    "request.headers",
    ".size()",
    ".startsWith(",
    ".matches(",
    "size(",
    "int(",
    "string(",
    "has(",
    "-1",
];

static ENV: LazyLock<Arc<Env>> = LazyLock::new(|| {
    let mut env = Env::stdlib();
    env.add_extension(extensions::strings).expect("declares nothing twice");
    Arc::new(env)
});

/// The result of `source` according to `cel`. `None`: the evaluation fails.
fn oracle(source: &str, request: &Made) -> Option<bool> {
    let program =
        ENV.compile(source).unwrap_or_else(|errors| panic!("{source:?} is no CEL: {errors}"));
    let facts = request.facts();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("is made of text");
    let mut headers: HashMap<String, String> = HashMap::new();
    for (name, value) in &request.headers {
        let value = text(value);
        headers
            .entry(name.to_ascii_lowercase())
            .and_modify(|joined| *joined = format!("{joined},{value}"))
            .or_insert(value);
    }
    if let Some(host) = &request.host {
        headers.insert("host".to_owned(), host.clone());
    }
    let path = request.path.clone();
    let (url_path, query) = path.split_once('?').unwrap_or((&path, ""));
    let mut attributes: HashMap<&str, Value> = HashMap::from([
        ("method", request.method.clone().into()),
        ("path", path.clone().into()),
        ("url_path", url_path.to_owned().into()),
        ("query", query.to_owned().into()),
        ("scheme", "http".to_owned().into()),
        ("protocol", request.protocol.to_owned().into()),
    ]);
    if let Some(host) = &request.host {
        attributes.insert("host", host.clone().into());
    }
    if let Some(agent) = headers.get("user-agent") {
        attributes.insert("useragent", agent.clone().into());
    }
    attributes.insert("headers", headers.into());
    let peer = |address: std::net::SocketAddr| -> HashMap<&str, Value> {
        HashMap::from([
            ("address", address.to_string().into()),
            ("port", i64::from(address.port()).into()),
        ])
    };
    let name: HashMap<&str, Value> = HashMap::from([(
        "requested_server_name",
        facts.server_name.unwrap_or_default().to_owned().into(),
    )]);

    let mut context = Context::with_env(ENV.clone());
    context.add_variable_from_value("request", attributes);
    context.add_variable_from_value("source", peer(facts.source));
    context.add_variable_from_value("destination", peer(facts.destination));
    context.add_variable_from_value("connection", name);
    match program.execute(&context) {
        Ok(Value::Bool(answer)) => Some(answer),
        Ok(other) => panic!("{source:?} is {other:?}"),
        Err(_) => None,
    }
}

// Generators of expressions as text, one per type. Only some operands have parentheses, to test
// that both parsers group the rest in the same way.

fn quoted(word: &str) -> String {
    format!("\"{word}\"")
}

fn headers() -> impl Strategy<Value = String> {
    prop_oneof![
        select(&NAMES[..]).prop_map(|name| format!("request.headers[{}]", quoted(name))),
        Just("request.headers.accept".to_owned()),
    ]
}

fn attributes() -> impl Strategy<Value = String> {
    select(&ATTRIBUTES[..]).prop_map(str::to_owned)
}

/// Texts that can be compared with each other. No comparison of them is refused.
fn texts(depth: u32) -> BoxedStrategy<String> {
    let leaf = prop_oneof![
        3 => headers(),
        2 => attributes(),
        2 => select(&WORDS[..]).prop_map(quoted),
        1 => select(&["source.address", "destination.address"][..])
            .prop_map(|name| format!("({name} + '')")),
    ];
    if depth == 0 {
        return leaf.boxed();
    }
    let inner = move || texts(depth - 1);
    prop_oneof![
        8 => leaf,
        1 => (inner(), inner()).prop_map(|(a, b)| format!("({a} + {b})")),
        1 => (inner(), select(&["lowerAscii", "upperAscii", "trim"][..]))
            .prop_map(|(a, f)| format!("{a}.{f}()")),
        1 => (inner(), -1..4).prop_map(|(a, index)| format!("{a}.split(\",\")[{index}]")),
        1 => numbers(depth - 1).prop_map(|a| format!("string({a})")),
        1 => (bools(depth - 1), inner(), inner())
            .prop_map(|(a, b, c)| format!("({a} ? {b} : {c})")),
    ]
    .boxed()
}

fn numbers(depth: u32) -> BoxedStrategy<String> {
    let leaf = prop_oneof![
        // The sum hides the port, so that the checker refuses no comparison with it.
        2 => select(&["source.port", "destination.port"][..])
            .prop_map(|name| format!("(0 + {name})")),
        2 => (-3i64..4).prop_map(|value| value.to_string()),
        1 => select(&[i64::MIN, i64::MAX][..]).prop_map(|value| value.to_string()),
    ];
    if depth == 0 {
        return leaf.boxed();
    }
    let inner = move || numbers(depth - 1);
    let row = (inner(), vec((select(&["+", "-", "*", "/", "%"][..]), inner()), 1..4)).prop_map(
        |(first, rest)| {
            rest.into_iter().fold(first, |row, (operator, next)| format!("{row} {operator} {next}"))
        },
    );
    prop_oneof![
        6 => leaf,
        2 => row.clone().prop_map(|row| format!("({row})")),
        1 => inner().prop_map(|a| format!("(-({a}))")),
        1 => texts(depth - 1).prop_map(|a| format!("size({a})")),
        1 => texts(depth - 1).prop_map(|a| format!("{a}.split(',').size()")),
        1 => texts(depth - 1).prop_map(|a| format!("int({a})")),
        1 => (bools(depth - 1), inner(), inner())
            .prop_map(|(a, b, c)| format!("({a} ? {b} : {c})")),
    ]
    .boxed()
}

fn bools(depth: u32) -> BoxedStrategy<String> {
    let text = move || texts(depth.saturating_sub(1));
    let number = move || numbers(depth.saturating_sub(1));
    let relation = select(&["==", "!=", "<", "<=", ">", ">="][..]);
    let items = vec(select(&WORDS[..]).prop_map(quoted), 1..4).prop_map(|items| items.join(", "));
    let pattern = select(&["^a", "d.b", "(?i)DEBUG", "[0-9]+$", "ä", ""][..]);
    let leaf = prop_oneof![
        4 => (text(), relation.clone(), text()).prop_map(|(a, r, b)| format!("{a} {r} {b}")),
        2 => (number(), relation, number()).prop_map(|(a, r, b)| format!("{a} {r} {b}")),
        3 => (text(), select(&["startsWith", "endsWith", "contains"][..]), text())
            .prop_map(|(a, f, b)| format!("{a}.{f}({b})")),
        2 => (text(), pattern).prop_map(|(a, p)| format!("{a}.matches({})", quoted(p))),
        2 => (text(), items).prop_map(|(a, items)| format!("{a} in [{items}]")),
        1 => (text(), vec(text(), 1..3))
            .prop_map(|(a, items)| format!("{a} in [{}]", items.join(","))),
        1 => (number(), vec(number(), 1..4))
            .prop_map(|(a, items)| format!("{a} in [{}]", items.join(","))),
        1 => (text(), text()).prop_map(|(a, b)| format!("{a} in {b}.split(\",\")")),
        1 => select(&NAMES[..]).prop_map(|name| format!("{} in request.headers", quoted(name))),
        1 => select(&["host", "useragent", "headers.accept", "headers.x_none", "path"][..])
            .prop_map(|name| format!("has(request.{name})")),
        1 => any::<bool>().prop_map(|value| value.to_string()),
    ];
    if depth == 0 {
        return leaf.boxed();
    }
    let inner = move || bools(depth - 1);
    let row =
        (inner(), vec((select(&["&&", "||"][..]), inner()), 1..4)).prop_map(|(first, rest)| {
            rest.into_iter().fold(first, |row, (operator, next)| format!("{row} {operator} {next}"))
        });
    prop_oneof![
        4 => leaf,
        3 => row.clone(),
        2 => row.prop_map(|row| format!("({row})")),
        2 => inner().prop_map(|a| format!("!({a})")),
        1 => (inner(), inner(), select(&["==", "!="][..]))
            .prop_map(|(a, b, r)| format!("(({a}) {r} ({b}))")),
        1 => (inner(), inner(), inner()).prop_map(|(a, b, c)| format!("({a} ? {b} : {c})")),
    ]
    .boxed()
}

fn requests() -> impl Strategy<Value = Made> {
    let word = || select(&WORDS[..]).prop_map(str::to_owned);
    let header = (
        select(&NAMES[..4]).prop_map(str::to_ascii_uppercase),
        word().prop_map(String::into_bytes),
    );
    let path =
        prop_oneof![(word(), word()).prop_map(|(path, query)| format!("{path}?{query}")), word(),];
    // Conditions compare a host without case, and `cel` does not: no host has letters of ASCII.
    let host = select(&["", "/", ",", " 42 ", "42", "ä€"][..]).prop_map(str::to_owned);
    (path, proptest::option::of(host), vec(header, 0..6)).prop_map(|(path, host, headers)| Made {
        path,
        host,
        headers,
        ..Made::with(&[])
    })
}

fn answer(condition: &Condition, facts: &Facts<'_>) -> Option<bool> {
    condition.matches(facts).ok()
}

/// Runs a property in a thread with enough stack for `cel`.
fn with_room(property: fn()) {
    let thread =
        std::thread::Builder::new().stack_size(STACK).spawn(property).expect("a thread starts");
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

#[test]
fn a_condition_has_the_value_that_cel_gives_it() {
    with_room(|| {
        proptest!(ProptestConfig::with_cases(3000), |(source in bools(3), request in requests())| {
            match Condition::compile(&source) {
                Ok(condition) => {
                    let ours = answer(&condition, &request.facts());
                    prop_assert_eq!(ours, oracle(&source, &request), "{}", source);
                }
                // Only we refuse constants without a value, and sources beyond a limit.
                Err(error) => {
                    let refused = ["this has no value", "more than", "at most", "compiles to over"]
                        .iter()
                        .any(|reason| error.problem().contains(reason));
                    prop_assert!(refused, "{}\n{}", error, error.caret(&source));
                }
            }
        });
    });
}

/// Any row of tokens that we accept is CEL and has the same structure there.
#[test]
fn a_row_of_tokens_has_the_value_that_cel_gives_it() {
    with_room(|| {
        let tokens = vec(select(&TOKENS[..]), 1..9);
        proptest!(ProptestConfig::with_cases(20_000), |(tokens in tokens)| {
            let source = tokens.join(" ");
            if let Ok(condition) = Condition::compile(&source) {
                let request = Made::with(&[("accept", b"a")]);
                let ours = answer(&condition, &request.facts());
                prop_assert_eq!(ours, oracle(&source, &request), "{}", source);
            }
        });
    });
}

/// More facts do not change a result, and the facts that a condition needs are enough for it.
#[test]
fn a_result_is_final() {
    proptest!(ProptestConfig::with_cases(3000), |(source in bools(3), request in requests())| {
        let Ok(condition) = Condition::compile(&source) else { return Ok(()) };
        let all = request.facts();
        let connection = Facts { server_name: None, request: None, ..all };
        let hello = Facts { request: None, ..all };
        let known = condition.matches(&all);
        for (needed, less) in [(Needs::Connection, connection), (Needs::ServerName, hello)] {
            let early = condition.matches(&less);
            if early.is_ok() || condition.needs() <= needed {
                prop_assert_eq!(early, known, "{}", source);
            }
        }
        if let Some(constant) = condition.constant() {
            prop_assert_eq!(known, Ok(constant));
        }
    });
}

/// Conditions of the same few parts, so that many pairs cover each other.
fn related() -> impl Strategy<Value = (String, String)> {
    let parts = vec(bools(1), 2..4);
    let shape = || {
        prop_oneof![
            Just("0"),
            Just("(0) && (1)"),
            Just("1 && 0"),
            Just("(0) || (1)"),
            Just("(1) || (0)"),
            Just("!(0)"),
            Just("!(!(0) || !(1))"),
            Just("(0) && ((1) || (2))"),
            Just("((0) && (1)) || ((0) && (2))"),
            Just("!((0) && (1))"),
            Just("(0) ? (1) : (2)"),
            Just("(0) == (1)"),
            Just("(1) == (0)"),
            Just("((0) || (1)) || (2)"),
            Just("true"),
        ]
    };
    (parts, shape(), shape()).prop_map(|(parts, one, other)| {
        let filled = |shape: &str| -> String {
            let part = |c: char| Some(&parts[(c.to_digit(10)? as usize).min(parts.len() - 1)]);
            shape
                .chars()
                .map(|c| part(c).map_or(c.to_string(), |part| format!("({part})")))
                .collect()
        };
        (filled(one), filled(other))
    })
}

/// What one condition covers, it matches, also if a part has no value.
#[test]
fn a_condition_matches_what_it_covers() {
    let covered = std::cell::Cell::new(0);
    proptest!(ProptestConfig::with_cases(6000), |(pair in related(), request in requests())| {
        let (Ok(one), Ok(other)) = (Condition::compile(&pair.0), Condition::compile(&pair.1)) else {
            return Ok(());
        };
        let (form, wider) = (one.form(), other.form());
        let facts = request.facts();
        prop_assert!(form == wider || one.source() != other.source());
        if form == wider {
            prop_assert_eq!(answer(&one, &facts), answer(&other, &facts), "{:?}", pair);
        }
        if wider.covers(&form) {
            covered.set(covered.get() + 1);
            if answer(&one, &facts) == Some(true) {
                prop_assert_eq!(answer(&other, &facts), Some(true), "{:?}", pair);
            }
        }
    });
    // Otherwise the property would say nothing.
    assert!(covered.get() > 500, "{}", covered.get());
}
