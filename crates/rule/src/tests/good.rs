//! Texts that are valid rules.

use std::num::NonZeroU16;
use std::time::Duration;

use rstest::rstest;

use crate::*;

fn one(text: &str) -> Rule {
    let mut rules = parse(text).unwrap_or_else(|error| panic!("{error}\n{}", error.caret(text)));
    assert_eq!(rules.len(), 1, "{rules:?}");
    rules.remove(0)
}

#[rstest]
// Ports
#[case("8080->10.20.0.7:3000", "8080 -> 10.20.0.7:3000")]
#[case("  8080 ,8081\t, 1 ->\n10.20.0.7:3000 ; ", "8080,8081,1 -> 10.20.0.7:3000")]
#[case("65535 -> a:65535", "65535 -> a:65535")]
#[case("8125/udp->10.0.0.1:53", "8125/udp -> 10.0.0.1:53")]
#[case("53/udp ,53 , 54/udp -> a:1", "53/udp,53,54/udp -> a:1")]
#[case("10.20.0.7:3000", "10.20.0.7:3000")]
// Targets
#[case("[fd00:0:0::1]:3000", "[fd00::1]:3000")]
#[case("[::ffff:10.0.0.1]:80", "[::ffff:10.0.0.1]:80")]
#[case("laptop:3000", "laptop:3000")]
#[case("Laptop.corp.example.:3000", "Laptop.corp.example.:3000")]
#[case("localhost:3000", "localhost:3000")]
#[case("when:3000", "when:3000")]
#[case("alice", "alice")]
#[case("80->alice-2", "80 -> alice-2")]
// Clauses, in any order
#[case("a:1 ttl 90m", "a:1 ttl 1h30m")]
#[case("a:1 ttl 1h 30m 5s", "a:1 ttl 1h30m5s")]
#[case("a:1 ttl 30days", "a:1 ttl 30days")]
#[case("a:1 ttl 1s", "a:1 ttl 1s")]
#[case("a:1 percent 100", "a:1 percent 100")]
#[case("a:1 percent 007.50", "a:1 percent 7.5")]
#[case("a:1 percent 0.0001", "a:1 percent 0.0001")]
#[case("a:1 with\tproxy-v2", "a:1 with proxy-v2")]
#[case("a:1 with local-to-app", "a:1 with local-to-app")]
#[case("a:1 with local-to-target , proxy-v2", "a:1 with proxy-v2,local-to-target")]
#[case("a:1 when x  ==  1 ", "a:1 when x  ==  1")]
#[case("a:1 when(x)", "a:1 when (x)")]
#[case("a:1 when'x' == y", "a:1 when 'x' == y")]
#[case(
    "a:1 with proxy-v2 ttl 5m percent 5 when x in ['; ttl 1h', \"when\"]",
    "a:1 when x in ['; ttl 1h', \"when\"] percent 5 ttl 5m with proxy-v2"
)]
#[case("a:1 when request.ttl == 1 ttl 5m", "a:1 when request.ttl == 1 ttl 5m")]
fn a_rule_is_printed_in_its_canonical_form(#[case] text: &str, #[case] canonical: &str) {
    let rule = one(text);
    assert_eq!(rule.to_string(), canonical);
    assert_eq!(one(canonical), rule);
}

#[test]
fn the_parser_keeps_every_part() {
    let text =
        " 80,443,53/udp -> [fd00::1]:3000 when a['b'] == \"c\" percent 12.5 ttl 8h with proxy-v2 ;";
    let rule = one(text);
    let number = |number| NonZeroU16::new(number).expect("is not zero");
    let ports = vec![Port::tcp(number(80)), Port::tcp(number(443)), Port::udp(number(53))];
    assert_eq!(rule.ports, Ports::Listed(ports));
    assert_eq!(rule.target, Target::Address("[fd00::1]:3000".parse().expect("is an address")));
    assert_eq!(rule.when.as_ref().map(Condition::source), Some("a['b'] == \"c\""));
    assert_eq!(rule.percent.map(Percent::parts_per_million), Some(125_000));
    assert_eq!(rule.ttl, Some(Duration::from_secs(8 * 60 * 60)));
    assert_eq!(rule.proxy_protocol, Some(ProxyProtocol::V2));

    let places = rule.places();
    assert_eq!(places.rule.of(text), &text[1..text.len() - 2]);
    assert_eq!(places.udp.map(|span| span.of(text)), Some("53/udp"));
    assert_eq!(places.target.of(text), "[fd00::1]:3000");
    assert_eq!(places.when.map(|span| span.of(text)), Some("when a['b'] == \"c\""));
    assert_eq!(places.percent.map(|span| span.of(text)), Some("percent 12.5"));
}

#[test]
fn the_three_kinds_of_targets_differ() {
    assert!(matches!(one("10.0.0.1:80").target, Target::Address(_)));
    assert!(matches!(one("ten.example:80").target, Target::Name { .. }));
    assert!(matches!(one("ten").target, Target::Session(_)));
}

#[test]
fn a_semicolon_separates_rules() {
    let rules = parse("80 -> a:1; 81 -> b:2 when x == ';' ;\n c:3;").expect("is valid");
    let printed: Vec<String> = rules.iter().map(ToString::to_string).collect();
    assert_eq!(printed, ["80 -> a:1", "81 -> b:2 when x == ';'", "c:3"]);
}

#[rstest]
#[case("a:1 ttl 5m with proxy-v2", None)]
#[case("a:1 percent 5 when x", None)]
#[case("80,53/udp,54/udp -> a:1", Some(("a UDP port is not supported yet; leave it out, because a rule redirects TCP only", "53/udp")))]
#[case("53/udp -> alice", Some(("a UDP port is not supported yet; leave it out, because a rule redirects TCP only", "53/udp")))]
#[case("80 -> alice", Some(("a session name as target is not supported yet; if `alice` is a host, add a port: `alice:3000`", "alice")))]
#[case("alice when x", Some(("a session name as target is not supported yet; if `alice` is a host, add a port: `alice:3000`", "alice")))]
fn a_session_target_is_unsupported(#[case] text: &str, #[case] expected: Option<(&str, &str)>) {
    let unsupported = one(text).unsupported();
    let actual =
        unsupported.map(|unsupported| (unsupported.to_string(), unsupported.span.of(text)));
    assert_eq!(actual, expected.map(|(message, place)| (message.to_owned(), place)));
}

#[test]
fn sizes_up_to_the_limits_are_valid() {
    let ports: Vec<String> = (1..=MAX_PORTS).map(|port| port.to_string()).collect();
    one(&format!("{} -> a:1", ports.join(",")));
    assert_eq!(parse(&"a:1;".repeat(MAX_RULES)).expect("is valid").len(), MAX_RULES);
    one(&format!("a:1 when {}", "x".repeat(MAX_CONDITION)));
    one(&format!("a:1{}", " ".repeat(MAX_RULE_TEXT - 3)));
}

#[test]
fn the_example_of_every_error_is_valid() {
    let limits = [
        Limit::RuleText,
        Limit::Rules,
        Limit::Ports,
        Limit::Condition,
        Limit::MinTtl,
        Limit::MaxTtl,
    ];
    let kinds = [
        ErrorKind::Empty,
        ErrorKind::InvisibleCharacter,
        ErrorKind::Port,
        ErrorKind::DuplicatePort,
        ErrorKind::Arrow,
        ErrorKind::Target,
        ErrorKind::MissingPort,
        ErrorKind::Clause,
        ErrorKind::DuplicateClause,
        ErrorKind::Condition,
        ErrorKind::Percent,
        ErrorKind::Ttl,
        ErrorKind::With,
    ];
    for kind in kinds.into_iter().chain(limits.map(ErrorKind::Limit)) {
        let example = kind.example();
        let printed: Vec<String> =
            parse(example).expect(example).iter().map(Rule::to_string).collect();
        assert_eq!(printed.join("; "), example);
    }
}
