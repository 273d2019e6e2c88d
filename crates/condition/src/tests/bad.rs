//! Refused conditions: the place, the problem and the suggestion.

use rstest::rstest;

use crate::limits::{MAX_DEPTH, MAX_REGEXES, MAX_SOURCE};
use crate::{Condition, ConditionError};

fn error(source: &str) -> ConditionError {
    Condition::compile(source).expect_err(source)
}

/// `carets` is the line below the source: `^^^` under the mistake.
fn check(source: &str, message: &str, carets: &str) {
    let error = error(source);
    let value = "expected an attribute such as `request.path`, a quoted string, or a number, found";
    let operator = "expected an operator such as `==` or `&&`, or the end, found";
    let attributes = ["method", "path", "url_path", "query", "host", "scheme", "protocol"]
        .into_iter()
        .chain(["useragent", "headers"])
        .map(|name| format!("`request.{name}`"))
        .collect::<Vec<_>>()
        .join(", ");
    let message = message
        .replace("{VALUE}", value)
        .replace("{OPERATOR}", operator)
        .replace("{REQUEST}", &attributes);
    assert_eq!(error.message(), message);
    assert_eq!(error.caret(source), format!("{source}\n{carets}"));
}

#[rstest]
#[case("request", "`request` alone has no value; its attributes are {REQUEST}", "^^^^^^^")]
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
    "`request.path` is a string and can't be indexed",
    "^^^^^^^^^^^^"
)]
#[case(
    r#"request["path"] == "x""#,
    "attributes are written with a dot; did you mean `request.path`?",
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
#[case("debug == request.path", "there is no attribute `debug`; write strings in quotes", "^^^^^")]
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
    "`response.code` is not available: a condition is evaluated before the response exists",
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
    "there is no attribute `foo.bar`; attributes begin with `request.`, `source.`, \
     `destination.` or `connection.`",
    "^^^^^^^"
)]
#[case(
    "has(source.port)",
    "`has` takes an attribute or a header, as in `has(request.host)`; \
     this attribute is always present",
    "    ^^^^^^^^^^^"
)]
#[case("has(request)", "`request` alone has no value; its attributes are {REQUEST}", "    ^^^^^^^")]
fn an_unknown_attribute_is_refused(
    #[case] source: &str,
    #[case] message: &str,
    #[case] carets: &str,
) {
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
    concat!(
        r#"write header names in lower case; the client's spelling does not matter; "#,
        r#"did you mean `"x-user"`?"#,
    ),
    "                ^^^^^^^^"
)]
#[case(
    r#"request.headers["x user"] == "debug""#,
    "`x user` is not a valid header name",
    "                ^^^^^^^^"
)]
#[case(r#"request.headers[""] == "debug""#, "`` is not a valid header name", "                ^^")]
#[case(
    r#"request.headers[":path"] == "debug""#,
    "`:path` is not a header here; did you mean `request.path`?",
    "^^^^^^^^^^^^^^^^^^^^^^^^"
)]
#[case(
    r#"request.headers[request.path] == "debug""#,
    "a header name must be a quoted string",
    "                ^^^^^^^^^^^^"
)]
#[case(
    r#"request.headers.x-user == "debug""#,
    concat!(
        r#"write a header name with `-` in brackets and quotes; "#,
        r#"did you mean `request.headers["x-user"]`?"#,
    ),
    "^^^^^^^^^^^^^^^^^^^^^^"
)]
#[case(
    r#"request.headers == "x""#,
    concat!(
        r#"`==` can't compare the header map with a string: "#,
        r#"`request.headers` is the header map, `"x"` is a string"#,
    ),
    "^^^^^^^^^^^^^^^^^^^^^^"
)]
#[case(
    r#"request.headers["x"]"#,
    concat!(
        r#"a condition must be a boolean, but `request.headers["x"]` is a string; "#,
        r#"did you mean `request.headers["x"] == "…"` or `"x" in request.headers`?"#,
    ),
    "^^^^^^^^^^^^^^^^^^^^"
)]
#[case(
    r#"has(request.headers["x"])"#,
    concat!(
        r#"`has` takes an attribute or a header, as in `has(request.host)`; "#,
        r#"did you mean `"x" in request.headers`?"#,
    ),
    "    ^^^^^^^^^^^^^^^^^^^^"
)]
fn an_invalid_header_is_refused(#[case] source: &str, #[case] message: &str, #[case] carets: &str) {
    check(source, message, carets);
}

#[rstest]
#[case(
    "request.path",
    concat!(
        r#"a condition must be a boolean, but `request.path` is a string; "#,
        r#"did you mean `request.path == "…"`?"#,
    ),
    "^^^^^^^^^^^^"
)]
#[case(
    "source.port",
    "a condition must be a boolean, but `source.port` is a number; \
     did you mean `source.port == …`?",
    "^^^^^^^^^^^"
)]
fn a_condition_that_is_not_a_boolean_is_refused(
    #[case] source: &str,
    #[case] message: &str,
    #[case] carets: &str,
) {
    check(source, message, carets);
}

#[rstest]
#[case(
    "request.method == 5",
    concat!(
        r#"`==` can't compare a string with a number: `request.method` is a string, "#,
        r#"`5` is a number; did you mean `"5"`?"#,
    ),
    "                  ^"
)]
#[case(
    "5 == request.method",
    concat!(
        r#"`==` can't compare a number with a string: `5` is a number, "#,
        r#"`request.method` is a string; did you mean `"5"`?"#,
    ),
    "^"
)]
#[case(
    r#"source.port == "80""#,
    concat!(
        r#"`==` can't compare a number with a string: `source.port` is a number, "#,
        r#"`"80"` is a string; did you mean `80`?"#,
    ),
    "               ^^^^"
)]
#[case(
    r#""80" == source.port"#,
    concat!(
        r#"`==` can't compare a string with a number: `"80"` is a string, "#,
        r#"`source.port` is a number; did you mean `80`?"#,
    ),
    "^^^^"
)]
#[case(
    r#"source.port == "http""#,
    r#"`==` can't compare a number with a string: `source.port` is a number, `"http"` is a string"#,
    "               ^^^^^^"
)]
#[case(
    r#"request.path == ["a"]"#,
    concat!(
        r#"`==` can't compare a string with a list of strings: "#,
        r#"`request.path` is a string, `["a"]` is a list of strings; did you mean `in`?"#,
    ),
    "             ^^"
)]
#[case(r#"["a"] == ["a"]"#, "`==` can't compare lists", "^^^^^^^^^^^^^^")]
#[case(
    r#"request.path.startsWith("/a") == "true""#,
    concat!(
        r#"`==` can't compare a boolean with a string: `request.path.startsWith("/a")` is a "#,
        r#"boolean, `"true"` is a string"#,
    ),
    "^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^"
)]
#[case(
    r#"request.path in "abc""#,
    concat!(
        r#"`in` searches a list, but `"abc"` is a string; "#,
        r#"did you mean `"abc".contains(request.path)`?"#,
    ),
    "                ^^^^^"
)]
#[case(
    r#""abc" in request.path"#,
    concat!(
        r#"`in` searches a list, but `request.path` is a string; "#,
        r#"did you mean `request.path.contains("abc")`?"#,
    ),
    "         ^^^^^^^^^^^^"
)]
#[case(
    r#"request.path in ["a", 5]"#,
    concat!(
        r#"expected a string in the list, like the first item, but `5` is a number; "#,
        r#"did you mean `"5"`?"#,
    ),
    "                      ^"
)]
#[case(
    r#"source.port in [80, "81"]"#,
    concat!(
        r#"expected a number in the list, like the first item, but `"81"` is a string; "#,
        r#"did you mean `81`?"#,
    ),
    "                    ^^^^"
)]
#[case(
    "true in [true]",
    "expected a string or a number in a list, but `true` is a boolean",
    "         ^^^^"
)]
#[case(
    r#"request.method == "GET" || "POST""#,
    concat!(
        r#"expected a boolean on both sides of `||`, but `"POST"` is a string; "#,
        r#"repeat the whole comparison, or write `… in ["a", "b"]`"#,
    ),
    "                           ^^^^^^"
)]
#[case(
    "!request.path",
    "expected a boolean after `!`, but `request.path` is a string",
    " ^^^^^^^^^^^^"
)]
#[case(
    "-request.path == 1",
    "expected a number after `-`, but `request.path` is a string; \
     did you mean `int(request.path)`?",
    " ^^^^^^^^^^^^"
)]
#[case(
    r#"request.path + 1 == "a""#,
    r#"expected a string after `+`, like before it, but `1` is a number; did you mean `"1"`?"#,
    "               ^"
)]
#[case(
    r#"source.port + "1" == 1"#,
    r#"expected a number after `+`, but `"1"` is a string; did you mean `1`?"#,
    "              ^^^"
)]
#[case(
    r#"request.headers["content-length"] > 5"#,
    concat!(
        r#"`>` can't compare a string with a number: `request.headers["content-length"]` is a "#,
        r#"string, `5` is a number; did you mean `int(request.headers["content-length"])`?"#,
    ),
    "^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^"
)]
#[case(
    "size(source.port) == 1",
    "expected a string or a list of strings in `size()`, but `source.port` is a number",
    "     ^^^^^^^^^^^"
)]
#[case(
    "request.path.startsWith(5)",
    r#"expected a string in the parentheses, but `5` is a number; did you mean `"5"`?"#,
    "                        ^"
)]
#[case(
    r#"source.port.startsWith("8")"#,
    "expected a string before `.startsWith`, but `source.port` is a number",
    "^^^^^^^^^^^"
)]
#[case(
    r#"request.path.split("/")["0"] == "a""#,
    r#"expected a number as the index, but `"0"` is a string; did you mean `0`?"#,
    "                        ^^^"
)]
#[case("[1][0] == 1", "`[1]` is a list of numbers and can't be indexed", "^^^")]
#[case(r#"has("x")"#, "`has` takes an attribute or a header, as in `has(request.host)`", "    ^^^")]
#[case(
    r#"request.path == "/" ? "a" : 5"#,
    r#"expected a string after `:`, like after `?`, but `5` is a number; did you mean `"5"`?"#,
    "                            ^"
)]
#[case(
    r#"source.port == 1 ? ["a"] : ["b"]"#,
    r#"expected a string, a number or a boolean after `?`, but `["a"]` is a list of strings"#,
    "                   ^^^^^"
)]
#[case(
    r#"[request.path == "/"]"#,
    r#"expected a string or a number in a list, but `request.path == "/"` is a boolean"#,
    " ^^^^^^^^^^^^^^^^^^^"
)]
fn a_part_of_a_wrong_type_is_refused(
    #[case] source: &str,
    #[case] message: &str,
    #[case] carets: &str,
) {
    check(source, message, carets);
}

#[rstest]
#[case(
    "source.port == 80000",
    "a port is from 0 to 65535, so it never equals 80000",
    "               ^^^^^"
)]
#[case(
    "source.port in [80, 80000]",
    "a port is from 0 to 65535, so it never equals 80000",
    "                    ^^^^^"
)]
#[case(
    r#"source.address == "10.0.0.1""#,
    concat!(
        r#"an address has the form `ip:port`, so it never equals `10.0.0.1`; "#,
        r#"did you mean `source.address.startsWith("10.0.0.1:")`?"#,
    ),
    "                  ^^^^^^^^^^"
)]
#[case(
    r#"source.address in ["10.0.0.1:80", "fd00::1"]"#,
    concat!(
        r#"an address has the form `ip:port`, so it never equals `fd00::1`; "#,
        r#"did you mean `source.address.startsWith("[fd00::1]:")`?"#,
    ),
    "                                  ^^^^^^^^^"
)]
#[case(
    r#"destination.address == "laptop""#,
    "an address has the form `ip:port`, so it never equals `laptop`",
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
    r#"a protocol is one of `HTTP/1.0`, `HTTP/1.1`, `HTTP/2`; did you mean `"HTTP/1.1"`?"#,
    "                    ^^^^^^^^^^"
)]
#[case(
    r#"request.protocol == "HTTP/2.0""#,
    r#"a protocol is one of `HTTP/1.0`, `HTTP/1.1`, `HTTP/2`; did you mean `"HTTP/2"`?"#,
    "                    ^^^^^^^^^^"
)]
#[case(
    r#"request.protocol == "h2c""#,
    "a protocol is one of `HTTP/1.0`, `HTTP/1.1`, `HTTP/2`",
    "                    ^^^^^"
)]
#[case(
    r#"request.url_path == "/a?b=c""#,
    "`request.url_path` has no query; did you mean `request.path`?",
    "                    ^^^^^^^^"
)]
#[case("request.path in []", "the list is empty", "                ^^")]
#[case("1 / 0 == 1", "this has no value: not a number, out of range, or no such item", "^^^^^")]
#[case(
    r#"int("x") == 1"#,
    "this has no value: not a number, out of range, or no such item",
    "^^^^^^^^"
)]
fn a_comparison_with_only_one_result_is_refused(
    #[case] source: &str,
    #[case] message: &str,
    #[case] carets: &str,
) {
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
fn an_operator_of_another_language_is_refused(
    #[case] source: &str,
    #[case] message: &str,
    #[case] carets: &str,
) {
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
    "expected `)` to close the parenthesis, or an operator, found the end of the condition",
    "                    ^"
)]
#[case("request.in == 1", "expected a name after the `.`, found `in`", "        ^^")]
#[case("while == 1", "{VALUE} `while`", "^^^^^")]
#[case(
    r#"request.path == "/" ? true"#,
    "expected `:` and the alternative, or an operator, found the end of the condition",
    "                          ^"
)]
#[case(r#"request.path == "/" "b""#, r#"{OPERATOR} `"b"`"#, "                    ^^^")]
#[case(
    "request.path.",
    "expected a name after the `.`, found the end of the condition",
    "             ^"
)]
#[case("a b", "{OPERATOR} `b`", "  ^")]
#[case(r#"request.path == "/" true"#, "{OPERATOR} `true`", "                    ^^^^")]
#[case(r#".request.path == "a""#, "{VALUE} `.`", "^")]
fn a_syntax_error_is_refused(#[case] source: &str, #[case] message: &str, #[case] carets: &str) {
    check(source, message, carets);
}

#[rstest]
#[case(
    r#"request.path.exists(c, c == "a")"#,
    "`exists` is a loop, and conditions have no loops; \
     for alternatives use `||`, `in`, or `a|b` in a regular expression",
    "             ^^^^^^"
)]
#[case(
    r#"["a"].all(x, request.path.startsWith(x))"#,
    "`all` is a loop, and conditions have no loops; for alternatives use `||`, `in`, \
     or `a|b` in a regular expression",
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
    "there is no function `frobnicate`; the functions are `startsWith`, `endsWith`, `contains`, \
     `matches`, `has`, `size`, `int`, `string`, `lowerAscii`, `upperAscii`, `trim`, `split`",
    "             ^^^^^^^^^^"
)]
#[case(
    r#"startsWith(request.path, "/a")"#,
    r#"`startsWith` is a method of strings; did you mean `request.path.startsWith("/a")`?"#,
    "^^^^^^^^^^"
)]
#[case(
    "request.path.int() == 1",
    "`int` is a function, not a method; did you mean `int(request.path)`?",
    "             ^^^"
)]
#[case(
    "request.path.startsWith()",
    r#"wrong number of arguments for `startsWith`, as in `text.startsWith("…")`"#,
    "             ^^^^^^^^^^"
)]
#[case(
    r#"request.path.startsWith("a", "b")"#,
    r#"wrong number of arguments for `startsWith`, as in `text.startsWith("…")`"#,
    "             ^^^^^^^^^^"
)]
#[case(
    r#"request.path.split("")[0] == "a""#,
    "`split` needs a quoted separator that is not empty",
    "                   ^^"
)]
fn an_invalid_call_is_refused(#[case] source: &str, #[case] message: &str, #[case] carets: &str) {
    check(source, message, carets);
}

#[rstest]
#[case(
    r#"request.path.matches("(")"#,
    "this is not a valid regular expression: unclosed group",
    "                     ^^^"
)]
#[case(
    r#"request.path.matches("*.html")"#,
    "this is not a valid regular expression: repetition operator missing expression; \
     in a regular expression, `.*` matches any text",
    "                     ^^^^^^^^"
)]
#[case(
    r#"request.path.matches("(?=x)")"#,
    "this is not a valid regular expression: look-around, including look-ahead and look-behind, \
     is not supported",
    "                     ^^^^^^^"
)]
#[case(
    r#"request.path.matches("(\\w{100}){100}")"#,
    concat!(
        r#"this regular expression compiles to over 131072 bytes; "#,
        r#"`[0-9]` and `[a-z]` are much smaller than `\d` and `\w`"#,
    ),
    "                     ^^^^^^^^^^^^^^^^^"
)]
#[case(
    "request.path.matches(request.host)",
    "a regular expression must be a quoted string, because it is compiled only once",
    "                     ^^^^^^^^^^^^"
)]
#[case(
    r#"request.path.matches("\d+")"#,
    r#"`\d` is not a string escape; write `\\d`, or r"…" for a regular expression"#,
    "                      ^^"
)]
fn an_invalid_regular_expression_is_refused(
    #[case] source: &str,
    #[case] message: &str,
    #[case] carets: &str,
) {
    check(source, message, carets);
}

#[rstest]
#[case(
    "1.5 == 1",
    "`1.5` is not a whole number; write IP addresses in quotes; numbers have no fractions here",
    "^^^"
)]
#[case(
    "request.path == 10.0.0.1",
    "`10.0.0.1` is not a whole number; write IP addresses in quotes; \
     numbers have no fractions here",
    "                ^^^^^^^^"
)]
#[case("5u == 5", "`5u` is unsigned, but all numbers here are signed; did you mean `5`?", "^^")]
#[case(
    "null == request.path",
    r#"conditions have no `null`; to test for a header, write `"x-user" in request.headers`"#,
    "^^^^"
)]
#[case(
    r#"b"x" == request.path"#,
    "a byte string never equals a string; remove the `b` before the quote",
    "^^"
)]
#[case(r#"{"a": 1} == 1"#, "maps are not supported", "^")]
#[case("Foo{a: 1}", "{OPERATOR} `{`; maps and messages are not supported", "   ^")]
#[case(r#"request.?path == "a""#, "optional values are not supported", "        ^")]
#[case(r#"request.headers[?"x"] == "a""#, "optional values are not supported", "                ^")]
#[case(
    r#"request.`path` == "a""#,
    r#"names in backticks are not supported; write a header as `request.headers["x-user"]`"#,
    "        ^"
)]
#[case(
    "request.path == “/”",
    r#"`“` is not valid in a condition; write strings in straight quotes: "…" or '…'"#,
    "                ^"
)]
#[case(r#"request.path == "/" // all"#, "conditions have no comments", "                    ^^")]
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
fn an_invalid_literal_is_refused(
    #[case] source: &str,
    #[case] message: &str,
    #[case] carets: &str,
) {
    check(source, message, carets);
}

#[test]
fn a_source_has_a_maximum_length() {
    let source = format!("true{}", " ".repeat(MAX_SOURCE - 4));
    assert!(Condition::compile(&source).is_ok());
    let error = error(&format!("{source}ä"));
    assert_eq!(error.message(), "a condition has at most 2048 bytes");
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
fn an_expression_has_a_maximum_depth(#[case] open: &str, #[case] close: &str, #[case] inner: &str) {
    let nested = |times| format!("{}{inner}{}", open.repeat(times), close.repeat(times));
    let message = "expressions are nested more than 32 deep";
    assert_eq!(error(&nested(MAX_DEPTH + 1)).message(), message);
    // The error is about the limit and not about another mistake.
    let shallow = Condition::compile(&nested(5));
    assert!(shallow.as_ref().err().is_none_or(|error| error.message() != message), "{shallow:?}");
    // The deepest nesting that the limit of the source allows.
    let times = (MAX_SOURCE - inner.len()) / (open.len() + close.len());
    assert_eq!(error(&nested(times)).message(), message);
}

#[rstest]
#[case("true && ", "true")]
#[case("true || ", "true")]
fn a_row_of_operands_is_not_deep(#[case] operand: &str, #[case] last: &str) {
    assert!(Condition::compile(&format!("{}{last}", operand.repeat(200))).is_ok());
}

#[test]
fn a_message_has_no_control_characters() {
    for source in
        ["'\0'", "request['\u{1b}[2J']", "request.path == \u{7}", "'\u{7}' in request.headers"]
    {
        let message = error(source).to_string();
        assert!(!message.chars().any(char::is_control), "{message:?}");
    }
}

/// The limit counts what makes an expression slow, not the size of Unicode tables.
#[rstest]
#[case("(0|a){400}b", false)]
#[case("((a?){40}){40}", false)]
#[case("[a0]*0[a0]{1100}", false)]
#[case("a{2000}", false)]
#[case("(0|a){14}b", true)]
#[case("^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$", true)]
#[case(r"^\w+@\w+$", true)]
fn a_regular_expression_has_a_maximum_size(#[case] pattern: &str, #[case] fits: bool) {
    let source = format!("request.path.matches(r'{pattern}')");
    match Condition::compile(&source) {
        Ok(_) => assert!(fits),
        Err(error) => assert!(!fits && error.problem().contains("regular expression"), "{error}"),
    }
}

#[test]
fn a_condition_has_a_maximum_number_of_regular_expressions() {
    let source = |count| vec!["request.path.matches(\"a\")"; count].join(" || ");
    assert!(Condition::compile(&source(MAX_REGEXES)).is_ok());
    let error = error(&source(MAX_REGEXES + 1));
    let message = "more than 4 regular expressions in one condition";
    assert_eq!(error.problem(), message);
}

#[test]
fn a_position_counts_lines_and_characters() {
    let source = "request.path == 'ä' &&\n  'ö' == request.patj";
    let error = error(source);
    assert_eq!(
        error.to_string(),
        "line 2, column 10: there is no attribute `request.patj`; did you mean `request.path`?"
    );
    assert_eq!(error.caret(source), "  'ö' == request.patj\n         ^^^^^^^^^^^^");
    assert_eq!((error.position().line, error.position().column), (2, 10));
}
