//! Valid conditions and their results.

use rstest::rstest;

use super::request::Made;
use crate::limits::{MAX_DEPTH, MAX_MADE, MAX_MATCHED, MAX_MATCHING};
use crate::{Condition, EvaluationErrorKind as Kind, Facts, Needs};

fn made() -> Made {
    Made::with(&[
        ("X-User", b"debug"),
        ("user-agent", b"curl/8.5"),
        ("accept", b"text/html"),
        ("Accept", b"*/*"),
        ("x-empty", b""),
        ("x-number", b"42"),
        ("x-latin", b"caf\xe9"),
        ("cookie", b"city=Z\xfcrich"),
        ("cookie", b"user=debug"),
        ("x-roles", b"dev,ops,qa"),
    ])
}

fn compile(source: &str) -> Condition {
    Condition::compile(source).unwrap_or_else(|error| panic!("{error}\n{}", error.caret(source)))
}

fn ask(source: &str) -> Result<bool, Kind> {
    compile(source).matches(&made().facts()).map_err(|error| error.kind)
}

#[rstest]
#[case(r#"request.method == "GET""#)]
#[case(r#"request.path == "/shop/cart?item=7&x=a%20b""#)]
#[case(r#"request.url_path == "/shop/cart""#)]
#[case(r#"request.query == "item=7&x=a%20b""#)]
#[case(r#"request.host == "shop.example:8080""#)]
#[case(r#"request.host == "Shop.Example:8080""#)]
#[case(r#"request.headers["host"] == "shop.example:8080""#)]
#[case(r#"request.scheme == "http""#)]
#[case(r#"request.protocol == "HTTP/1.1""#)]
#[case(r#"request.useragent.startsWith("curl/")"#)]
#[case(r#"request.headers["x-user"] == "debug""#)]
#[case(r#""debug" == request.headers["x-user"]"#)]
#[case(r#"request.headers["accept"] == "text/html,*/*""#)]
#[case(r#"request.headers.accept.contains("/html,")"#)]
#[case(r#"request.headers["x-empty"] == """#)]
#[case(r#""x-user" in request.headers && !("x-other" in request.headers)"#)]
#[case(r#"has(request.headers.accept) && !has(request.headers.x_other)"#)]
#[case(r#"has(request.host) && has(request.useragent) && has(request.path)"#)]
#[case(r#""x-latin" in request.headers"#)]
#[case("request.headers['x-latin'] == 'caf\u{fffd}'")]
#[case(r#"request.headers["x-latin"].startsWith("caf")"#)]
#[case(r#"request.headers["x-latin"].matches("^caf.$")"#)]
#[case(r#"request.headers["cookie"].matches("(^|; )user=debug(;|$)")"#)]
#[case(r#"source.address == "10.1.2.3:40000""#)]
#[case(r#"source.address.startsWith("10.1.")"#)]
#[case("source.port == 40000 && destination.port == 8080")]
#[case("source.port in [1, 2, 40000]")]
#[case("destination.port >= 8000 && destination.port < 9000")]
#[case(r#"destination.address.endsWith(":8080")"#)]
#[case(r#"connection.requested_server_name == """#)]
#[case(r#"request.method in ["GET", "HEAD"]"#)]
#[case(r#"request.path.matches("^/shop/(cart|list)[?]")"#)]
#[case(r#"matches(request.path, r"item=\d+")"#)]
#[case(r#"request.path.contains("item=7")"#)]
#[case(r#"request.headers["x-user"].upperAscii() == "DEBUG""#)]
#[case(r#"request.headers["x-user"] + "@" + request.scheme == "debug@http""#)]
#[case(r#""ops" in request.headers["x-roles"].split(",")"#)]
#[case(r#"request.headers["x-roles"].split(",")[1] == "ops""#)]
#[case(r#"size(request.headers["x-roles"].split(",")) == 3"#)]
#[case(r#"int(request.headers["x-number"]) % 10 == 2"#)]
#[case(r#"string(source.port) == "40000""#)]
#[case(r#"size(request.headers["x-user"]) == 5 && request.headers["x-user"].size() == 5"#)]
#[case("source.port - destination.port == 31920")]
#[case("-source.port < -1")]
#[case(r#"(request.method == "GET" ? request.url_path : request.path) == "/shop/cart""#)]
#[case(r#"request.url_path > "/shop" && request.url_path <= "/shop/cart""#)]
#[case(r#"request.path.startsWith("/a") == request.path.startsWith("/b")"#)]
#[case("true")]
#[case("!!!false")]
#[case("\ttrue\n&&\r\ntrue ")]
#[case("0x1F90 == destination.port")]
fn a_condition_matches(#[case] source: &str) {
    assert_eq!(ask(source), Ok(true));
}

#[rstest]
#[case(r#"request.headers["x-user"] == "Debug""#)]
#[case(r#"request.headers["x-user"] != "debug""#)]
#[case(r#"request.method in ["PUT"]"#)]
#[case("source.port in [1, 2]")]
#[case(r#""dev,ops" in request.headers["x-roles"].split(",")"#)]
#[case(r#""x-other" in request.headers"#)]
#[case("false")]
fn a_condition_does_not_match(#[case] source: &str) {
    assert_eq!(ask(source), Ok(false));
}

#[rstest]
#[case(
    r#"request.headers["x-other"] == "a""#,
    Kind::MissingHeader,
    r#"request.headers["x-other"]"#
)]
#[case(
    r#"request.headers["x-other"] != "a""#,
    Kind::MissingHeader,
    r#"request.headers["x-other"]"#
)]
#[case(r#"!(request.headers.other == "a")"#, Kind::MissingHeader, "request.headers.other")]
#[case(
    r#"int(request.headers["x-user"]) == 1"#,
    Kind::BadValue,
    r#"int(request.headers["x-user"])"#
)]
#[case("1 / (source.port - 40000) == 1", Kind::BadValue, "1 / (source.port - 40000)")]
#[case(
    "source.port + 9223372036854775807 > 1",
    Kind::BadValue,
    "source.port + 9223372036854775807"
)]
#[case(r#"request.path.split("/")[9] == "a""#, Kind::BadValue, r#"request.path.split("/")[9]"#)]
#[case(r#"request.path.split("/")[-1] == "a""#, Kind::BadValue, r#"request.path.split("/")[-1]"#)]
#[case(
    r#"request.headers["x-other"] == "a" || source.port == 1"#,
    Kind::MissingHeader,
    r#"request.headers["x-other"]"#
)]
fn an_evaluation_fails(#[case] source: &str, #[case] kind: Kind, #[case] place: &str) {
    let condition = compile(source);
    let error = condition.matches(&made().facts()).expect_err("the evaluation fails");
    assert_eq!((error.kind, error.span.of(source)), (kind, place));
    assert_eq!(error.describe(source), format!("`{place}`: {kind}"));
}

#[rstest]
#[case("true || E", Ok(true))]
#[case("E || true", Ok(true))]
#[case("false && E", Ok(false))]
#[case("E && false", Ok(false))]
#[case("E || false", Err(Kind::MissingHeader))]
#[case("false || E", Err(Kind::MissingHeader))]
#[case("E && true", Err(Kind::MissingHeader))]
#[case("E && E && false", Ok(false))]
#[case("!E", Err(Kind::MissingHeader))]
#[case("E == E", Err(Kind::MissingHeader))]
#[case("E ? true : true", Err(Kind::MissingHeader))]
#[case("true ? true : E", Ok(true))]
fn an_error_spreads_as_in_cel(#[case] source: &str, #[case] answer: Result<bool, Kind>) {
    // The second pair depends on attributes, so that the checker does not fold it to a constant.
    for (yes, no) in [("true", "false"), ("source.port > 0", "source.port < 0")] {
        let source =
            source.replace("true", &format!("({yes})")).replace("false", &format!("({no})"));
        assert_eq!(
            ask(&source.replace('E', r#"(request.headers["e"] == "")"#)),
            answer,
            "{source}"
        );
    }
}

/// Each condition is asked about a client that writes the name as in DNS, and about two that do
/// not.
#[rstest]
#[case("N == 'Shop.Example'", true)]
#[case("'SHOP.EXAMPLE' == N", true)]
#[case("N != 'Shop.Example'", false)]
#[case("N in ['a', 'Shop.Example']", true)]
#[case("N.startsWith('SHOP.')", true)]
#[case("N.endsWith('.Example')", true)]
#[case("'https://Shop.Example/'.contains(N)", true)]
#[case(r"N.matches(r'^Shop\.[A-Z]+$')", true)]
#[case("N == request.headers['x-shop']", true)]
#[case("N == connection.requested_server_name && N == request.host", true)]
#[case("N == 'shop.example.org'", false)]
#[case("N.lowerAscii() == 'shop.example'", true)]
fn a_name_of_a_host_has_no_case(#[case] source: &str, #[case] answer: bool) {
    for attribute in ["connection.requested_server_name", "request.host"] {
        let source = source.replace('N', attribute);
        let condition = compile(&source);
        for name in ["shop.example", "Shop.example", "SHOP.EXAMPLE"] {
            let request =
                Made { host: Some(name.to_owned()), ..Made::with(&[("x-shop", b"Shop.Example")]) };
            let facts = Facts { server_name: Some(name), ..request.facts() };
            assert_eq!(condition.matches(&facts), Ok(answer), "{source} for {name}");
        }
    }
}

#[test]
fn a_server_name_is_in_lower_case_and_a_host_as_sent() {
    let request = Made { host: Some("Shop.Example".to_owned()), ..made() };
    let facts = Facts { server_name: Some("Shop.Example"), ..request.facts() };
    let ask = |source| compile(source).matches(&facts);
    assert_eq!(ask("connection.requested_server_name + '' == 'shop.example'"), Ok(true));
    assert_eq!(ask("request.host + '' == 'Shop.Example'"), Ok(true));
}

#[test]
fn a_field_that_is_no_text_has_a_maximum_length() {
    let ask = |length: usize| {
        let value = [&[0xff][..], &vec![b'a'; length - 1]].concat();
        let request = Made::with(&[("x", &value)]);
        let condition = compile(r#"request.headers["x"].endsWith("a")"#);
        condition.matches(&request.facts()).map_err(|error| error.kind)
    };
    assert_eq!(ask(MAX_MADE), Ok(true));
    assert_eq!(ask(MAX_MADE + 1), Err(Kind::TooCostly));
}

#[test]
fn a_host_or_user_agent_may_be_missing() {
    let request = Made { host: None, ..Made::with(&[]) };
    let ask = |source| compile(source).matches(&request.facts()).map_err(|error| error.kind);
    assert_eq!(ask(r#"request.host == "a""#), Err(Kind::MissingHeader));
    assert_eq!(ask(r#"request.useragent == "a""#), Err(Kind::MissingHeader));
    assert_eq!(ask("has(request.host) || has(request.useragent)"), Ok(false));
    assert_eq!(ask(r#""host" in request.headers"#), Ok(false));
}

#[rstest]
#[case("true", Needs::Connection)]
#[case("source.port == 1", Needs::Connection)]
#[case(r#"destination.address == "[::1]:80""#, Needs::Connection)]
#[case(r#"connection.requested_server_name == "a" && source.port == 1"#, Needs::ServerName)]
#[case(r#"connection.requested_server_name == "a" || request.path == "/""#, Needs::Request)]
#[case(r#""x" in request.headers"#, Needs::Request)]
#[case(r#"source.port == 1 ? true : request.method == "GET""#, Needs::Request)]
#[case(r#"source.port in [1] || 1 in [size(request.path)]"#, Needs::Request)]
// A constant needs no facts.
#[case(r#"false && request.path == "/""#, Needs::Connection)]
fn a_condition_needs_the_facts_that_it_uses(#[case] source: &str, #[case] needs: Needs) {
    assert_eq!(compile(source).needs(), needs);
}

#[test]
fn an_unknown_fact_is_an_error_only_where_it_matters() {
    let unknown = Facts { server_name: None, request: None, ..made().facts() };
    let unknown = Facts { request: None, ..unknown };
    let ask = |source| compile(source).matches(&unknown).map_err(|error| error.kind);
    assert_eq!(ask("source.port == 40000"), Ok(true));
    assert_eq!(ask(r#"connection.requested_server_name == "a""#), Err(Kind::NotKnown));
    assert_eq!(ask(r#"request.path == "/""#), Err(Kind::NotKnown));
    assert_eq!(ask(r#""x-user" in request.headers"#), Err(Kind::NotKnown));
    assert_eq!(ask("has(request.host)"), Err(Kind::NotKnown));
    assert_eq!(ask(r#"source.port == 1 && request.path == "/""#), Ok(false));
    assert_eq!(ask(r#"source.port == 40000 || request.path == "/""#), Ok(true));
}

#[rstest]
#[case("true", Some(true))]
#[case("1 + 1 == 3", Some(false))]
#[case(r#""a".startsWith("a") && "x" in ["x"]"#, Some(true))]
#[case(r#"request.path == "/" || true"#, Some(true))]
#[case(r#"request.path == "/" && false"#, Some(false))]
#[case(r#"request.path == "/" || false"#, None)]
#[case("source.port == source.port", None)]
fn a_part_without_attributes_is_a_constant(#[case] source: &str, #[case] constant: Option<bool>) {
    assert_eq!(compile(source).constant(), constant);
}

#[test]
fn a_text_has_a_maximum_length() {
    let mut request = Made::with(&[]);
    let mut ask = |length: usize, source| {
        request.path = format!("/{}", "a".repeat(length - 1));
        compile(source).matches(&request.facts()).map_err(|error| error.kind)
    };
    assert_eq!(ask(MAX_MATCHED, r#"request.path.matches("^/a+$")"#), Ok(true));
    assert_eq!(ask(MAX_MATCHED + 1, r#"request.path.matches("^/a+$")"#), Err(Kind::TooCostly));
    assert_eq!(ask(MAX_MADE, r#"request.path.lowerAscii().startsWith("/a")"#), Ok(true));
    assert_eq!(
        ask(MAX_MADE + 1, r#"request.path.lowerAscii().startsWith("/a")"#),
        Err(Kind::TooCostly)
    );
    assert_eq!(ask(MAX_MADE / 2, r#"size(request.path + request.path) > 0"#), Ok(true));
    assert_eq!(
        ask(MAX_MADE / 2 + 1, r#"size(request.path + request.path) > 0"#),
        Err(Kind::TooCostly)
    );
    // A long regular expression reads shorter texts.
    let costly = r#"request.path.matches("^/[a-c]{100}")"#;
    assert_eq!(ask(MAX_MATCHING / 250, costly), Ok(true));
    assert_eq!(ask(MAX_MATCHING / 100, costly), Err(Kind::TooCostly));
    // A test that makes no text has no limit.
    assert_eq!(ask(10 * MAX_MADE, r#"request.path.endsWith("aa")"#), Ok(true));
}

#[test]
fn a_header_repeated_too_often_is_not_joined() {
    let value = "a".repeat(1000);
    let headers = vec![("x", value.as_bytes()); 70];
    let request = Made::with(&headers);
    let ask = |source| compile(source).matches(&request.facts()).map_err(|error| error.kind);
    assert_eq!(ask(r#"request.headers["x"].startsWith("a")"#), Err(Kind::TooCostly));
    assert_eq!(ask(r#""x" in request.headers"#), Ok(true));
}

#[test]
fn cookies_sent_one_by_one_are_one_header() {
    let request = Made::with(&[
        ("cookie", b"a=1"),
        ("cookie", b"b=2"),
        ("x", b"1"),
        ("x", b"2"),
        ("x", b"3"),
    ]);
    let ask = |source| compile(source).matches(&request.facts()).map_err(|error| error.kind);
    assert_eq!(ask(r#"request.headers["cookie"] == "a=1; b=2""#), Ok(true));
    assert_eq!(ask(r#"request.headers["x"] == "1,2,3""#), Ok(true));
}

#[test]
fn a_condition_can_be_shared_and_compared() {
    fn shared<T: Send + Sync + Clone + std::fmt::Debug + Eq>(_: &T) {}
    let condition = compile("source.port == 1");
    shared(&condition);
    assert_eq!(condition, compile("source.port == 1"));
    assert_ne!(condition, compile("source.port  == 1"));
    assert_eq!(condition.to_string(), "source.port == 1");
}

/// A worker's thread has a stack of 2 MiB, which it also needs for other work.
#[test]
fn the_deepest_condition_needs_little_stack() {
    let nested = |open: &str, inner: &str, close: &str, times| {
        compile(&format!("{}{inner}{}", open.repeat(times), close.repeat(times)))
    };
    let deepest = move || {
        let request = made();
        for condition in [
            nested("(", "request.path == '/'", ")", MAX_DEPTH - 4),
            nested("!(", "request.path == '/'", ")", MAX_DEPTH - 4),
            nested("request.path.startsWith(request.path) && (", "true", ")", MAX_DEPTH - 4),
            nested(
                "true == (request.path.startsWith('/') ? false : ",
                "true",
                ")",
                MAX_DEPTH / 2 - 2,
            ),
            compile(&format!("size({}'') > 0", "request.path + ".repeat(MAX_DEPTH - 4))),
            compile(&format!("request.path{} == ''", ".trim()".repeat(MAX_DEPTH - 4))),
        ] {
            assert!(condition.matches(&request.facts()).is_ok(), "{condition}");
        }
    };
    let thread =
        std::thread::Builder::new().stack_size(256 * 1024).spawn(deepest).expect("a thread starts");
    thread.join().expect("there is enough stack");
}
