//! Properties of every text and every rule.

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU16;
use std::time::Duration;

use proptest::collection::{hash_set, vec};
use proptest::option;
use proptest::prelude::*;

use crate::ast::{Condition, Percent, Places};
use crate::*;

fn number() -> impl Strategy<Value = NonZeroU16> {
    any::<NonZeroU16>()
}

fn port() -> impl Strategy<Value = Port> {
    prop_oneof![number().prop_map(Port::tcp), number().prop_map(Port::udp)]
}

fn target() -> impl Strategy<Value = Target> {
    prop_oneof![
        (any::<IpAddr>(), number())
            .prop_map(|(ip, port)| Target::Address(SocketAddr::new(ip, port.get()))),
        ("[a-zA-Z0-9_]([a-z0-9-]{0,20}[a-z0-9])?(\\.[a-z][a-z0-9]{0,9}){1,3}\\.?", number())
            .prop_filter_map("an address-like name", |(host, port)| Some(Target::Name {
                host: HostName::new(&host).ok()?,
                port
            })),
        "[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?".prop_filter_map("no letter", |name| SessionName::new(
            &name
        )
        .ok()
        .map(Target::Session)),
    ]
}

/// Expressions of parts that might confuse the search for the end of a condition.
fn condition() -> impl Strategy<Value = Condition> {
    let piece = prop_oneof![
        Just("request.ttl"),
        Just("'; ttl 5m'"),
        Just("\" when \\\" \""),
        Just("r'\\'"),
        Just("\"\"\"a \" \n b\"\"\""),
        Just("[1, 2; 3]"),
        Just("f(with ttl)"),
        Just("{'a': percent}"),
        Just("=="),
        Just("ü"),
        Just("/"),
    ];
    vec(piece, 1..6).prop_map(|pieces| Condition::new(&pieces.join(" ")))
}

fn rule() -> impl Strategy<Value = Rule> {
    let ports = option::of(hash_set(port(), 1..=MAX_PORTS)).prop_map(|ports| match ports {
        None => Ports::Declared,
        Some(ports) => Ports::Listed(ports.into_iter().collect()),
    });
    let percent = (1..=1_000_000_u32)
        .prop_map(|parts| Percent::from_parts_per_million(parts).expect("is in range"));
    let ttl = prop_oneof![
        (MIN_TTL.as_secs()..=MAX_TTL.as_secs()).prop_map(Duration::from_secs),
        (MIN_TTL.as_nanos() as u64..=MAX_TTL.as_nanos() as u64).prop_map(Duration::from_nanos),
    ];
    (
        ports,
        target(),
        option::of(condition()),
        option::of(percent),
        option::of(ttl),
        option::of(Just(ProxyProtocol::V2)),
        prop_oneof![Just(Local::ExceptChecks), Just(Local::ToApp), Just(Local::ToTarget)],
    )
        .prop_map(|(ports, target, when, percent, ttl, proxy_protocol, local)| {
            let nowhere = Span::new(0, 0);
            let places =
                Places { rule: nowhere, udp: None, target: nowhere, when: None, percent: None };
            Rule { ports, target, when, percent, ttl, proxy_protocol, local, places }
        })
}

/// Texts that are close to rules, so that the test reaches every branch of the parser.
fn nearly_rules() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        8 => proptest::sample::select(vec![
            "8080", "80", "53/udp", "/udp", ",", "->", "=>", "-", ">", "→", ":", "[", "]", "::1",
            "10.0.0.1", "a",
            "laptop.example", ":3000", ";", "when", "percent", "ttl", "with", "proxy-v2", "local-to-app", "5",
            ".5", "8h", "'", "\"", "\\", "r'", "(", ")", "{", "}", "//", "://", "/", "%", " ",
            " ", " ", "\n", "\t", "ü", "🦀", "\u{202e}", "\0",
        ]).prop_map(str::to_owned),
        1 => any::<String>(),
    ];
    vec(piece, 0..24).prop_map(|pieces| pieces.concat())
}

fn check_error(text: &str, error: &ParseError) {
    let span = error.span();
    assert!(span.start <= span.end && text.get(span.range()).is_some(), "{span:?} in {text:?}");
    let before = &text[..span.start];
    let line = before.split('\n').count();
    let column = before.split('\n').next_back().expect("has a line").chars().count() + 1;
    assert_eq!(error.position(), Position { line, column });

    let message = error.to_string();
    assert!(!message.chars().any(char::is_control), "{message:?}");
    let caret = error.caret(text);
    assert_eq!(caret.lines().count(), 2, "{caret:?}");
    assert!(
        caret.ends_with('^') && !caret.replace('\n', "").chars().any(char::is_control),
        "{caret:?}"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn a_printed_rule_parses_to_an_equal_rule(rules in vec(rule(), 1..4)) {
        let text = rules.iter().map(Rule::to_string).collect::<Vec<_>>().join("; ");
        prop_assert_eq!(parse(&text), Ok(rules));
    }

    #[test]
    fn any_text_is_parsed_or_refused_with_a_valid_error(text in any::<String>()) {
        if let Err(error) = parse(&text) {
            check_error(&text, &error);
        }
    }

    #[test]
    fn a_text_close_to_a_rule_is_parsed_or_refused_with_a_valid_error(text in nearly_rules()) {
        match parse(&text) {
            Err(error) => check_error(&text, &error),
            Ok(rules) => {
                let printed = rules.iter().map(Rule::to_string).collect::<Vec<_>>().join(";");
                prop_assert_eq!(parse(&printed), Ok(rules.clone()));
                for rule in rules {
                    let udp = rule.places().udp.map(|span| span.of(&text));
                    prop_assert!(udp.is_none_or(|udp| udp.ends_with("/udp")), "{:?}", udp);
                    prop_assert!(text.get(rule.places().rule.range()).is_some());
                    prop_assert_eq!(parse(rule.places().rule.of(&text)), Ok(vec![rule]));
                }
            }
        }
    }

    #[test]
    fn the_caret_picture_of_any_span_has_two_lines(
        text in any::<String>(),
        start in 0..64_usize,
        length in 0..64_usize,
    ) {
        let picture = caret(&text, Span { start, end: start + length });
        prop_assert_eq!(picture.split('\n').count(), 2);
    }
}
