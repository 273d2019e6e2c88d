//! Texts that are not rules, and the messages that their authors see.

use rstest::rstest;

use crate::*;

fn error(text: &str) -> ParseError {
    match parse(text) {
        Ok(rules) => panic!("{text:?} was understood as {rules:?}"),
        Err(error) => error,
    }
}

/// Checks the picture, and the message without its position and its example.
#[track_caller]
fn check(text: &str, message: &str, caret: &str) {
    let error = error(text);
    let actual = match error.suggestion() {
        None => format!("expected {}, found {}", error.expected(), error.found()),
        Some(suggestion) => {
            format!("expected {}, found {}; {suggestion}", error.expected(), error.found())
        }
    };
    assert_eq!((actual.as_str(), error.caret(text).as_str()), (message, caret));
}

#[test]
fn a_message_has_position_expectation_finding_advice_and_example() {
    assert_eq!(
        error("8080 -> 10.0.0.1:3000;\n 9090 => b:1").to_string(),
        "line 2, column 7: expected `->` between the ports and the target, found `=>`; \
         did you mean `->`? (example: `8080 -> 10.20.0.7:3000`)"
    );
    assert_eq!(
        error("a:1 ttl 8").to_string(),
        "line 1, column 9: expected a duration such as `30m`, `8h` or `1h30m`, found `8`; \
         add a unit: `8s`, `8m` or `8h` (example: `8080 -> 10.20.0.7:3000 ttl 8h`)"
    );
}

#[rstest]
#[case("", "expected a rule, found the end of the text", "\n^")]
#[case(" \t", "expected a rule, found the end of the text", "     \n     ^")]
#[case(";", "expected a rule, found `;`", ";\n^")]
#[case("a:1;;b:2", "expected a rule, found `;`", "a:1;;b:2\n    ^")]
#[case("a:1; ;", "expected a rule, found `;`", "a:1; ;\n     ^")]
fn a_missing_rule_is_refused(#[case] text: &str, #[case] message: &str, #[case] caret: &str) {
    check(text, message, caret);
}

const PORT: &str = "a port from 1 to 65535";

#[rstest]
#[case("0 -> a:1", "expected {PORT}, found `0`", "0 -> a:1\n^")]
#[case("80, 65536 -> a:1", "expected {PORT}, found `65536`", "80, 65536 -> a:1\n    ^^^^^")]
#[case(
    "080 -> a:1",
    "expected {PORT}, found `080`; a port has no leading zeros",
    "080 -> a:1\n^^^"
)]
#[case(
    "http -> a:1",
    "expected {PORT}, found `http`; write the port's number",
    "http -> a:1\n^^^^"
)]
#[case("+80 -> a:1", "expected {PORT}, found `+80`; did you mean `80 -> a:1`?", "+80 -> a:1\n^^^")]
#[case("٣ -> a:1", "expected {PORT}, found `٣`", "٣ -> a:1\n^")]
#[case(
    "80-90 -> a:1",
    "expected {PORT}, found `80-90`; list each port, as in `8080,8081`; ranges are not supported",
    "80-90 -> a:1\n^^^^^"
)]
#[case(
    "80/tcp -> a:1",
    "expected {PORT}, found `80/tcp`; did you mean `80`?",
    "80/tcp -> a:1\n^^^^^^"
)]
#[case(
    "53/UDP -> a:1",
    "expected {PORT}, found `53/UDP`; did you mean `53/udp`?",
    "53/UDP -> a:1\n^^^^^^"
)]
#[case("80,0/udp -> a:1", "expected {PORT}, found `0`", "80,0/udp -> a:1\n   ^")]
#[case("/udp -> a:1", "expected {PORT}, found `/udp`", "/udp -> a:1\n^^^^")]
#[case("53/sctp -> a:1", "expected {PORT}, found `53/sctp`", "53/sctp -> a:1\n^^^^^^^")]
#[case(
    "53/udp,53,53/udp -> a:1",
    "expected each port once, found a second `53/udp`",
    "53/udp,53,53/udp -> a:1\n          ^^^^^^"
)]
#[case(
    "80,81,80 -> a:1",
    "expected each port once, found a second `80`",
    "80,81,80 -> a:1\n      ^^"
)]
#[case("80, -> a:1", "expected a port after the `,`, found `->`", "80, -> a:1\n    ^^")]
#[case("80,", "expected a port after the `,`, found the end of the text", "80,\n   ^")]
#[case(",80 -> a:1", "expected a port before the `,`, found `,`", ",80 -> a:1\n^")]
#[case(
    "-> a:1",
    "expected a port before the `->`, found `->`; \
     to redirect all declared ports, write the target alone",
    "-> a:1\n^^"
)]
#[case(
    "a:1, b:2",
    "expected {PORT}, found `a:1`; a rule has the form `ports -> target`, with one target",
    "a:1, b:2\n^^^"
)]
fn an_invalid_port_is_refused(#[case] text: &str, #[case] message: &str, #[case] caret: &str) {
    check(text, &message.replace("{PORT}", PORT), caret);
}

const ARROW: &str = "`->` between the ports and the target";

#[rstest]
#[case("8080=>a:1", "expected {ARROW}, found `=>`; did you mean `->`?", "8080=>a:1\n    ^^")]
#[case("8080 → a:1", "expected {ARROW}, found `→`; did you mean `->`?", "8080 → a:1\n     ^")]
#[case("8080 a:1", "expected {ARROW}, found `a:1`; did you mean `-> a:1`?", "8080 a:1\n     ^^^")]
#[case("8080 ttl 5m", "expected {ARROW}, found `ttl`", "8080 ttl 5m\n     ^^^")]
#[case(
    "53/udp a:1",
    "expected {ARROW}, found `a:1`; did you mean `-> a:1`?",
    "53/udp a:1\n       ^^^"
)]
#[case("80,81;", "expected {ARROW}, found `;`", "80,81;\n     ^")]
fn a_missing_arrow_is_refused(#[case] text: &str, #[case] message: &str, #[case] caret: &str) {
    check(text, &message.replace("{ARROW}", ARROW), caret);
}

#[rstest]
#[case(
    "80 ->",
    "expected a target after the `->`: `host:port` or `[ipv6]:port`, \
     found the end of the text",
    "80 ->\n     ^"
)]
#[case(
    "8080",
    "expected a target: `host:port` or `[ipv6]:port`, found `8080`; \
     did you mean `8080 -> host:3000`?",
    "8080\n^^^^"
)]
#[case(
    "8125/udp",
    "expected a target: `host:port` or `[ipv6]:port`, found `8125/udp`; \
     did you mean `8125/udp -> host:3000`?",
    "8125/udp\n^^^^^^^^"
)]
#[case("when x", "expected a target before `when`, found `when`", "when x\n^^^^")]
#[case(
    "80 -> 10.0.0.1",
    "expected a port after the address, found `10.0.0.1`; did you mean `10.0.0.1:3000`?",
    "80 -> 10.0.0.1\n      ^^^^^^^^"
)]
#[case(
    "80 -> my.laptop",
    "expected a port after the host name, found `my.laptop`; did you mean `my.laptop:3000`?",
    "80 -> my.laptop\n      ^^^^^^^^^"
)]
#[case(
    "localhost",
    "expected a port after the host name, found `localhost`; did you mean `localhost:3000`?",
    "localhost\n^^^^^^^^^"
)]
#[case("a:", "expected a port after the `:`, found `a:`; did you mean `a:3000`?", "a:\n^^")]
#[case("a:0", "expected a port from 1 to 65535, found `0`", "a:0\n  ^")]
#[case("a:99999", "expected a port from 1 to 65535, found `99999`", "a:99999\n  ^^^^^")]
#[case(
    "a:http",
    "expected a port from 1 to 65535, found `http`; did you mean `a:80`?",
    "a:http\n  ^^^^"
)]
#[case(
    "a:53/udp",
    "expected a port from 1 to 65535, found `53/udp`; a target has no path; did you mean `a:53`?",
    "a:53/udp\n  ^^^^^^"
)]
#[case(
    "a:80/x",
    "expected a port from 1 to 65535, found `80/x`; a target has no path; did you mean `a:80`?",
    "a:80/x\n  ^^^^"
)]
#[case(
    ":80",
    "expected a host name or an IP address, found nothing before `:80`; did you mean `host:80`?",
    ":80\n^"
)]
#[case(
    "10.0.0.300:80",
    "expected an IPv4 address of four numbers from 0 to 255, without leading zeros, \
     found `10.0.0.300`",
    "10.0.0.300:80\n^^^^^^^^^^"
)]
#[case(
    "8080:80",
    "expected a host name or an IP address before the `:`, found `8080`; \
     write the pod's port, then the target's host and port, as in `8080 -> host:80`",
    "8080:80\n^^^^"
)]
#[case(
    "fd00::1",
    "expected a target: `host:port` or `[ipv6]:port`, found `fd00::1`; \
     write an IPv6 address in brackets; did you mean `[fd00::1]:3000`?",
    "fd00::1\n^^^^^^^"
)]
#[case(
    "fd00::1:3000",
    "expected a target: `host:port` or `[ipv6]:port`, found `fd00::1:3000`; \
     write an IPv6 address in brackets; did you mean `[fd00::1]:3000`?",
    "fd00::1:3000\n^^^^^^^^^^^^"
)]
#[case(
    "fd00::a",
    "expected a target: `host:port` or `[ipv6]:port`, found `fd00::a`; \
     write an IPv6 address in brackets; did you mean `[fd00::a]:3000`?",
    "fd00::a\n^^^^^^^"
)]
#[case(
    "a:80:90",
    "expected a target: `host:port` or `[ipv6]:port`, found `a:80:90`; \
     a target has one port",
    "a:80:90\n^^^^^^^"
)]
#[case(
    "[fd00::1]",
    "expected a port after the IPv6 address, found `[fd00::1]`; did you mean `[fd00::1]:3000`?",
    "[fd00::1]\n^^^^^^^^^"
)]
#[case(
    "[fd00::1:80",
    "expected a `]` that closes the IPv6 address, found `[fd00::1:80`",
    "[fd00::1:80\n^^^^^^^^^^^"
)]
#[case(
    "[fd00::1]80",
    "expected `:` and a port after the `]`, found `[fd00::1]80`",
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
    "expected an IPv6 address between `[` and `]`, found `10.0.0.1`; \
     write an IPv4 address without brackets",
    "[10.0.0.1]:80\n ^^^^^^^^"
)]
#[case(
    "[fe80::1%eth0]:80",
    "expected an IPv6 address between `[` and `]`, found `fe80::1%eth0`; \
     an interface (`%eth0`) is meaningless on other hosts",
    "[fe80::1%eth0]:80\n ^^^^^^^^^^^^"
)]
#[case(
    "80 -> http://a:3000/x",
    "expected a target without a scheme (a rule redirects connections of any protocol), \
     found `http://a:3000/x`; did you mean `80 -> a:3000`?",
    "80 -> http://a:3000/x\n      ^^^^^^^^^^^^^^^"
)]
#[case(
    "http://a",
    "expected a target without a scheme (a rule redirects connections of any protocol), \
     found `http://a`; did you mean `a:80`?",
    "http://a\n^^^^^^^^"
)]
#[case(
    "\"a:80\"",
    "expected a target without quotes, found `\"a:80\"`; did you mean `a:80`?",
    "\"a:80\"\n^^^^^^"
)]
#[case(
    "Alice",
    "expected a port after the host name, found `Alice`; did you mean `Alice:3000`?",
    "Alice\n^^^^^"
)]
#[case("(a)", "expected a target: `host:port` or `[ipv6]:port`, found `(a)`", "(a)\n^^^")]
fn an_invalid_target_is_refused(#[case] text: &str, #[case] message: &str, #[case] caret: &str) {
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
#[case("a:1 with", "expected {OPTION}, found the end of the text", "a:1 with\n        ^")]
#[case(
    "a:1 with proxy",
    "expected {OPTION}, found `proxy`; did you mean `proxy-v2`?",
    "a:1 with proxy\n         ^^^^^"
)]
#[case("a:1 with tls", "expected {OPTION}, found `tls`", "a:1 with tls\n         ^^^")]
#[case(
    "a:1 with local-to-apps",
    "expected {OPTION}, found `local-to-apps`; did you mean `local-to-app`?",
    "a:1 with local-to-apps\n         ^^^^^^^^^^^^^"
)]
#[case(
    "a:1 with proxy-v2,",
    "expected {OPTION}, found the end of the text",
    "a:1 with proxy-v2,\n                  ^"
)]
#[case(
    "a:1 with proxy-v2, proxy-v2",
    "expected {ONCE}, found `proxy-v2`",
    "a:1 with proxy-v2, proxy-v2\n                   ^^^^^^^^"
)]
#[case(
    "a:1 with local-to-app,local-to-target",
    "expected {ONCE}, found `local-to-target`",
    "a:1 with local-to-app,local-to-target\n                      ^^^^^^^^^^^^^^^"
)]
#[case(
    "a:1 local-to-app",
    "expected {CLAUSE}, found `local-to-app`; did you mean `with local-to-app`?",
    "a:1 local-to-app\n    ^^^^^^^^^^^^"
)]
fn an_invalid_clause_is_refused(#[case] text: &str, #[case] message: &str, #[case] caret: &str) {
    let option = "`proxy-v2`, `local-to-app` or `local-to-target` after `with`";
    let once = "each option at most once, and only one of `local-to-app` and `local-to-target`";
    let message = message.replace("{OPTION}", option).replace("{ONCE}", once);
    check(text, &message.replace("{CLAUSE}", CLAUSE), caret);
}

#[rstest]
#[case(
    "a:1 percent",
    "a number after `percent`, found the end of the text",
    "a:1 percent\n           ^"
)]
#[case("a:1 percent;", "a number after `percent`, found `;`", "a:1 percent;\n           ^")]
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
fn an_invalid_percentage_is_refused(
    #[case] text: &str,
    #[case] message: &str,
    #[case] caret: &str,
) {
    let number = "a number above 0 and up to 100, with at most 4 decimal places";
    check(text, &format!("expected {}", message.replace("{P}", number)), caret);
}

#[rstest]
#[case("a:1 ttl", "a duration after `ttl`, found the end of the text", "a:1 ttl\n       ^")]
#[case("a:1 ttl 8", "{D}, found `8`; add a unit: `8s`, `8m` or `8h`", "a:1 ttl 8\n        ^")]
#[case("a:1 ttl forever", "{D}, found `forever`", "a:1 ttl forever\n        ^^^^^^^")]
#[case("a:1 ttl 8 h", "{D}, found `8`; add a unit: `8s`, `8m` or `8h`", "a:1 ttl 8 h\n        ^")]
#[case("a:1 ttl 1h 3x", "{D}, found `1h 3x`", "a:1 ttl 1h 3x\n        ^^^^^")]
#[case("a:1 ttl -5m", "{D}, found `-5m`", "a:1 ttl -5m\n        ^^^")]
#[case("a:1 ttl 0s", "a `ttl` of at least 1s, found `0s`", "a:1 ttl 0s\n        ^^")]
#[case("a:1 ttl 999ms", "a `ttl` of at least 1s, found `999ms`", "a:1 ttl 999ms\n        ^^^^^")]
#[case("a:1 ttl 31d", "a `ttl` of at most 30 days, found `31d`", "a:1 ttl 31d\n        ^^^")]
#[case(
    "a:1 ttl 99999999999999999999y",
    "{D}, found `99999999999999999999y`",
    "a:1 ttl 99999999999999999999y\n        ^^^^^^^^^^^^^^^^^^^^^"
)]
fn an_invalid_duration_is_refused(#[case] text: &str, #[case] message: &str, #[case] caret: &str) {
    let duration = "a duration such as `30m`, `8h` or `1h30m`";
    check(text, &format!("expected {}", message.replace("{D}", duration)), caret);
}

#[rstest]
#[case(
    "a:1 when",
    "a condition (a CEL expression) after `when`, found the end of the text",
    "a:1 when\n        ^"
)]
#[case(
    "a:1 when ;",
    "a condition (a CEL expression) after `when`, found `;`",
    "a:1 when ;\n         ^"
)]
#[case(
    "a:1 when ttl 5m",
    "a condition (a CEL expression) after `when`, found `ttl`",
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
#[case("a:1 when x)", "an opening bracket before this one, found none", "a:1 when x)\n          ^")]
#[case(
    "a:1 when [x)",
    "a closing bracket of the same kind as the opening one, found `)`; \
     `[` was opened at line 1, column 10",
    "a:1 when [x)\n           ^"
)]
#[case(
    "a:1 when x // y",
    "a condition without comments, found `//`",
    "a:1 when x // y\n           ^^"
)]
fn a_broken_condition_is_refused(#[case] text: &str, #[case] message: &str, #[case] caret: &str) {
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
fn an_invisible_character_is_refused(#[case] text: &str, #[case] found: &str, #[case] caret: &str) {
    let message =
        format!("expected only visible characters, spaces, tabs and line breaks, found {found}");
    check(text, &message, caret);
}

#[rstest]
#[case(" ".repeat(MAX_RULE_TEXT + 1), Limit::RuleText, "8193 bytes", MAX_RULE_TEXT)]
#[case("a:1;".repeat(MAX_RULES + 1), Limit::Rules, "one more", 64)]
#[case(port_list(MAX_PORTS + 1), Limit::Ports, "one more", 183)]
#[case(format!("a:1 when {}", "x".repeat(MAX_CONDITION + 1)), Limit::Condition, "2049 bytes", 9)]
fn a_text_beyond_a_limit_is_refused(
    #[case] text: String,
    #[case] limit: Limit,
    #[case] found: &str,
    #[case] start: usize,
) {
    let error = error(&text);
    assert_eq!(error.kind(), ErrorKind::Limit(limit));
    assert_eq!((error.expected(), error.found()), (limit.to_string().as_str(), found));
    assert_eq!(error.span().start, start);
}

/// `1,2,3` and so on, `count` ports in all.
fn port_list(count: usize) -> String {
    (1..=count).map(|port| port.to_string()).collect::<Vec<_>>().join(",")
}

#[test]
fn a_limit_prints_its_value() {
    assert_eq!(Limit::RuleText.to_string(), "at most 8192 bytes in one annotation");
    assert_eq!(Limit::Rules.to_string(), "at most 16 rules in one annotation");
    assert_eq!(Limit::Ports.to_string(), "at most 64 ports in one rule");
    assert_eq!(Limit::Condition.to_string(), "at most 2048 bytes in the condition of `when`");
}

#[test]
fn a_position_counts_lines_and_characters() {
    let text = "8080 -> a:1;\r\n\t9090 -> b:1 when 'ä' == ö)";
    let error = error(text);
    assert_eq!(error.position(), Position { line: 2, column: 27 });
    assert_eq!(error.caret(text), "    9090 -> b:1 when 'ä' == ö)\n                             ^");
}

#[test]
fn a_long_word_is_cut_in_the_message() {
    let error =
        error(&format!("80 -> {}.example", "x".repeat(60).as_str().to_owned() + &".x".repeat(90)));
    assert_eq!(error.kind(), ErrorKind::MissingPort);
    assert!(error.to_string().len() < 250, "{error}");
}
