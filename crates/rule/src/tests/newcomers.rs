//! Rules as people write them who have not read the documentation, each with the whole message that
//! they see: the place, what is wrong there, and what to write instead.

use crate::*;

/// What the author of `text` sees.
fn message(text: &str) -> String {
    match parse(text) {
        Err(error) => error.to_string(),
        Ok(rules) => match rules.iter().find_map(Rule::unsupported) {
            Some(unsupported) => {
                let column = Position::of(text, unsupported.span.start).column;
                format!("column {column}: {unsupported}")
            }
            None => panic!("{text:?} was understood as {rules:?}"),
        },
    }
}

#[test]
fn each_mistake_has_a_message_with_place_and_remedy() {
    for (text, expected) in MISTAKES {
        assert_eq!(message(text), *expected, "{text}");
    }
}

/// Whoever writes this means a host and a port, and gets them.
#[test]
fn a_suggested_rule_is_one() {
    let mut rules = 0;
    for (text, expected) in MISTAKES {
        let suggested = expected
            .split_once("did you mean `")
            .and_then(|(_, rest)| rest.split_once("`?").map(|(suggested, _)| suggested));
        let whole = suggested.filter(|suggested| suggested.contains(" -> "));
        if let Some(suggested) = whole {
            parse(suggested).unwrap_or_else(|error| panic!("{text}: {error}"));
            rules += 1;
        }
    }
    assert!(rules > 30, "{rules}");
}

const MISTAKES: &[(&str, &str)] = &[
    (
        "8080 -> laptop",
        "column 9: a session name as target is not supported yet; if `laptop` is a host, add a \
         port: `laptop:3000`",
    ),
    (
        "laptop",
        "column 1: a session name as target is not supported yet; if `laptop` is a host, add a \
         port: `laptop:3000`",
    ),
    (
        "8080 -> Laptop",
        "line 1, column 9: expected a port after the host name, found `Laptop`; did you mean \
         `Laptop:3000`? (example: `8080 -> 10.20.0.7:3000`)",
    ),
    (
        "8080 -> laptop 3000",
        "line 1, column 16: expected `when`, `percent`, `ttl`, `with`, `;` or the end, found \
         `3000`; did you mean `laptop:3000`? (example: `8080 -> 10.20.0.7:3000 ttl 8h`)",
    ),
    (
        "8080 -> laptop :3000",
        "line 1, column 16: expected `when`, `percent`, `ttl`, `with`, `;` or the end, found \
         `:3000`; did you mean `laptop:3000`? (example: `8080 -> 10.20.0.7:3000 ttl 8h`)",
    ),
    (
        "8080 -> laptop: 3000",
        "line 1, column 9: expected a port after the `:`, found `laptop:`; did you mean `8080 -> \
         laptop:3000`? (example: `8080 -> 10.20.0.7:3000`)",
    ),
    (
        "8080 -> 10.20.0.7 4000",
        "line 1, column 9: expected a port after the address, found `10.20.0.7`; did you mean \
         `8080 -> 10.20.0.7:4000`? (example: `8080 -> 10.20.0.7:3000`)",
    ),
    (
        "8080 -> laptop/3000",
        "line 1, column 9: expected a target: `host:port` or `[ipv6]:port`, found `laptop/3000`; \
         did you mean `8080 -> laptop:3000`? (example: `8080 -> 10.20.0.7:3000`)",
    ),
    (
        "http -> laptop:3000",
        "line 1, column 1: expected a port from 1 to 65535, found `http`; write the port's \
         number (example: `8080 -> 10.20.0.7:3000`)",
    ),
    (
        "http -> 3000",
        "line 1, column 1: expected a port from 1 to 65535, found `http`; write the port's \
         number (example: `8080 -> 10.20.0.7:3000`)",
    ),
    (
        "web-ui -> laptop:3000",
        "line 1, column 1: expected a port from 1 to 65535, found `web-ui`; write the port's \
         number (example: `8080 -> 10.20.0.7:3000`)",
    ),
    (
        "* -> laptop:3000",
        "line 1, column 1: expected a port from 1 to 65535, found `*`; to redirect all declared \
         ports, write the target alone: `laptop:3000` (example: `8080 -> 10.20.0.7:3000`)",
    ),
    (
        "all -> laptop:3000",
        "line 1, column 1: expected a port from 1 to 65535, found `all`; to redirect all \
         declared ports, write the target alone: `laptop:3000` (example: `8080 -> \
         10.20.0.7:3000`)",
    ),
    (
        "* -> laptop",
        "line 1, column 1: expected a port from 1 to 65535, found `*`; to redirect all declared \
         ports, write the target alone (example: `8080 -> 10.20.0.7:3000`)",
    ),
    (
        "*",
        "line 1, column 1: expected a target: `host:port` or `[ipv6]:port`, found `*`; to \
         redirect all declared ports, write the target alone (example: `8080 -> 10.20.0.7:3000`)",
    ),
    (
        "http",
        "column 1: a session name as target is not supported yet; if `http` is a host, add a \
         port: `http:3000`",
    ),
    (
        "10.20.0.7:3000 -> 8080",
        "line 1, column 1: expected a port from 1 to 65535, found `10.20.0.7:3000`; the pod's \
         port comes first; did you mean `8080 -> 10.20.0.7:3000`? (example: `8080 -> \
         10.20.0.7:3000`)",
    ),
    (
        "laptop:3000 -> 8080",
        "line 1, column 1: expected a port from 1 to 65535, found `laptop:3000`; the pod's port \
         comes first; did you mean `8080 -> laptop:3000`? (example: `8080 -> 10.20.0.7:3000`)",
    ),
    (
        "laptop -> 8080",
        "line 1, column 1: expected a port from 1 to 65535, found `laptop`; the pod's port comes \
         first; did you mean `8080 -> laptop:3000`? (example: `8080 -> 10.20.0.7:3000`)",
    ),
    (
        "localhost:3000 -> 8080",
        "line 1, column 1: expected a port from 1 to 65535, found `localhost:3000`; the pod's \
         port comes first; did you mean `8080 -> 10.20.0.7:3000`? (example: `8080 -> \
         10.20.0.7:3000`)",
    ),
    (
        "http://laptop:3000 -> 8080",
        "line 1, column 1: expected a port from 1 to 65535, found `http://laptop:3000`; the \
         pod's port comes first; did you mean `8080 -> laptop:3000`? (example: `8080 -> \
         10.20.0.7:3000`)",
    ),
    (
        "laptop:3000 <- 8080",
        "line 1, column 1: expected a port from 1 to 65535, found `laptop:3000`; the pod's port \
         comes first; did you mean `8080 -> laptop:3000`? (example: `8080 -> 10.20.0.7:3000`)",
    ),
    (
        "8080 <- laptop:3000",
        "line 1, column 6: expected `->` between the ports and the target, found `<-`; did you \
         mean `->`? (example: `8080 -> 10.20.0.7:3000`)",
    ),
    (
        "8080 <- 3000",
        "line 1, column 6: expected `->` between the ports and the target, found `<-`; did you \
         mean `->`? (example: `8080 -> 10.20.0.7:3000`)",
    ),
    (
        "[fd00::7]:3000 -> 8080",
        "line 1, column 1: expected a port from 1 to 65535, found `[fd00::7]:3000`; the pod's \
         port comes first; did you mean `8080 -> [fd00::7]:3000`? (example: `8080 -> \
         10.20.0.7:3000`)",
    ),
    (
        "laptop:3000 8080",
        "line 1, column 13: expected `when`, `percent`, `ttl`, `with`, `;` or the end, found \
         `8080`; the pod's port comes first; did you mean `8080 -> laptop:3000`? (example: `8080 \
         -> 10.20.0.7:3000 ttl 8h`)",
    ),
    (
        "3000:8080",
        "line 1, column 1: expected a host name or an IP address before the `:`, found `3000`; \
         write the pod's port, then the target's host and port, as in `3000 -> host:8080` \
         (example: `8080 -> 10.20.0.7:3000`)",
    ),
    (
        "8080:3000",
        "line 1, column 1: expected a host name or an IP address before the `:`, found `8080`; \
         write the pod's port, then the target's host and port, as in `8080 -> host:3000` \
         (example: `8080 -> 10.20.0.7:3000`)",
    ),
    (
        "8080 -> 3000",
        "line 1, column 9: expected a target: `host:port` or `[ipv6]:port`, found `3000`; did \
         you mean `8080 -> host:3000`? (example: `8080 -> 10.20.0.7:3000`)",
    ),
    (
        "8080 -> :3000",
        "line 1, column 9: expected a host name or an IP address, found nothing before `:3000`; \
         did you mean `8080 -> host:3000`? (example: `8080 -> 10.20.0.7:3000`)",
    ),
    (
        "8080 3000",
        "line 1, column 6: expected `->` between the ports and the target, found `3000`; did you \
         mean `-> host:3000`? (example: `8080 -> 10.20.0.7:3000`)",
    ),
    (
        "8080:laptop:3000",
        "line 1, column 1: expected a target: `host:port` or `[ipv6]:port`, found \
         `8080:laptop:3000`; did you mean `8080 -> laptop:3000`? (example: `8080 -> \
         10.20.0.7:3000`)",
    ),
    (
        "8080:10.20.0.7:3000",
        "line 1, column 1: expected a target: `host:port` or `[ipv6]:port`, found \
         `8080:10.20.0.7:3000`; did you mean `8080 -> 10.20.0.7:3000`? (example: `8080 -> \
         10.20.0.7:3000`)",
    ),
    (
        "8080=laptop:3000",
        "line 1, column 1: expected a host name of letters, digits, `-`, `_` and `.`, found \
         `8080=laptop`; did you mean `8080 -> laptop:3000`? (example: `8080 -> 10.20.0.7:3000`)",
    ),
    (
        "8080: laptop:3000",
        "line 1, column 1: expected a port after the `:`, found `8080:`; did you mean `8080 -> \
         laptop:3000`? (example: `8080 -> 10.20.0.7:3000`)",
    ),
    (
        "8080/laptop:3000",
        "line 1, column 1: expected a host name of letters, digits, `-`, `_` and `.`, found \
         `8080/laptop`; did you mean `8080 -> laptop:3000`? (example: `8080 -> 10.20.0.7:3000`)",
    ),
    (
        "8080 -> http://laptop:3000",
        "line 1, column 9: expected a target without a scheme (a rule redirects connections of \
         any protocol), found `http://laptop:3000`; did you mean `8080 -> laptop:3000`? (example: \
         `8080 -> 10.20.0.7:3000`)",
    ),
    (
        "8080 -> http://laptop",
        "line 1, column 9: expected a target without a scheme (a rule redirects connections of \
         any protocol), found `http://laptop`; did you mean `8080 -> laptop:80`? (example: `8080 \
         -> 10.20.0.7:3000`)",
    ),
    (
        "8080 -> https://laptop/x",
        "line 1, column 9: expected a target without a scheme (a rule redirects connections of \
         any protocol), found `https://laptop/x`; did you mean `8080 -> laptop:443`? (example: \
         `8080 -> 10.20.0.7:3000`)",
    ),
    (
        "8080 -> http://localhost:3000",
        "line 1, column 9: expected a target without a scheme (a rule redirects connections of \
         any protocol), found `http://localhost:3000`; for the pod, `localhost` is the pod \
         itself; write an address of your computer that the pod can reach, as in `10.20.0.7:3000` \
         (example: `8080 -> 10.20.0.7:3000`)",
    ),
    (
        "http://localhost:3000",
        "line 1, column 1: expected a target without a scheme (a rule redirects connections of \
         any protocol), found `http://localhost:3000`; for the pod, `localhost` is the pod \
         itself; write an address of your computer that the pod can reach, as in `10.20.0.7:3000` \
         (example: `8080 -> 10.20.0.7:3000`)",
    ),
    (
        "8080 -> tcp://10.20.0.7:3000/",
        "line 1, column 9: expected a target without a scheme (a rule redirects connections of \
         any protocol), found `tcp://10.20.0.7:3000/`; did you mean `8080 -> 10.20.0.7:3000`? \
         (example: `8080 -> 10.20.0.7:3000`)",
    ),
    (
        "8080 to laptop:3000",
        "line 1, column 6: expected `->` between the ports and the target, found `to`; did you \
         mean `->`? (example: `8080 -> 10.20.0.7:3000`)",
    ),
    (
        "8080 = laptop:3000",
        "line 1, column 6: expected `->` between the ports and the target, found `=`; did you \
         mean `->`? (example: `8080 -> 10.20.0.7:3000`)",
    ),
    (
        "8080 | laptop:3000",
        "line 1, column 6: expected `->` between the ports and the target, found `|`; did you \
         mean `->`? (example: `8080 -> 10.20.0.7:3000`)",
    ),
    (
        "8080 - > laptop:3000",
        "line 1, column 6: expected `->` between the ports and the target, found `-`; did you \
         mean `->`? (example: `8080 -> 10.20.0.7:3000`)",
    ),
    (
        "8080- > laptop:3000",
        "line 1, column 1: expected a port from 1 to 65535, found `8080-`; did you mean `->`? \
         (example: `8080 -> 10.20.0.7:3000`)",
    ),
    (
        "8080 -&gt; laptop:3000",
        "line 1, column 6: expected `->` between the ports and the target, found `-&gt`; did you \
         mean `->`? (example: `8080 -> 10.20.0.7:3000`)",
    ),
    (
        "8080 -- laptop:3000",
        "line 1, column 6: expected `->` between the ports and the target, found `--`; did you \
         mean `->`? (example: `8080 -> 10.20.0.7:3000`)",
    ),
    (
        "8080 >> laptop:3000",
        "line 1, column 6: expected `->` between the ports and the target, found `>>`; did you \
         mean `->`? (example: `8080 -> 10.20.0.7:3000`)",
    ),
    (
        "8080 please laptop:3000",
        "line 1, column 6: expected `->` between the ports and the target, found `please`; did \
         you mean `->`? (example: `8080 -> 10.20.0.7:3000`)",
    ),
    (
        "web:8080 -> laptop:3000",
        "line 1, column 1: expected a port from 1 to 65535, found `web:8080`; did you mean `8080 \
         -> laptop:3000`? (example: `8080 -> 10.20.0.7:3000`)",
    ),
    (
        "localhost:8080 -> laptop:3000",
        "line 1, column 1: expected a port from 1 to 65535, found `localhost:8080`; did you mean \
         `8080 -> laptop:3000`? (example: `8080 -> 10.20.0.7:3000`)",
    ),
    (
        ":8080 -> laptop:3000",
        "line 1, column 1: expected a port from 1 to 65535, found `:8080`; did you mean `8080 -> \
         laptop:3000`? (example: `8080 -> 10.20.0.7:3000`)",
    ),
    (
        "tcp/8080 -> laptop:3000",
        "line 1, column 1: expected a port from 1 to 65535, found `tcp/8080`; did you mean `8080 \
         -> laptop:3000`? (example: `8080 -> 10.20.0.7:3000`)",
    ),
    (
        "8080/http -> laptop:3000",
        "line 1, column 1: expected a port from 1 to 65535, found `8080/http`; did you mean \
         `8080 -> laptop:3000`? (example: `8080 -> 10.20.0.7:3000`)",
    ),
    (
        "8080:3000 -> laptop:3000",
        "line 1, column 1: expected a port from 1 to 65535, found `8080:3000`; name only the \
         port on which the app listens, as in `8080 -> laptop:3000` (example: `8080 -> \
         10.20.0.7:3000`)",
    ),
    (
        "port 8080 -> laptop:3000",
        "line 1, column 6: expected `when`, `percent`, `ttl`, `with`, `;` or the end, found \
         `8080`; a rule begins with its ports; leave out `port` (example: `8080 -> 10.20.0.7:3000 \
         ttl 8h`)",
    ),
    (
        "redirect: 8080 -> laptop:3000",
        "line 1, column 1: expected a port after the `:`, found `redirect:`; a rule begins with \
         its ports; leave out `redirect:` (example: `8080 -> 10.20.0.7:3000`)",
    ),
    (
        "8080 8081 -> laptop:3000",
        "line 1, column 6: expected `->` between the ports and the target, found `8081`; \
         separate ports by `,` (example: `8080 -> 10.20.0.7:3000`)",
    ),
    (
        "8080-8090 -> laptop:3000",
        "line 1, column 1: expected a port from 1 to 65535, found `8080-8090`; list each port, \
         as in `8080,8081`; ranges are not supported (example: `8080 -> 10.20.0.7:3000`)",
    ),
    (
        "\"8080 -> laptop:3000\"",
        "line 1, column 1: expected a port from 1 to 65535, found `\"8080`; did you mean `8080 \
         -> laptop:3000`? (example: `8080 -> 10.20.0.7:3000`)",
    ),
    (
        "8080 -> \"laptop:3000\"",
        "line 1, column 9: expected a target without quotes, found `\"laptop:3000\"`; did you \
         mean `8080 -> laptop:3000`? (example: `8080 -> 10.20.0.7:3000`)",
    ),
    (
        "8080 -> 'laptop'",
        "line 1, column 9: expected a target without quotes, found `'laptop'`; did you mean \
         `8080 -> laptop:3000`? (example: `8080 -> 10.20.0.7:3000`)",
    ),
    (
        "{\"8080\":\"laptop:3000\"}",
        "line 1, column 1: expected a target without quotes, found `{\"8080\":\"laptop:3000\"}`; \
         write a rule as plain text, not as JSON or YAML (example: `8080 -> 10.20.0.7:3000`)",
    ),
    (
        "[{\"port\":8080}]",
        "line 1, column 1: expected a target without quotes, found `[{\"port\":8080}]`; write a \
         rule as plain text, not as JSON or YAML (example: `8080 -> 10.20.0.7:3000`)",
    ),
    (
        "8080 -> $LAPTOP:3000",
        "line 1, column 9: expected a host name of letters, digits, `-`, `_` and `.`, found \
         `$LAPTOP`; the shell replaces `$LAPTOP` between double quotes, and not between single \
         ones (example: `8080 -> 10.20.0.7:3000`)",
    ),
    (
        "8080 -> ${MY_IP}",
        "line 1, column 9: expected a target: `host:port` or `[ipv6]:port`, found `${MY_IP}`; \
         the shell replaces `$MY_IP` between double quotes, and not between single ones (example: \
         `8080 -> 10.20.0.7:3000`)",
    ),
    (
        "8080 -> user@laptop:3000",
        "line 1, column 9: expected a host name of letters, digits, `-`, `_` and `.`, found \
         `user@laptop`; did you mean `8080 -> laptop:3000`? (example: `8080 -> 10.20.0.7:3000`)",
    ),
    (
        "8080 -> svc/web:80",
        "line 1, column 9: expected a host name of letters, digits, `-`, `_` and `.`, found \
         `svc/web`; did you mean `8080 -> web:80`? (example: `8080 -> 10.20.0.7:3000`)",
    ),
    (
        "8080 -> <laptop>:3000",
        "line 1, column 9: expected a target: `host:port` or `[ipv6]:port`, found `<laptop`; \
         write the value itself, without `<` and `>` (example: `8080 -> 10.20.0.7:3000`)",
    ),
    (
        "8080 -> laptop:http",
        "line 1, column 16: expected a port from 1 to 65535, found `http`; did you mean `8080 -> \
         laptop:80`? (example: `8080 -> 10.20.0.7:3000`)",
    ),
    (
        "8080 -> laptop:3000-3010",
        "line 1, column 16: expected a port from 1 to 65535, found `3000-3010`; a target has one \
         port (example: `8080 -> 10.20.0.7:3000`)",
    ),
    (
        "8080 -> laptop:3000, other:3000",
        "line 1, column 20: expected `when`, `percent`, `ttl`, `with`, `;` or the end, found \
         `,`; a rule has one target; rules are separated by `;` (example: `8080 -> 10.20.0.7:3000 \
         ttl 8h`)",
    ),
    (
        "8080 -> laptop:3000 and other:3000",
        "line 1, column 21: expected `when`, `percent`, `ttl`, `with`, `;` or the end, found \
         `and`; a rule has one target; rules are separated by `;` (example: `8080 -> \
         10.20.0.7:3000 ttl 8h`)",
    ),
    (
        "8080 -> laptop:3000 ttl=8h",
        "line 1, column 21: expected `when`, `percent`, `ttl`, `with`, `;` or the end, found \
         `ttl=8h`; did you mean `ttl 8h`? (example: `8080 -> 10.20.0.7:3000 ttl 8h`)",
    ),
    (
        "8080 -> laptop:3000 ttl:8h",
        "line 1, column 21: expected `when`, `percent`, `ttl`, `with`, `;` or the end, found \
         `ttl:8h`; did you mean `ttl 8h`? (example: `8080 -> 10.20.0.7:3000 ttl 8h`)",
    ),
    (
        "8080 -> laptop:3000 8h",
        "line 1, column 21: expected `when`, `percent`, `ttl`, `with`, `;` or the end, found \
         `8h`; did you mean `ttl 8h`? (example: `8080 -> 10.20.0.7:3000 ttl 8h`)",
    ),
    (
        "8080 -> laptop:3000 5%",
        "line 1, column 21: expected `when`, `percent`, `ttl`, `with`, `;` or the end, found \
         `5%`; did you mean `percent 5`? (example: `8080 -> 10.20.0.7:3000 ttl 8h`)",
    ),
    (
        "8080 -> laptop:3000 percent=5",
        "line 1, column 21: expected `when`, `percent`, `ttl`, `with`, `;` or the end, found \
         `percent=5`; did you mean `percent 5`? (example: `8080 -> 10.20.0.7:3000 ttl 8h`)",
    ),
    (
        "8080 -> laptop:3000 for 8h",
        "line 1, column 21: expected `when`, `percent`, `ttl`, `with`, `;` or the end, found \
         `for`; did you mean `ttl`? (example: `8080 -> 10.20.0.7:3000 ttl 8h`)",
    ),
    (
        "8080 -> laptop:3000 ttl 90d",
        "line 1, column 25: expected a `ttl` of at most 30 days, found `90d` (example: `8080 -> \
         10.20.0.7:3000 ttl 8h`)",
    ),
    (
        "8080 -> laptop:3000 ttl 10",
        "line 1, column 25: expected a duration such as `30m`, `8h` or `1h30m`, found `10`; add \
         a unit: `10s`, `10m` or `10h` (example: `8080 -> 10.20.0.7:3000 ttl 8h`)",
    ),
    (
        "8080 -> laptop:3000 until 18:00",
        "line 1, column 21: expected `when`, `percent`, `ttl`, `with`, `;` or the end, found \
         `until`; did you mean `ttl`? (example: `8080 -> 10.20.0.7:3000 ttl 8h`)",
    ),
    (
        "8080 -> laptop:3000 if x",
        "line 1, column 21: expected `when`, `percent`, `ttl`, `with`, `;` or the end, found \
         `if`; did you mean `when`? (example: `8080 -> 10.20.0.7:3000 ttl 8h`)",
    ),
    (
        "off",
        "column 1: a session name as target is not supported yet; to end a redirect, remove the \
         annotation",
    ),
    (
        "",
        "line 1, column 1: expected a rule, found the end of the text (example: `8080 -> \
         10.20.0.7:3000`)",
    ),
    (
        "true",
        "column 1: a session name as target is not supported yet; write a target, as in \
         `10.20.0.7:3000`",
    ),
    (
        "53/udp -> laptop:53",
        "column 1: a UDP port is not supported yet; leave it out, because a rule redirects TCP \
         only",
    ),
    (
        "8080 -> fd00::7:3000",
        "line 1, column 9: expected a target: `host:port` or `[ipv6]:port`, found \
         `fd00::7:3000`; write an IPv6 address in brackets; did you mean `[fd00::7]:3000`? \
         (example: `8080 -> 10.20.0.7:3000`)",
    ),
    (
        "8080 -> fd00::7",
        "line 1, column 9: expected a target: `host:port` or `[ipv6]:port`, found `fd00::7`; \
         write an IPv6 address in brackets; did you mean `[fd00::7]:3000`? (example: `8080 -> \
         10.20.0.7:3000`)",
    ),
    (
        "8080 laptop",
        "line 1, column 6: expected `->` between the ports and the target, found `laptop`; did \
         you mean `-> laptop:3000`? (example: `8080 -> 10.20.0.7:3000`)",
    ),
    (
        "8080 laptop 3000",
        "line 1, column 6: expected `->` between the ports and the target, found `laptop`; did \
         you mean `-> laptop:3000`? (example: `8080 -> 10.20.0.7:3000`)",
    ),
    (
        "all",
        "column 1: a session name as target is not supported yet; write a target, as in \
         `10.20.0.7:3000`",
    ),
    (
        "8080 ->",
        "line 1, column 8: expected a target after the `->`: `host:port` or `[ipv6]:port`, found \
         the end of the text (example: `8080 -> 10.20.0.7:3000`)",
    ),
    (
        "-> laptop:3000",
        "line 1, column 1: expected a port before the `->`, found `->`; to redirect all declared \
         ports, write the target alone (example: `8080 -> 10.20.0.7:3000`)",
    ),
    (
        "8080",
        "line 1, column 1: expected a target: `host:port` or `[ipv6]:port`, found `8080`; did \
         you mean `8080 -> host:3000`? (example: `8080 -> 10.20.0.7:3000`)",
    ),
    (
        "8080 -> laptop:80:3000",
        "line 1, column 9: expected a target: `host:port` or `[ipv6]:port`, found \
         `laptop:80:3000`; a target has one port (example: `8080 -> 10.20.0.7:3000`)",
    ),
    (
        "8080 -> 10.20.0.300:3000",
        "line 1, column 9: expected an IPv4 address of four numbers from 0 to 255, without \
         leading zeros, found `10.20.0.300` (example: `8080 -> 10.20.0.7:3000`)",
    ),
    (
        "8080 -> laptop.:",
        "line 1, column 9: expected a port after the `:`, found `laptop.:`; did you mean \
         `laptop.:3000`? (example: `8080 -> 10.20.0.7:3000`)",
    ),
    (
        "8080->laptop->3000",
        "line 1, column 13: expected `when`, `percent`, `ttl`, `with`, `;` or the end, found \
         `->`; a rule has one `->`; rules are separated by `;` (example: `8080 -> 10.20.0.7:3000 \
         ttl 8h`)",
    ),
    (
        "80 443 8080",
        "line 1, column 4: expected `->` between the ports and the target, found `443`; separate \
         ports by `,` (example: `8080 -> 10.20.0.7:3000`)",
    ),
    (
        "8080 -> laptop:3000\n9090 -> laptop:3001",
        "line 2, column 1: expected `when`, `percent`, `ttl`, `with`, `;` or the end, found \
         `9090`; rules are separated by `;` (example: `8080 -> 10.20.0.7:3000 ttl 8h`)",
    ),
    (
        "8080 -> laptop:3000 9090 -> laptop:3001",
        "line 1, column 21: expected `when`, `percent`, `ttl`, `with`, `;` or the end, found \
         `9090`; rules are separated by `;` (example: `8080 -> 10.20.0.7:3000 ttl 8h`)",
    ),
];
