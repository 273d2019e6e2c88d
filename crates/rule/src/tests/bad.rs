//! Texts that are not rules, and what their authors are told.

use rstest::rstest;

use crate::*;

fn error(text: &str) -> ParseError {
    match parse(text) {
        Ok(rules) => panic!("{text:?} was understood as {rules:?}"),
        Err(error) => error,
    }
}

/// The message without the place and the example, which other tests look at, and the picture.
#[track_caller]
fn check(text: &str, message: &str, caret: &str) {
    let error = error(text);
    let said = match error.suggestion() {
        None => format!("expected {}, found {}", error.expected(), error.found()),
        Some(suggestion) => {
            format!("expected {}, found {}; {suggestion}", error.expected(), error.found())
        }
    };
    assert_eq!((said.as_str(), error.caret(text).as_str()), (message, caret));
}

#[test]
fn the_whole_message() {
    assert_eq!(
        error("8080 -> 10.0.0.1:3000;\n 9090 => b:1").to_string(),
        "line 2, column 7: expected `->` between the ports and the target, found `=>`; did you mean `->`? \
         (example: `8080 -> 10.20.0.7:3000`)"
    );
    assert_eq!(
        error("a:1 ttl 8").to_string(),
        "line 1, column 9: expected a duration such as `30m`, `8h` or `1h30m`, found `8`; a duration has a unit: \
         `8s`, `8m` or `8h` (example: `8080 -> 10.20.0.7:3000 ttl 8h`)"
    );
}

#[rstest]
#[case("", "expected a rule, found the end of the text", "\n^")]
#[case(" \t", "expected a rule, found the end of the text", "     \n     ^")]
#[case(";", "expected a rule, found `;`", ";\n^")]
#[case("a:1;;b:2", "expected a rule, found `;`", "a:1;;b:2\n    ^")]
#[case("a:1; ;", "expected a rule, found `;`", "a:1; ;\n     ^")]
fn nothing(#[case] text: &str, #[case] message: &str, #[case] caret: &str) {
    check(text, message, caret);
}

const PORT: &str = "a port from 1 to 65535";

#[rstest]
#[case("0 -> a:1", "expected {PORT}, found `0`", "0 -> a:1\n^")]
#[case("80, 65536 -> a:1", "expected {PORT}, found `65536`", "80, 65536 -> a:1\n    ^^^^^")]
#[case(
    "080 -> a:1",
    "expected {PORT}, found `080`; a port is written without leading zeros",
    "080 -> a:1\n^^^"
)]
#[case("http -> a:1", "expected {PORT}, found `http`", "http -> a:1\n^^^^")]
#[case("+80 -> a:1", "expected {PORT}, found `+80`", "+80 -> a:1\n^^^")]
#[case("٣ -> a:1", "expected {PORT}, found `٣`", "٣ -> a:1\n^")]
#[case(
    "80-90 -> a:1",
    "expected {PORT}, found `80-90`; ports are listed one by one, as in `8080,8081`",
    "80-90 -> a:1\n^^^^^"
)]
#[case(
    "80/tcp -> a:1",
    "expected {PORT}, found `80/tcp`; did you mean `80`?",
    "80/tcp -> a:1\n^^^^^^"
)]
#[case(
    "53/udp -> a:1",
    "expected {PORT}, found `53/udp`; a rule takes TCP ports only",
    "53/udp -> a:1\n^^^^^^"
)]
#[case(
    "80,81,80 -> a:1",
    "expected each port once, found a second `80`",
    "80,81,80 -> a:1\n      ^^"
)]
#[case("80, -> a:1", "expected a port behind the `,`, found `->`", "80, -> a:1\n    ^^")]
#[case("80,", "expected a port behind the `,`, found the end of the text", "80,\n   ^")]
#[case(",80 -> a:1", "expected a port in front of the `,`, found `,`", ",80 -> a:1\n^")]
#[case(
    "-> a:1",
    "expected a port in front of the `->`, found `->`; for all declared ports write the target alone",
    "-> a:1\n^^"
)]
#[case(
    "a:1, b:2",
    "expected {PORT}, found `a:1`; a rule is `ports -> target`, with one target",
    "a:1, b:2\n^^^"
)]
fn ports(#[case] text: &str, #[case] message: &str, #[case] caret: &str) {
    check(text, &message.replace("{PORT}", PORT), caret);
}

const ARROW: &str = "`->` between the ports and the target";

#[rstest]
#[case("8080=>a:1", "expected {ARROW}, found `=>`; did you mean `->`?", "8080=>a:1\n    ^^")]
#[case("8080 → a:1", "expected {ARROW}, found `→`; did you mean `->`?", "8080 → a:1\n     ^")]
#[case("8080 a:1", "expected {ARROW}, found `a:1`; did you mean `-> a:1`?", "8080 a:1\n     ^^^")]
#[case("8080 ttl 5m", "expected {ARROW}, found `ttl`", "8080 ttl 5m\n     ^^^")]
#[case("80,81;", "expected {ARROW}, found `;`", "80,81;\n     ^")]
fn arrows(#[case] text: &str, #[case] message: &str, #[case] caret: &str) {
    check(text, &message.replace("{ARROW}", ARROW), caret);
}

#[rstest]
#[case(
    "80 ->",
    "expected a target behind the `->`: `host:port`, `[ipv6]:port` or a session name, found the end of the text",
    "80 ->\n     ^"
)]
#[case(
    "8080",
    "expected a target: `host:port`, `[ipv6]:port` or a session name, found `8080`; \
     did you mean `8080 -> host:port`?",
    "8080\n^^^^"
)]
#[case("when x", "expected a target in front of `when`, found `when`", "when x\n^^^^")]
#[case(
    "80 -> 10.0.0.1",
    "expected a port behind the address, found `10.0.0.1`; did you mean `10.0.0.1:3000`?",
    "80 -> 10.0.0.1\n      ^^^^^^^^"
)]
#[case(
    "80 -> my.laptop",
    "expected a port behind the host name, found `my.laptop`; did you mean `my.laptop:3000`?",
    "80 -> my.laptop\n      ^^^^^^^^^"
)]
#[case(
    "localhost",
    "expected a port behind the host name, found `localhost`; did you mean `localhost:3000`?",
    "localhost\n^^^^^^^^^"
)]
#[case("a:", "expected a port behind the `:`, found `a:`; did you mean `a:3000`?", "a:\n^^")]
#[case("a:0", "expected a port from 1 to 65535, found `0`", "a:0\n  ^")]
#[case("a:99999", "expected a port from 1 to 65535, found `99999`", "a:99999\n  ^^^^^")]
#[case("a:http", "expected a port from 1 to 65535, found `http`", "a:http\n  ^^^^")]
#[case(
    "a:80/x",
    "expected a port from 1 to 65535, found `80/x`; a target has no path; did you mean `a:80`?",
    "a:80/x\n  ^^^^"
)]
#[case(":80", "expected a host name or an IP address, found nothing in front of `:80`", ":80\n^")]
#[case(
    "10.0.0.300:80",
    "expected an IPv4 address of four numbers from 0 to 255, without leading zeros, found `10.0.0.300`",
    "10.0.0.300:80\n^^^^^^^^^^"
)]
#[case(
    "8080:80",
    "expected an IPv4 address of four numbers from 0 to 255, without leading zeros, found `8080`; \
     did you mean `8080 -> host:80`?",
    "8080:80\n^^^^"
)]
#[case(
    "fd00::1",
    "expected a target: `host:port`, `[ipv6]:port` or a session name, found `fd00::1`; \
     an IPv6 address stands in brackets; did you mean `[fd00::1]:3000`?",
    "fd00::1\n^^^^^^^"
)]
#[case(
    "fd00::1:3000",
    "expected a target: `host:port`, `[ipv6]:port` or a session name, found `fd00::1:3000`; \
     an IPv6 address stands in brackets; did you mean `[fd00::1]:3000`?",
    "fd00::1:3000\n^^^^^^^^^^^^"
)]
#[case(
    "fd00::a",
    "expected a target: `host:port`, `[ipv6]:port` or a session name, found `fd00::a`; \
     an IPv6 address stands in brackets; did you mean `[fd00::a]:3000`?",
    "fd00::a\n^^^^^^^"
)]
#[case(
    "a:80:90",
    "expected a target: `host:port`, `[ipv6]:port` or a session name, found `a:80:90`",
    "a:80:90\n^^^^^^^"
)]
#[case(
    "[fd00::1]",
    "expected a port behind the IPv6 address, found `[fd00::1]`; did you mean `[fd00::1]:3000`?",
    "[fd00::1]\n^^^^^^^^^"
)]
#[case(
    "[fd00::1:80",
    "expected a `]` that closes the IPv6 address, found `[fd00::1:80`",
    "[fd00::1:80\n^^^^^^^^^^^"
)]
#[case(
    "[fd00::1]80",
    "expected `:` and a port behind the `]`, found `[fd00::1]80`",
    "[fd00::1]80\n^^^^^^^^^^^"
)]
#[case("[fd00::1]:0", "expected a port from 1 to 65535, found `0`", "[fd00::1]:0\n          ^")]
#[case(
    "[fd0x::1]:80",
    "expected an IPv6 address between `[` and `]`, found `fd0x::1`",
    "[fd0x::1]:80\n ^^^^^^^"
)]
#[case("[]:80", "expected an IPv6 address between `[` and `]`, found nothing", "[]:80\n ^")]
#[case(
    "[10.0.0.1]:80",
    "expected an IPv6 address between `[` and `]`, found `10.0.0.1`; an IPv4 address has no brackets",
    "[10.0.0.1]:80\n ^^^^^^^^"
)]
#[case(
    "[fe80::1%eth0]:80",
    "expected an IPv6 address between `[` and `]`, found `fe80::1%eth0`; \
     an interface (`%eth0`) means nothing to another machine",
    "[fe80::1%eth0]:80\n ^^^^^^^^^^^^"
)]
#[case(
    "80 -> http://a:3000/x",
    "expected a target without a scheme, as connections are redirected whatever they carry, \
     found `http://a:3000/x`; did you mean `a:3000`?",
    "80 -> http://a:3000/x\n      ^^^^^^^^^^^^^^^"
)]
#[case(
    "http://a",
    "expected a target without a scheme, as connections are redirected whatever they carry, found `http://a`",
    "http://a\n^^^^^^^^"
)]
#[case("\"a:80\"", "expected a target without quotes, found `\"a:80\"`", "\"a:80\"\n^^^^^^")]
#[case(
    "Alice",
    "expected a session name of lower-case letters, digits and `-`, found `Alice`",
    "Alice\n^^^^^"
)]
#[case(
    "(a)",
    "expected a target: `host:port`, `[ipv6]:port` or a session name, found `(a)`",
    "(a)\n^^^"
)]
fn targets(#[case] text: &str, #[case] message: &str, #[case] caret: &str) {
    check(text, message, caret);
}

const CLAUSE: &str = "`when`, `percent`, `ttl`, `with`, `;` or the end";

#[rstest]
#[case("a:1 wen x", "expected {CLAUSE}, found `wen`; did you mean `when`?", "a:1 wen x\n    ^^^")]
#[case("a:1 TTL 5m", "expected {CLAUSE}, found `TTL`; did you mean `ttl`?", "a:1 TTL 5m\n    ^^^")]
#[case("a:1 if x", "expected {CLAUSE}, found `if`; did you mean `when`?", "a:1 if x\n    ^^")]
#[case(
    "a:1 proxy-v2",
    "expected {CLAUSE}, found `proxy-v2`; did you mean `with proxy-v2`?",
    "a:1 proxy-v2\n    ^^^^^^^^"
)]
#[case("a:1 please", "expected {CLAUSE}, found `please`", "a:1 please\n    ^^^^^^")]
#[case("a:1 b:2", "expected {CLAUSE}, found `b:2`; rules are separated by `;`", "a:1 b:2\n    ^^^")]
#[case(
    "80 -> a:1 81 -> b:2",
    "expected {CLAUSE}, found `81`; rules are separated by `;`",
    "80 -> a:1 81 -> b:2\n          ^^"
)]
#[case(
    "80 -> a:1, b:2",
    "expected {CLAUSE}, found `,`; a rule has one target; rules are separated by `;`",
    "80 -> a:1, b:2\n         ^"
)]
#[case(
    "80 -> a:1 -> b:2",
    "expected {CLAUSE}, found `->`; a rule has one `->`; rules are separated by `;`",
    "80 -> a:1 -> b:2\n          ^^"
)]
#[case(
    "a:1 ttl 5m ttl 6m",
    "expected each clause at most once, found a second `ttl`",
    "a:1 ttl 5m ttl 6m\n           ^^^"
)]
#[case(
    "a:1 when x when y",
    "expected each clause at most once, found a second `when`",
    "a:1 when x when y\n           ^^^^"
)]
#[case(
    "a:1 with",
    "expected `proxy-v2` behind `with`, found the end of the text",
    "a:1 with\n        ^"
)]
#[case(
    "a:1 with proxy",
    "expected `proxy-v2` behind `with`, found `proxy`; did you mean `proxy-v2`?",
    "a:1 with proxy\n         ^^^^^"
)]
#[case(
    "a:1 with tls",
    "expected `proxy-v2` behind `with`, found `tls`",
    "a:1 with tls\n         ^^^"
)]
fn clauses(#[case] text: &str, #[case] message: &str, #[case] caret: &str) {
    check(text, &message.replace("{CLAUSE}", CLAUSE), caret);
}

#[rstest]
#[case(
    "a:1 percent",
    "a number behind `percent`, found the end of the text",
    "a:1 percent\n           ^"
)]
#[case("a:1 percent;", "a number behind `percent`, found `;`", "a:1 percent;\n           ^")]
#[case("a:1 percent 0", "{P}, found `0`", "a:1 percent 0\n            ^")]
#[case("a:1 percent 0.0000", "{P}, found `0.0000`", "a:1 percent 0.0000\n            ^^^^^^")]
#[case(
    "a:1 percent 100.0001",
    "{P}, found `100.0001`",
    "a:1 percent 100.0001\n            ^^^^^^^^"
)]
#[case("a:1 percent 0.00001", "{P}, found `0.00001`", "a:1 percent 0.00001\n            ^^^^^^^")]
#[case("a:1 percent 5.", "{P}, found `5.`", "a:1 percent 5.\n            ^^")]
#[case("a:1 percent .5", "{P}, found `.5`", "a:1 percent .5\n            ^^")]
#[case("a:1 percent -5", "{P}, found `-5`", "a:1 percent -5\n            ^^")]
#[case("a:1 percent 1e1", "{P}, found `1e1`", "a:1 percent 1e1\n            ^^^")]
#[case("a:1 percent 5%", "{P}, found `5%`; did you mean `5`?", "a:1 percent 5%\n            ^^")]
fn percentages(#[case] text: &str, #[case] message: &str, #[case] caret: &str) {
    let number = "a number above 0 and up to 100, with at most 4 decimals";
    check(text, &format!("expected {}", message.replace("{P}", number)), caret);
}

#[rstest]
#[case("a:1 ttl", "a duration behind `ttl`, found the end of the text", "a:1 ttl\n       ^")]
#[case(
    "a:1 ttl 8",
    "{D}, found `8`; a duration has a unit: `8s`, `8m` or `8h`",
    "a:1 ttl 8\n        ^"
)]
#[case("a:1 ttl forever", "{D}, found `forever`", "a:1 ttl forever\n        ^^^^^^^")]
#[case(
    "a:1 ttl 8 h",
    "{D}, found `8`; a duration has a unit: `8s`, `8m` or `8h`",
    "a:1 ttl 8 h\n        ^"
)]
#[case("a:1 ttl 1h 3x", "{D}, found `1h 3x`", "a:1 ttl 1h 3x\n        ^^^^^")]
#[case("a:1 ttl -5m", "{D}, found `-5m`", "a:1 ttl -5m\n        ^^^")]
#[case("a:1 ttl 0s", "a `ttl` of at least 1s (MIN_TTL), found `0s`", "a:1 ttl 0s\n        ^^")]
#[case(
    "a:1 ttl 999ms",
    "a `ttl` of at least 1s (MIN_TTL), found `999ms`",
    "a:1 ttl 999ms\n        ^^^^^"
)]
#[case(
    "a:1 ttl 31d",
    "a `ttl` of at most 30days (MAX_TTL), found `31d`",
    "a:1 ttl 31d\n        ^^^"
)]
#[case(
    "a:1 ttl 99999999999999999999y",
    "{D}, found `99999999999999999999y`",
    "a:1 ttl 99999999999999999999y\n        ^^^^^^^^^^^^^^^^^^^^^"
)]
fn durations(#[case] text: &str, #[case] message: &str, #[case] caret: &str) {
    let duration = "a duration such as `30m`, `8h` or `1h30m`";
    check(text, &format!("expected {}", message.replace("{D}", duration)), caret);
}

#[rstest]
#[case(
    "a:1 when",
    "a condition (a CEL expression) behind `when`, found the end of the text",
    "a:1 when\n        ^"
)]
#[case(
    "a:1 when ;",
    "a condition (a CEL expression) behind `when`, found `;`",
    "a:1 when ;\n         ^"
)]
#[case(
    "a:1 when ttl 5m",
    "a condition (a CEL expression) behind `when`, found `ttl`",
    "a:1 when ttl 5m\n         ^^^"
)]
#[case(
    "a:1 when x == 'y",
    "a quote that closes this string, found the end of the line or text",
    "a:1 when x == 'y\n              ^"
)]
#[case(
    "a:1 when f(x",
    "a bracket that closes this one, found the end of the text",
    "a:1 when f(x\n          ^"
)]
#[case(
    "a:1 when x)",
    "an opening bracket in front of this one, found none",
    "a:1 when x)\n          ^"
)]
#[case(
    "a:1 when [x)",
    "a closing bracket of the same kind as the opening one, found `)`; `[` is open since line 1, column 10",
    "a:1 when [x)\n           ^"
)]
#[case(
    "a:1 when x // y",
    "a condition without comments, found `//`",
    "a:1 when x // y\n           ^^"
)]
fn conditions(#[case] text: &str, #[case] message: &str, #[case] caret: &str) {
    check(text, &format!("expected {message}"), caret);
}

#[rstest]
#[case("a:1\0", r"`\u{0}`", "a:1\\u{0}\n   ^^^^^")]
#[case("8080 ->\u{1b}[2J a:1", r"`\u{1b}`", "8080 ->\\u{1b}[2J a:1\n       ^^^^^^")]
#[case(
    "8080\u{a0}-> a:1 when '\u{202e}'",
    r"`\u{202e}`",
    "8080\u{a0}-> a:1 when '\\u{202e}'\n                  ^^^^^^^^"
)]
#[case("\u{feff}a:1", r"`\u{feff}`", "\\u{feff}a:1\n^^^^^^^^")]
#[case("a:1\u{2028}", r"`\u{2028}`", "a:1\\u{2028}\n   ^^^^^^^^")]
fn invisible_characters(#[case] text: &str, #[case] found: &str, #[case] caret: &str) {
    let message = format!(
        "expected only characters that can be seen, and spaces, tabs and line ends, found {found}"
    );
    check(text, &message, caret);
}

#[rstest]
#[case(" ".repeat(MAX_RULE_TEXT + 1), Limit::RuleText, "8193 bytes", MAX_RULE_TEXT)]
#[case("a:1;".repeat(MAX_RULES + 1), Limit::Rules, "one more", 64)]
#[case((1..=MAX_PORTS + 1).map(|p| p.to_string()).collect::<Vec<_>>().join(","), Limit::Ports, "one more", 183)]
#[case(format!("a:1 when {}", "x".repeat(MAX_CONDITION + 1)), Limit::Condition, "2049 bytes", 9)]
fn limits(#[case] text: String, #[case] limit: Limit, #[case] found: &str, #[case] start: usize) {
    let error = error(&text);
    assert_eq!(error.kind(), ErrorKind::Limit(limit));
    assert_eq!((error.expected(), error.found()), (limit.to_string().as_str(), found));
    assert_eq!(error.span().start, start);
}

#[test]
fn the_limits_name_themselves() {
    assert_eq!(Limit::RuleText.to_string(), "at most 8192 bytes in one annotation (MAX_RULE_TEXT)");
    assert_eq!(Limit::Rules.to_string(), "at most 16 rules in one annotation (MAX_RULES)");
    assert_eq!(Limit::Ports.to_string(), "at most 64 ports in one rule (MAX_PORTS)");
    assert_eq!(
        Limit::Condition.to_string(),
        "at most 2048 bytes in the condition of `when` (MAX_CONDITION)"
    );
}

#[test]
fn the_place_counts_lines_and_characters() {
    let text = "8080 -> a:1;\r\n\t9090 -> b:1 when 'ä' == ö)";
    let error = error(text);
    assert_eq!(error.position(), Position { line: 2, column: 27 });
    assert_eq!(error.caret(text), "    9090 -> b:1 when 'ä' == ö)\n                             ^");
}

#[test]
fn a_long_word_is_not_repeated_at_length() {
    let error =
        error(&format!("80 -> {}.example", "x".repeat(60).as_str().to_owned() + &".x".repeat(90)));
    assert_eq!(error.kind(), ErrorKind::MissingPort);
    assert!(error.to_string().len() < 250, "{error}");
}
