//! What is refused: where, why, and what is suggested.

use rstest::rstest;

use crate::limits::{MAX_DEPTH, MAX_REGEXES, MAX_SOURCE};
use crate::{Condition, ConditionError};

fn error(source: &str) -> ConditionError {
    Condition::compile(source).expect_err(source)
}

/// `carets` is the line below the source: `^^^` under the place.
fn check(source: &str, message: &str, carets: &str) {
    let error = error(source);
    let value =
        "expected an attribute such as `request.path`, a string in quotes, or a number, found";
    let operator = "expected an operator such as `==` or `&&`, or the end, found";
    let message = message.replace("{VALUE}", value).replace("{OPERATOR}", operator);
    assert_eq!(error.message(), message);
    assert_eq!(error.caret(source), format!("{source}\n{carets}"));
}

#[rstest]
#[case(
    "request",
    "`request` alone has no value; there is `request.method`, `request.path`, `request.url_path`, `request.query`, `request.host`, `request.scheme`, `request.protocol`, `request.useragent`, `request.headers`",
    "^^^^^^^"
)]
#[case(
    r#"request.path.foo == "x""#,
    "`request.path` is a string and has no field `foo`",
    "             ^^^"
)]
#[case(
    r#"request.path.startswith == "x""#,
    "`request.path` is a string and has no field `startswith`; did you mean `startsWith(…)`?",
    "             ^^^^^^^^^^"
)]
#[case(
    r#"request.path["x"] == "x""#,
    "`request.path` is a string and has no items",
    "^^^^^^^^^^^^"
)]
#[case(
    r#"request["path"] == "x""#,
    "an attribute is written with a point; did you mean `request.path`?",
    "^^^^^^^^^^^^^^^"
)]
#[case(
    r#"headers["x"] == "a""#,
    "there is no attribute `headers`; did you mean `request.headers`?",
    "^^^^^^^"
)]
#[case(
    r#"method == "GET""#,
    "there is no attribute `method`; did you mean `request.method`?",
    "^^^^^^"
)]
#[case(
    "debug == request.path",
    "there is no attribute `debug`; a string stands in quotes",
    "^^^^^"
)]
#[case(
    r#"request.url == "/""#,
    "there is no attribute `request.url`; did you mean `request.path`?",
    "^^^^^^^^^^^"
)]
#[case(
    r#"request.referer == "/""#,
    r#"there is no attribute `request.referer`; did you mean `request.headers["referer"]`?"#,
    "^^^^^^^^^^^^^^^"
)]
#[case(
    "response.code == 200",
    "`response.code` is not known: a condition is decided before there is a response",
    "^^^^^^^^^^^^^"
)]
#[case(
    r#"connection.sni == "a""#,
    "there is no attribute `connection.sni`; did you mean `connection.requested_server_name`?",
    "^^^^^^^^^^^^^^"
)]
#[case(
    r#"source.ip == "1.2.3.4""#,
    "there is no attribute `source.ip`; did you mean `source.address`?",
    "^^^^^^^^^"
)]
#[case(
    "foo.bar == 1",
    "there is no attribute `foo.bar`; they begin with `request.`, `source.`, `destination.` or `connection.`",
    "^^^^^^^"
)]
#[case(
    "has(source.port)",
    "`has` asks for an attribute or a header, such as `has(request.host)`; this one is always there",
    "    ^^^^^^^^^^^"
)]
#[case(
    "has(request)",
    "`request` alone has no value; there is `request.method`, `request.path`, `request.url_path`, `request.query`, `request.host`, `request.scheme`, `request.protocol`, `request.useragent`, `request.headers`",
    "    ^^^^^^^"
)]
fn attributes(#[case] source: &str, #[case] message: &str, #[case] carets: &str) {
    check(source, message, carets);
}

#[rstest]
#[case(
    r#"request.header["x"] == "a""#,
    "there is no attribute `request.header`; did you mean `request.headers`?",
    "^^^^^^^^^^^^^^"
)]
#[case(
    r#"request.headers["X-User"] == "debug""#,
    r#"the names of headers are in lower case here, whatever was sent; did you mean `"x-user"`?"#,
    "                ^^^^^^^^"
)]
#[case(
    r#"request.headers["x user"] == "debug""#,
    "`x user` is no name of a header",
    "                ^^^^^^^^"
)]
#[case(r#"request.headers[""] == "debug""#, "`` is no name of a header", "                ^^")]
#[case(
    r#"request.headers[":path"] == "debug""#,
    "`:path` is no header here; did you mean `request.path`?",
    "^^^^^^^^^^^^^^^^^^^^^^^^"
)]
#[case(
    r#"request.headers[request.path] == "debug""#,
    "the name of a header is a string in quotes, nothing else",
    "                ^^^^^^^^^^^^"
)]
#[case(
    r#"request.headers.x-user == "debug""#,
    r#"a header with `-` in its name stands in brackets and quotes; did you mean `request.headers["x-user"]`?"#,
    "^^^^^^^^^^^^^^^^^^^^^^"
)]
#[case(
    r#"request.headers == "x""#,
    r#"`==` can't compare the map of all headers and a string: `request.headers` is the map of all headers, `"x"` is a string"#,
    "^^^^^^^^^^^^^^^^^^^^^^"
)]
#[case(
    r#"request.headers["x"]"#,
    r#"a condition is true or false, and `request.headers["x"]` is a string; did you mean `request.headers["x"] == "…"` or `"x" in request.headers`?"#,
    "^^^^^^^^^^^^^^^^^^^^"
)]
#[case(
    r#"has(request.headers["x"])"#,
    r#"`has` asks for an attribute or a header, such as `has(request.host)`; did you mean `"x" in request.headers`?"#,
    "    ^^^^^^^^^^^^^^^^^^^^"
)]
fn headers(#[case] source: &str, #[case] message: &str, #[case] carets: &str) {
    check(source, message, carets);
}

#[rstest]
#[case(
    "request.path",
    r#"a condition is true or false, and `request.path` is a string; did you mean `request.path == "…"`?"#,
    "^^^^^^^^^^^^"
)]
#[case(
    "source.port",
    "a condition is true or false, and `source.port` is a number; did you mean `source.port == …`?",
    "^^^^^^^^^^^"
)]
fn results(#[case] source: &str, #[case] message: &str, #[case] carets: &str) {
    check(source, message, carets);
}

#[rstest]
#[case(
    "request.method == 5",
    r#"`==` can't compare a string and a number: `request.method` is a string, `5` is a number; did you mean `"5"`?"#,
    "                  ^"
)]
#[case(
    "5 == request.method",
    r#"`==` can't compare a number and a string: `5` is a number, `request.method` is a string; did you mean `"5"`?"#,
    "^"
)]
#[case(
    r#"source.port == "80""#,
    r#"`==` can't compare a number and a string: `source.port` is a number, `"80"` is a string; did you mean `80`?"#,
    "               ^^^^"
)]
#[case(
    r#""80" == source.port"#,
    r#"`==` can't compare a string and a number: `"80"` is a string, `source.port` is a number; did you mean `80`?"#,
    "^^^^"
)]
#[case(
    r#"source.port == "http""#,
    r#"`==` can't compare a number and a string: `source.port` is a number, `"http"` is a string"#,
    "               ^^^^^^"
)]
#[case(
    r#"request.path == ["a"]"#,
    r#"`==` can't compare a string and a list of strings: `request.path` is a string, `["a"]` is a list of strings; did you mean `in`?"#,
    "             ^^"
)]
#[case(r#"["a"] == ["a"]"#, "`==` can't compare lists", "^^^^^^^^^^^^^^")]
#[case(
    r#"request.path.startsWith("/a") == "true""#,
    r#"`==` can't compare true or false and a string: `request.path.startsWith("/a")` is true or false, `"true"` is a string"#,
    "^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^"
)]
#[case(
    r#"request.path in "abc""#,
    r#"`"abc"` is a string, and `in` looks into a list; did you mean `"abc".contains(request.path)`?"#,
    "                ^^^^^"
)]
#[case(
    r#""abc" in request.path"#,
    r#"`request.path` is a string, and `in` looks into a list; did you mean `request.path.contains("abc")`?"#,
    "         ^^^^^^^^^^^^"
)]
#[case(
    r#"request.path in ["a", 5]"#,
    r#"expected a string in the list, as the first item is one, and `5` is a number; did you mean `"5"`?"#,
    "                      ^"
)]
#[case(
    r#"source.port in [80, "81"]"#,
    r#"expected a number in the list, as the first item is one, and `"81"` is a string; did you mean `81`?"#,
    "                    ^^^^"
)]
#[case(
    "true in [true]",
    "expected a string or a number in a list, and `true` is true or false",
    "         ^^^^"
)]
#[case(
    r#"request.method == "GET" || "POST""#,
    r#"expected true or false beside `||`, and `"POST"` is a string; write the whole comparison again, or `… in ["a", "b"]`"#,
    "                           ^^^^^^"
)]
#[case(
    "!request.path",
    "expected true or false behind `!`, and `request.path` is a string",
    " ^^^^^^^^^^^^"
)]
#[case(
    "-request.path == 1",
    "expected a number behind `-`, and `request.path` is a string; did you mean `int(request.path)`?",
    " ^^^^^^^^^^^^"
)]
#[case(
    r#"request.path + 1 == "a""#,
    r#"expected a string behind `+`, as there is in front, and `1` is a number; did you mean `"1"`?"#,
    "               ^"
)]
#[case(
    r#"source.port + "1" == 1"#,
    r#"expected a number behind `+`, and `"1"` is a string; did you mean `1`?"#,
    "              ^^^"
)]
#[case(
    r#"request.headers["content-length"] > 5"#,
    r#"`>` can't compare a string and a number: `request.headers["content-length"]` is a string, `5` is a number; did you mean `int(request.headers["content-length"])`?"#,
    "^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^"
)]
#[case(
    "size(source.port) == 1",
    "expected a string as that of which to tell the size, and `source.port` is a number",
    "     ^^^^^^^^^^^"
)]
#[case(
    "request.path.startsWith(5)",
    r#"expected a string in the brackets, and `5` is a number; did you mean `"5"`?"#,
    "                        ^"
)]
#[case(
    r#"source.port.startsWith("8")"#,
    "expected a string in front of `.startsWith`, and `source.port` is a number",
    "^^^^^^^^^^^"
)]
#[case(
    r#"request.path.split("/")["0"] == "a""#,
    r#"expected a number as index, and `"0"` is a string; did you mean `0`?"#,
    "                        ^^^"
)]
#[case("[1][0] == 1", "`[1]` is a list of numbers and has no items", "^^^")]
#[case(
    r#"has("x")"#,
    "`has` asks for an attribute or a header, such as `has(request.host)`",
    "    ^^^"
)]
#[case(
    r#"request.path == "/" ? "a" : 5"#,
    r#"expected a string behind `:`, as there is behind `?`, and `5` is a number; did you mean `"5"`?"#,
    "                            ^"
)]
#[case(
    r#"source.port == 1 ? ["a"] : ["b"]"#,
    r#"expected a string, a number, or true or false behind `?`, and `["a"]` is a list of strings"#,
    "                   ^^^^^"
)]
#[case(
    r#"[request.path == "/"]"#,
    r#"expected a string or a number in a list, and `request.path == "/"` is true or false"#,
    " ^^^^^^^^^^^^^^^^^^^"
)]
fn types(#[case] source: &str, #[case] message: &str, #[case] carets: &str) {
    check(source, message, carets);
}

#[rstest]
#[case(
    "source.port == 80000",
    "a port is from 0 to 65535, and never 80000",
    "               ^^^^^"
)]
#[case(
    "source.port in [80, 80000]",
    "a port is from 0 to 65535, and never 80000",
    "                    ^^^^^"
)]
#[case(
    r#"source.address == "10.0.0.1""#,
    r#"an address is `ip:port`, which `10.0.0.1` never is; did you mean `source.address.startsWith("10.0.0.1:")`?"#,
    "                  ^^^^^^^^^^"
)]
#[case(
    r#"source.address in ["10.0.0.1:80", "fd00::1"]"#,
    r#"an address is `ip:port`, which `fd00::1` never is; did you mean `source.address.startsWith("[fd00::1]:")`?"#,
    "                                  ^^^^^^^^^"
)]
#[case(
    r#"destination.address == "laptop""#,
    "an address is `ip:port`, which `laptop` never is",
    "                       ^^^^^^^^"
)]
#[case(
    r#"request.method == "get""#,
    r#"methods are in upper case; did you mean `"GET"`?"#,
    "                  ^^^^^"
)]
#[case(
    r#"request.method in ["GET", "post"]"#,
    r#"methods are in upper case; did you mean `"POST"`?"#,
    "                          ^^^^^^"
)]
#[case(
    r#"request.protocol == "http/1.1""#,
    r#"a protocol is `HTTP/1.0`, `HTTP/1.1`, `HTTP/2`; did you mean `"HTTP/1.1"`?"#,
    "                    ^^^^^^^^^^"
)]
#[case(
    r#"request.protocol == "HTTP/2.0""#,
    r#"a protocol is `HTTP/1.0`, `HTTP/1.1`, `HTTP/2`; did you mean `"HTTP/2"`?"#,
    "                    ^^^^^^^^^^"
)]
#[case(
    r#"request.protocol == "h2c""#,
    "a protocol is `HTTP/1.0`, `HTTP/1.1`, `HTTP/2`",
    "                    ^^^^^"
)]
#[case(
    r#"request.url_path == "/a?b=c""#,
    "`request.url_path` is without the query; did you mean `request.path`?",
    "                    ^^^^^^^^"
)]
#[case("request.path in []", "this list is empty", "                ^^")]
#[case("1 / 0 == 1", "this has no value: no number, out of range, or no such item", "^^^^^")]
#[case(
    r#"int("x") == 1"#,
    "this has no value: no number, out of range, or no such item",
    "^^^^^^^^"
)]
fn comparisons_with_one_answer(#[case] source: &str, #[case] message: &str, #[case] carets: &str) {
    check(source, message, carets);
}

#[rstest]
#[case(r#"request.path = "/""#, "{OPERATOR} `=`; did you mean `==`?", "             ^")]
#[case(r#"request.path === "/""#, "{OPERATOR} `===`; did you mean `==`?", "             ^^^")]
#[case(
    r#"request.path =~ "/""#,
    r#"{OPERATOR} `=~`; did you mean `.matches("…")`?"#,
    "             ^^"
)]
#[case(
    r#"request.path like "/""#,
    r#"{OPERATOR} `like`; did you mean `.matches("…")`?"#,
    "             ^^^^"
)]
#[case(
    r#"request.path contains "x""#,
    r#"{OPERATOR} `contains`; did you mean `.contains("…")`?"#,
    "             ^^^^^^^^"
)]
#[case(
    r#"request.path startsWith("x")"#,
    r#"{OPERATOR} `startsWith`; did you mean `.startsWith("…")`?"#,
    "             ^^^^^^^^^^"
)]
#[case(
    r#"request.path == "/" and request.method == "GET""#,
    "{OPERATOR} `and`; did you mean `&&`?",
    "                    ^^^"
)]
#[case(
    r#"request.path == "/" & request.method == "GET""#,
    "{OPERATOR} `&`; did you mean `&&`?",
    "                    ^"
)]
#[case(
    r#"request.path == "/" or true"#,
    "{OPERATOR} `or`; did you mean `||`?",
    "                    ^^"
)]
#[case(r#"not request.path == "/""#, "{VALUE} `not`; did you mean `!`?", "^^^")]
fn operators_of_other_languages(#[case] source: &str, #[case] message: &str, #[case] carets: &str) {
    check(source, message, carets);
}

#[rstest]
#[case("", "{VALUE} the end of the condition", "^")]
#[case(r#"request.path == "/" ||"#, "{VALUE} the end of the condition", "                      ^")]
#[case("request.path ==", "{VALUE} the end of the condition", "               ^")]
#[case(r#"== "/""#, "{VALUE} `==`", "^^")]
#[case(r#"request.path == "/" )"#, "{OPERATOR} `)`", "                    ^")]
#[case(
    r#"(request.path == "/""#,
    "expected `)` that closes the bracket, or an operator, found the end of the condition",
    "                    ^"
)]
#[case("request.in == 1", "expected a name behind the `.`, found `in`", "        ^^")]
#[case("while == 1", "{VALUE} `while`", "^^^^^")]
#[case(
    r#"request.path == "/" ? true"#,
    "expected `:` and what it is otherwise, or an operator, found the end of the condition",
    "                          ^"
)]
#[case(r#"request.path == "/" "b""#, r#"{OPERATOR} `"b"`"#, "                    ^^^")]
#[case(
    "request.path.",
    "expected a name behind the `.`, found the end of the condition",
    "             ^"
)]
#[case("a b", "{OPERATOR} `b`", "  ^")]
#[case(r#"request.path == "/" true"#, "{OPERATOR} `true`", "                    ^^^^")]
#[case(r#".request.path == "a""#, "{VALUE} `.`", "^")]
fn what_is_missing_or_too_much(#[case] source: &str, #[case] message: &str, #[case] carets: &str) {
    check(source, message, carets);
}

#[rstest]
#[case(
    r#"request.path.exists(c, c == "a")"#,
    "`exists` is a loop, and a condition has none; alternatives are written with `||`, `in`, or `a|b` in a regular expression",
    "             ^^^^^^"
)]
#[case(
    r#"["a"].all(x, request.path.startsWith(x))"#,
    "`all` is a loop, and a condition has none; alternatives are written with `||`, `in`, or `a|b` in a regular expression",
    "      ^^^"
)]
#[case(
    r#"request.path.hasPrefix("/a")"#,
    r#"there is no function `hasPrefix`; did you mean `text.startsWith("…")`?"#,
    "             ^^^^^^^^^"
)]
#[case(
    r#"request.path.toLowerCase() == "a""#,
    "there is no function `toLowerCase`; did you mean `text.lowerAscii()`?",
    "             ^^^^^^^^^^^"
)]
#[case(
    r#"request.path.startWith("/a")"#,
    r#"there is no function `startWith`; did you mean `text.startsWith("…")`?"#,
    "             ^^^^^^^^^"
)]
#[case(
    r#"request.path.frobnicate("/a")"#,
    "there is no function `frobnicate`; there is `startsWith`, `endsWith`, `contains`, `matches`, `has`, `size`, `int`, `string`, `lowerAscii`, `upperAscii`, `trim`, `split`",
    "             ^^^^^^^^^^"
)]
#[case(
    r#"startsWith(request.path, "/a")"#,
    r#"`startsWith` stands behind a text; did you mean `request.path.startsWith("/a")`?"#,
    "^^^^^^^^^^"
)]
#[case(
    "request.path.int() == 1",
    "`int` stands in front; did you mean `int(request.path)`?",
    "             ^^^"
)]
#[case(
    "request.path.startsWith()",
    r#"`startsWith` is called as in `text.startsWith("…")`"#,
    "             ^^^^^^^^^^"
)]
#[case(
    r#"request.path.startsWith("a", "b")"#,
    r#"`startsWith` is called as in `text.startsWith("…")`"#,
    "             ^^^^^^^^^^"
)]
#[case(
    r#"request.path.split("")[0] == "a""#,
    "a text is split at a string in quotes that is not empty",
    "                   ^^"
)]
fn functions(#[case] source: &str, #[case] message: &str, #[case] carets: &str) {
    check(source, message, carets);
}

#[rstest]
#[case(
    r#"request.path.matches("(")"#,
    "this is no regular expression: unclosed group",
    "                     ^^^"
)]
#[case(
    r#"request.path.matches("*.html")"#,
    "this is no regular expression: repetition operator missing expression; in a regular expression `.*` stands for anything",
    "                     ^^^^^^^^"
)]
#[case(
    r#"request.path.matches("(?=x)")"#,
    "this is no regular expression: look-around, including look-ahead and look-behind, is not supported",
    "                     ^^^^^^^"
)]
#[case(
    r#"request.path.matches("(\\w{100}){100}")"#,
    r#"this regular expression takes more than 131072 bytes (MAX_REGEX); `[0-9]` and `[a-z]` are much smaller than `\d` and `\w`"#,
    "                     ^^^^^^^^^^^^^^^^^"
)]
#[case(
    "request.path.matches(request.host)",
    "a regular expression is a string in quotes, as it is compiled once and for all",
    "                     ^^^^^^^^^^^^"
)]
#[case(
    r#"request.path.matches("\d+")"#,
    r#"`\d` is no escape of a string; write `\\d`, or r"…" around a regular expression"#,
    "                      ^^"
)]
fn regular_expressions(#[case] source: &str, #[case] message: &str, #[case] carets: &str) {
    check(source, message, carets);
}

#[rstest]
#[case(
    "1.5 == 1",
    "`1.5` is not a whole number; an IP address stands in quotes, and other numbers have no fractions here",
    "^^^"
)]
#[case(
    "request.path == 10.0.0.1",
    "`10.0.0.1` is not a whole number; an IP address stands in quotes, and other numbers have no fractions here",
    "                ^^^^^^^^"
)]
#[case("5u == 5", "`5u` is unsigned, and all numbers here are signed; did you mean `5`?", "^^")]
#[case(
    "null == request.path",
    r#"nothing is `null` here; whether a header is there is asked by `"x-user" in request.headers`"#,
    "^^^^"
)]
#[case(
    r#"b"x" == request.path"#,
    "a string of bytes is equal to nothing in a condition; leave out the `b` in front of the quote",
    "^^"
)]
#[case(r#"{"a": 1} == 1"#, "maps are not offered", "^")]
#[case("Foo{a: 1}", "{OPERATOR} `{`; maps and messages are not offered", "   ^")]
#[case(r#"request.?path == "a""#, "optional values are not offered", "        ^")]
#[case(r#"request.headers[?"x"] == "a""#, "optional values are not offered", "                ^")]
#[case(
    r#"request.`path` == "a""#,
    r#"names in backticks are not offered; a header is written as in `request.headers["x-user"]`"#,
    "        ^"
)]
#[case(
    "request.path == “/”",
    r#"`“` means nothing in a condition; strings stand in straight quotes: "…" or '…'"#,
    "                ^"
)]
#[case(r#"request.path == "/" // all"#, "a condition has no comments", "                    ^^")]
#[case(r#"request.path == "/"#, "this string has no closing quote", "                ^")]
#[case(r#"request.path == 'a""#, "this string has no closing quote", "                ^")]
#[case(
    "99999999999999999999 == 1",
    "a number is at most 9223372036854775807",
    "^^^^^^^^^^^^^^^^^^^^"
)]
#[case(
    "9223372036854775808 == 1",
    "a number is at most 9223372036854775807",
    "^^^^^^^^^^^^^^^^^^^"
)]
#[case("12ab == 1", "`12ab` is neither a number nor a name", "^^^^")]
fn literals(#[case] source: &str, #[case] message: &str, #[case] carets: &str) {
    check(source, message, carets);
}

#[test]
fn a_source_is_only_so_long() {
    let source = format!("true{}", " ".repeat(MAX_SOURCE - 4));
    assert!(Condition::compile(&source).is_ok());
    let error = error(&format!("{source}ä"));
    assert_eq!(error.message(), "a condition has at most 2048 bytes (MAX_SOURCE)");
    assert_eq!((error.span().start, error.span().end), (2048, 2050));
}

#[rstest]
#[case("(", ")", "true")]
#[case("!", "", "true")]
#[case("!(", ")", "true")]
#[case("-", "", "source.port")]
#[case("[", "]", "1")]
#[case("has(", ")", "request.host")]
#[case("request.path.startsWith(", ")", "request.path")]
#[case("true ? false : ", "", "true")]
#[case("true ? (", ") : true", "true")]
#[case("", ".trim()", "request.path")]
#[case("", ".a", "request")]
#[case("", "[0]", "request.path")]
#[case("", " + 1", "1")]
#[case("", " == true", "true")]
fn an_expression_is_only_so_deep(#[case] open: &str, #[case] close: &str, #[case] inner: &str) {
    let nested = |times| format!("{}{inner}{}", open.repeat(times), close.repeat(times));
    let message = "more than 32 expressions are inside each other (MAX_DEPTH)";
    assert_eq!(error(&nested(MAX_DEPTH + 1)).message(), message);
    // It is that limit, and not another mistake, that is reported.
    let shallow = Condition::compile(&nested(5));
    assert!(shallow.as_ref().err().is_none_or(|error| error.message() != message), "{shallow:?}");
    // As deep as the limit of the source allows.
    let times = (MAX_SOURCE - inner.len()) / (open.len() + close.len());
    assert_eq!(error(&nested(times)).message(), message);
}

/// Rows of operands are not deep.
#[rstest]
#[case("true && ", "true")]
#[case("true || ", "true")]
fn a_row_is_not_deep(#[case] operand: &str, #[case] last: &str) {
    assert!(Condition::compile(&format!("{}{last}", operand.repeat(200))).is_ok());
}

#[test]
fn a_message_can_be_printed() {
    for source in
        ["'\0'", "request['\u{1b}[2J']", "request.path == \u{7}", "'\u{7}' in request.headers"]
    {
        let message = error(source).to_string();
        assert!(!message.chars().any(char::is_control), "{message:?}");
    }
}

/// What makes it slow is counted, and not the tables of Unicode.
#[rstest]
#[case("(0|a){400}b", false)]
#[case("((a?){40}){40}", false)]
#[case("[a0]*0[a0]{1100}", false)]
#[case("a{2000}", false)]
#[case("(0|a){14}b", true)]
#[case("^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$", true)]
#[case(r"^\w+@\w+$", true)]
fn a_regular_expression_is_only_so_large(#[case] pattern: &str, #[case] fits: bool) {
    let source = format!("request.path.matches(r'{pattern}')");
    match Condition::compile(&source) {
        Ok(_) => assert!(fits),
        Err(error) => assert!(!fits && error.problem().contains("MAX_REGEX"), "{error}"),
    }
}

#[test]
fn there_are_only_so_many_regular_expressions() {
    let source = |count| vec!["request.path.matches(\"a\")"; count].join(" || ");
    assert!(Condition::compile(&source(MAX_REGEXES)).is_ok());
    let error = error(&source(MAX_REGEXES + 1));
    let message = "more than 4 regular expressions in one condition (MAX_REGEXES)";
    assert_eq!(error.problem(), message);
}

#[test]
fn the_place_counts_lines_and_characters() {
    let source = "request.path == 'ä' &&\n  'ö' == request.patj";
    let error = error(source);
    assert_eq!(
        error.to_string(),
        "line 2, column 10: there is no attribute `request.patj`; did you mean `request.path`?"
    );
    assert_eq!(error.caret(source), "  'ö' == request.patj\n         ^^^^^^^^^^^^");
    assert_eq!((error.position().line, error.position().column), (2, 10));
}
