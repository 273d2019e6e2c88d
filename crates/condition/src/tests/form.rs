//! Which conditions count as the same, and which one covers another.

use rstest::rstest;

use crate::{Condition, Form};

fn form(source: &str) -> Form {
    Condition::compile(source).unwrap_or_else(|error| panic!("{source}: {error}")).form()
}

const USER: &str = r#"request.headers["x-user"] == "debug""#;

#[rstest]
#[case::spaces(USER, r#"  request.headers [ "x-user" ]=="debug" "#)]
#[case::quotes(USER, "request.headers['x-user'] == 'debug'")]
#[case::raw_string(USER, r#"request.headers["x-user"] == r"debug""#)]
#[case::escape(USER, r#"request.headers["x-user"] == "\x64ebug""#)]
#[case::parentheses(USER, r#"((request.headers["x-user"]) == ("debug"))"#)]
#[case::sides(USER, r#""debug" == request.headers["x-user"]"#)]
#[case::dotted_header("request.headers.user == 'a'", "request.headers['user'] == 'a'")]
#[case::synonym("request.useragent == 'a'", "request.headers['user-agent'] == 'a'")]
#[case::double_negation(USER, r#"!!(request.headers["x-user"] == "debug")"#)]
#[case::negated_sign(USER, r#"!(request.headers["x-user"] != "debug")"#)]
#[case::list_of_one(USER, r#"request.headers["x-user"] in ["debug"]"#)]
#[case::list(
    "request.method in ['PUT', 'POST']",
    "request.method == 'POST' || request.method == 'PUT'"
)]
#[case::list_twice("request.method in ['PUT']", "request.method in ['PUT', 'PUT']")]
#[case::numbers("source.port in [1, 2]", "2 == source.port || source.port == 0x1")]
#[case::relation("source.port > 1024", "1024 < source.port")]
#[case::negated_relation("source.port > 1024", "!(source.port <= 1024)")]
#[case::and("source.port == 1 && request.path == '/'", "request.path == '/' && source.port == 1")]
#[case::or("source.port == 1 || request.path == '/'", "request.path == '/' || source.port == 1")]
#[case::groups(
    "source.port == 1 && (request.path == '/' && request.host == 'a')",
    "(request.host == 'a' && source.port == 1) && request.path == '/'"
)]
#[case::de_morgan(
    "!(source.port == 1 && request.path == '/')",
    "source.port != 1 || request.path != '/'"
)]
#[case::constant(USER, r#"true && request.headers["x-user"] == "debug" || false"#)]
#[case::calculated("true", "1 + 1 == 2")]
fn texts_with_the_same_meaning_have_one_form(#[case] one: &str, #[case] other: &str) {
    assert_eq!(form(one), form(other));
    assert!(form(one).covers(&form(other)) && form(other).covers(&form(one)));
}

#[rstest]
#[case(USER, r#"request.headers["x-user"] == "Debug""#)]
#[case(USER, r#"request.headers["x-users"] == "debug""#)]
#[case(USER, r#"request.headers["x-user"] != "debug""#)]
#[case(USER, r#""x-user" in request.headers"#)]
#[case("request.headers['a'] == request.headers['b']", "request.headers['a'] == 'b'")]
#[case("request.path == '/a'", "request.url_path == '/a'")]
#[case("request.path.startsWith('/a')", "request.path.endsWith('/a')")]
#[case("request.path.matches('a')", "request.path.matches('b')")]
#[case("source.port < 1024", "source.port <= 1024")]
#[case("source.port < 1024", "destination.port < 1024")]
#[case("source.port - 1 == 2", "1 - source.port == 2")]
#[case("(request.path + 'a') == 'b'", "('a' + request.path) == 'b'")]
#[case("'a' in request.path.split(',')", "'a' in request.path.split(';')")]
#[case("source.port == 1 && request.path == '/'", "source.port == 1 || request.path == '/'")]
fn texts_with_another_meaning_have_another_form(#[case] one: &str, #[case] other: &str) {
    assert_ne!(form(one), form(other));
    assert!(!form(one).covers(&form(other)) || !form(other).covers(&form(one)));
}

#[rstest]
// Always
#[case("true", "source.port == 1", true)]
#[case("true", USER, true)]
#[case("source.port == 1", "true", false)]
// One of several
#[case("source.port == 1 || source.port == 2", "source.port == 1", true)]
#[case("source.port in [1, 2, 3]", "source.port in [3, 1]", true)]
#[case("source.port == 1", "source.port == 1 || source.port == 2", false)]
#[case("request.method in ['GET', 'PUT']", "request.method == 'GET' && request.path == '/'", true)]
// One restriction more
#[case("request.path == '/'", "request.host == 'a' && request.path == '/'", true)]
#[case("request.host == 'a' && request.path == '/'", "request.path == '/'", false)]
#[case(
    "(request.host == 'a' || request.host == 'b') && request.path == '/'",
    "request.path == '/' && request.method == 'GET' && request.host == 'b'",
    true
)]
// Decided earlier or later than the other
#[case("source.port == 1", "source.port == 1 && request.path == '/'", true)]
#[case("source.port == 1 || request.path == '/'", "source.port == 1", false)]
#[case(
    "connection.requested_server_name == 'a'",
    "connection.requested_server_name == 'a' && request.path == '/'",
    false
)]
// Never
#[case("true", "1 == 2", false)]
#[case("1 == 2", "source.port == 1", false)]
// What would need a calculation
#[case("source.port < 2000", "source.port < 1000", false)]
#[case("request.path.startsWith('/')", "request.path.startsWith('/a')", false)]
fn a_condition_covers_what_surely_matches_it_too(
    #[case] earlier: &str,
    #[case] later: &str,
    #[case] covers: bool,
) {
    assert_eq!(form(earlier).covers(&form(later)), covers);
}

#[test]
fn only_a_constant_is_always_true() {
    assert!(form("true || source.port == 1").is_always());
    assert!(!form("source.port >= 0").is_always());
}

/// Nested conditions must not take the daemon's time.
#[test]
fn the_largest_conditions_are_compared_quickly() {
    let nested = |names: [char; 2]| {
        let mut source = "source.port == 1".to_owned();
        for n in 0..14 {
            let name = names[n % 2];
            let (left, right) = if n % 2 == 0 { ("&&", "||") } else { ("||", "&&") };
            source = format!(
                "({source} {left} '{name}{n}' in request.headers {right} source.port == {n})"
            );
        }
        form(&source)
    };
    let (one, other) = (nested(['a', 'b']), nested(['c', 'd']));
    let start = std::time::Instant::now();
    for _ in 0..10 {
        assert!(!one.covers(&other));
    }
    assert!(start.elapsed() < std::time::Duration::from_secs(5), "{:?}", start.elapsed());
}
