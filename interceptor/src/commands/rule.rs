//! `interceptor rule`: explains a rule, shows its mistakes, and tries it with a request.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr};

use interceptor_condition::{Condition, Facts, Request};
use interceptor_rule::{Local, Ports, Rule};

use crate::{config::annotation::wrong_condition, exit::Exit};

/// The output of the command, and its exit code.
#[derive(Debug, PartialEq, Eq)]
pub struct Explanation {
    /// For standard output.
    pub out: String,
    /// For standard error.
    pub err: String,
    /// [`Exit::Usage`] for a mistake, [`Exit::Failure`] if no rule matches the trial.
    pub exit: Exit,
}

/// A connection, perhaps with a request, to try rules with.
#[derive(Clone, Debug)]
pub struct Trial {
    /// The client's address.
    pub source: SocketAddr,
    /// The destination of the connection. By default 127.0.0.1 and the first port of the rule.
    pub destination: Option<SocketAddr>,
    /// The name in the ClientHello, for TLS.
    pub server_name: Option<String>,
    /// The request.
    pub request: Option<Head>,
}

/// The head of a request, from the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    method: String,
    path: String,
    protocol: &'static str,
    scheme: &'static str,
    headers: Vec<Header>,
}

/// A header of the trial: its name in lower case, and its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header(String, String);

/// Why a text is not a request head.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeadError {
    /// It does not have two or three words.
    #[error("expected a method and a path (example: 'GET /cart?id=7')")]
    Words,
    /// Its third word is not a protocol.
    #[error("a protocol is one of {}", PROTOCOLS.join(", "))]
    Protocol,
}

/// Why a text is not a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a name and a value (example: 'x-user: debug')")]
pub struct HeaderError;

/// The default address of the client.
const SOURCE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 40_000);

const PROTOCOLS: [&str; 3] = ["HTTP/1.0", "HTTP/1.1", "HTTP/2"];

/// Explains the rules in `text`, and tries them with `trial`.
#[must_use]
pub fn explain(text: &str, trial: Option<&Trial>) -> Explanation {
    let mut explanation = Explanation { out: String::new(), err: String::new(), exit: Exit::Ok };
    let rules = match interceptor_rule::parse(text) {
        Ok(rules) => rules,
        Err(error) => {
            explanation.error(&error.to_string(), &error.caret(text));
            return explanation;
        }
    };
    let mut matches = false;
    for rule in &rules {
        matches |= explanation.rule(rule, text, trial);
    }
    if trial.is_some() && !matches && explanation.exit == Exit::Ok {
        explanation.exit = Exit::Failure;
    }
    explanation
}

// === impl Explanation ===

impl Explanation {
    /// Explains a rule. Returns whether it matches the trial.
    fn rule(&mut self, rule: &Rule, text: &str, trial: Option<&Trial>) -> bool {
        self.line(&rule.to_string());
        self.line(&format!("  ports:  {}", rule.ports));
        self.line(&format!("  target: {}", rule.target));
        match rule.local {
            Local::ExceptChecks => {}
            Local::ToApp => self.line("  local:  connections from inside the pod reach the app"),
            Local::ToTarget => {
                self.line("  local:  exec probes and hooks are redirected, too");
            }
        }
        if let Some(unsupported) = rule.unsupported() {
            self.error(&unsupported.to_string(), &interceptor_rule::caret(text, unsupported.span));
        }
        if let Some((error, span)) = wrong_condition(rule) {
            let place = interceptor_rule::Position::of(text, span.start);
            let message =
                format!("line {}, column {}: {}", place.line, place.column, error.message());
            self.error(&message, &interceptor_rule::caret(text, span));
            return false;
        }
        let condition = rule.when.as_ref().and_then(|when| Condition::compile(when.source()).ok());
        if let Some(condition) = &condition {
            self.line(&format!("  when:   {}", decided(condition)));
        }
        let Some(trial) = trial else { return false };
        let (matches, reason) = trial.result(rule, condition.as_ref());
        self.line(&format!("  try:    {}: {reason}", trial.describe(rule)));
        matches
    }

    fn line(&mut self, line: &str) {
        self.out.push_str(line);
        self.out.push('\n');
    }

    fn error(&mut self, message: &str, caret: &str) {
        // Writing to a string does not fail.
        let _ = writeln!(self.err, "error: {message}\n\n{caret}");
        self.exit = Exit::Usage;
    }
}

fn decided(condition: &Condition) -> String {
    match condition.constant() {
        Some(true) => "always true".to_owned(),
        Some(false) => "never true".to_owned(),
        None => format!("needs {}; decided {}", condition.needs(), condition.needs().decided()),
    }
}

// === impl Trial ===

impl Trial {
    /// A connection from the default address to the default destination.
    #[must_use]
    pub fn new() -> Self {
        Self { source: SOURCE, destination: None, server_name: None, request: None }
    }

    fn destination(&self, rule: &Rule) -> SocketAddr {
        let port = match &rule.ports {
            Ports::Listed(ports) => ports.first().map_or(0, |port| port.number()),
            Ports::Declared => 0,
        };
        self.destination.unwrap_or_else(|| (Ipv4Addr::LOCALHOST, port).into())
    }

    /// Whether the rule matches, with the reason.
    fn result(&self, rule: &Rule, condition: Option<&Condition>) -> (bool, String) {
        let destination = self.destination(rule);
        if let Ports::Listed(ports) = &rule.ports
            && !ports.iter().any(|port| port.number() == destination.port())
        {
            return (
                false,
                format!("no match: the rule does not have port {}", destination.port()),
            );
        }
        let facts = Facts {
            source: self.source,
            destination,
            server_name: Some(self.server_name.as_deref().unwrap_or_default()),
            request: self.request.as_ref().map(|head| head as &dyn Request),
        };
        match condition.map_or(Ok(true), |condition| condition.matches(&facts)) {
            Ok(true) => match rule.percent {
                Some(percent) => {
                    (true, format!("match; the rule takes {percent} percent of all matches"))
                }
                None => (true, "match".to_owned()),
            },
            Ok(false) => (false, "no match".to_owned()),
            Err(error) => {
                let source = condition.map_or("", Condition::source);
                (
                    false,
                    format!(
                        "no match, because the condition has no value: {}",
                        error.describe(source)
                    ),
                )
            }
        }
    }

    fn describe(&self, rule: &Rule) -> String {
        let connection = format!("from {} to {}", self.source, self.destination(rule));
        match (&self.request, &self.server_name) {
            (Some(head), _) => {
                format!("{} {} {connection}", head.method, interceptor_rule::quoted(&head.path))
            }
            (None, Some(name)) => {
                format!("TLS for {} {connection}", interceptor_rule::quoted(name))
            }
            (None, None) => connection,
        }
    }
}

impl Default for Trial {
    fn default() -> Self {
        Self::new()
    }
}

// === impl Head ===

impl Head {
    /// Adds headers, and says whether the connection uses TLS.
    #[must_use]
    pub fn with(mut self, headers: Vec<Header>, tls: bool) -> Self {
        self.headers = headers;
        self.scheme = if tls { "https" } else { "http" };
        self
    }
}

impl std::str::FromStr for Head {
    type Err = HeadError;

    fn from_str(text: &str) -> Result<Self, HeadError> {
        let words: Vec<&str> = text.split_ascii_whitespace().collect();
        let (method, path, protocol) = match words[..] {
            [method, path] => (method, path, "HTTP/1.1"),
            [method, path, protocol] => (method, path, protocol),
            _ => return Err(HeadError::Words),
        };
        let Some(protocol) = PROTOCOLS.into_iter().find(|known| *known == protocol) else {
            return Err(HeadError::Protocol);
        };
        let (method, path) = (method.to_owned(), path.to_owned());
        Ok(Self { method, path, protocol, scheme: "http", headers: Vec::new() })
    }
}

impl Request for Head {
    fn method(&self) -> &str {
        &self.method
    }

    fn path(&self) -> &str {
        &self.path
    }

    fn host(&self) -> Option<&str> {
        let of =
            |name| self.headers.iter().find(|header| header.0 == name).map(|header| &*header.1);
        of(":authority").or_else(|| of("host"))
    }

    fn scheme(&self) -> &str {
        self.scheme
    }

    fn protocol(&self) -> &str {
        self.protocol
    }

    fn header_values<'a>(&'a self, name: &str, each: &mut dyn FnMut(&'a [u8])) {
        for header in self.headers.iter().filter(|header| header.0 == name) {
            each(header.1.as_bytes());
        }
    }
}

// === impl Header ===

impl std::str::FromStr for Header {
    type Err = HeaderError;

    fn from_str(text: &str) -> Result<Self, HeaderError> {
        // The first `:` of `:authority: a` belongs to the name.
        let after = usize::from(text.starts_with(':'));
        let colon = text[after..].find(':').map(|colon| colon + after);
        match colon.map(|colon| (text[..colon].trim(), text[colon + 1..].trim())) {
            Some((name, value)) if !name.is_empty() => {
                Ok(Self(name.to_ascii_lowercase(), value.to_owned()))
            }
            _ => Err(HeaderError),
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn trial(request: &str, headers: &[&str]) -> Trial {
        let headers = headers.iter().map(|header| header.parse().expect("is a header")).collect();
        let head: Head = request.parse().expect("is a request");
        Trial { request: Some(head.with(headers, false)), ..Trial::new() }
    }

    #[rstest]
    #[case(
        r#"request.headers["x-user"] == "debug""#,
        "needs the request's head; decided for each request"
    )]
    #[case("source.port == 1", "needs the addresses; decided when the connection is made")]
    #[case(
        r#"connection.requested_server_name == "a""#,
        "needs the TLS ClientHello; decided once, when the ClientHello has arrived"
    )]
    #[case("true", "always true")]
    #[case("1 == 2", "never true")]
    fn a_condition_is_explained_with_the_time_of_its_decision(
        #[case] condition: &str,
        #[case] expected: &str,
    ) {
        let rule = format!("8080 -> 10.20.0.7:3000 when {condition}");
        let explained = explain(&rule, None);
        let out =
            format!("{rule}\n  ports:  8080\n  target: 10.20.0.7:3000\n  when:   {expected}\n");
        assert_eq!(explained, Explanation { out, err: String::new(), exit: Exit::Ok });
    }

    #[test]
    fn a_wrong_condition_has_its_place_in_the_rule() {
        let explained =
            explain("80 -> a:1;\n  8080 -> b:1 when  request.header == 'ä' ttl 5m", None);
        assert_eq!(explained.exit, Exit::Usage);
        assert_eq!(
            explained.err,
            "error: line 2, column 21: there is no attribute `request.header`; did you mean `request.headers`?\n\n\
             \u{20} 8080 -> b:1 when  request.header == 'ä' ttl 5m\n\
             \u{20}                   ^^^^^^^^^^^^^^\n"
        );
    }

    #[test]
    fn a_udp_port_is_understood_and_refused() {
        let explained = explain("8125/udp -> 10.0.0.1:53", None);
        assert_eq!(explained.exit, Exit::Usage);
        assert_eq!(
            explained.out,
            "8125/udp -> 10.0.0.1:53\n  ports:  8125/udp\n  target: 10.0.0.1:53\n"
        );
        assert_eq!(
            explained.err,
            "error: a UDP port is not supported yet; leave it out, because a rule redirects TCP only\n\n8125/udp -> 10.0.0.1:53\n^^^^^^^^\n"
        );
    }

    const RULE: &str = r#"8080 -> a:1 when request.headers["x-user"] == "debug""#;

    #[rstest]
    #[case(RULE, &["X-User:  debug "], Exit::Ok, "match")]
    #[case(RULE, &["x-user: alice"], Exit::Failure, "no match")]
    #[case(
        RULE,
        &[],
        Exit::Failure,
        "no match, because the condition has no value: `request.headers[\"x-user\"]`: the request has no such header"
    )]
    #[case("8080 -> a:1 when request.host == 'h:1' percent 5", &["host: h:1"], Exit::Ok, "match; the rule takes 5 percent of all matches")]
    #[case("8080 -> a:1 when request.host == 'h'", &[":authority: h", "host: x"], Exit::Ok, "match")]
    #[case("8080 -> a:1", &[], Exit::Ok, "match")]
    #[case("8080 -> a:1 when source.port == 40000 && destination.port == 8080", &[], Exit::Ok, "match")]
    #[case("8080 -> a:1 when request.path == '/x' && request.method == 'GET'", &[], Exit::Ok, "match")]
    fn rules_are_tried_with_a_request(
        #[case] rule: &str,
        #[case] headers: &[&str],
        #[case] exit: Exit,
        #[case] answer: &str,
    ) {
        let explained = explain(rule, Some(&trial("GET /x", headers)));
        assert_eq!((explained.exit, &*explained.err), (exit, ""));
        let last = format!("  try:    GET `/x` from 127.0.0.1:40000 to 127.0.0.1:8080: {answer}");
        assert_eq!(explained.out.lines().last(), Some(&*last));
    }

    #[test]
    fn one_matching_rule_of_several_is_enough() {
        let rules = format!("{RULE}; 9090 -> b:1 when source.port == 1");
        assert_eq!(explain(&rules, Some(&trial("GET /", &["x-user: debug"]))).exit, Exit::Ok);
        assert_eq!(explain(&rules, Some(&trial("GET /", &["x-user: alice"]))).exit, Exit::Failure);
        // A mistake outweighs a match.
        let rules = format!("{RULE}; 9090 -> b:1 when source.prt == 1");
        assert_eq!(explain(&rules, Some(&trial("GET /", &["x-user: debug"]))).exit, Exit::Usage);
    }

    #[test]
    fn a_connection_without_a_request_is_tried() {
        let tls = Trial { server_name: Some("shop.example".to_owned()), ..Trial::new() };
        let explained =
            explain("a:1 when connection.requested_server_name.endsWith('.example')", Some(&tls));
        assert_eq!(explained.exit, Exit::Ok, "{}", explained.out);
        let explained = explain(RULE, Some(&tls));
        assert_eq!(explained.exit, Exit::Failure);
        assert!(
            explained.out.ends_with("the value is not known for this connection\n"),
            "{}",
            explained.out
        );
        let elsewhere = Trial { destination: Some(([10, 0, 0, 1], 80).into()), ..Trial::new() };
        let explained = explain("8080 -> a:1", Some(&elsewhere));
        assert_eq!(explained.exit, Exit::Failure);
        assert!(
            explained.out.ends_with("no match: the rule does not have port 80\n"),
            "{}",
            explained.out
        );
    }

    #[rstest]
    #[case("", "expected a method and a path")]
    #[case("/x", "expected a method and a path")]
    #[case("GET /x HTTP/3", "a protocol is one of")]
    #[case("GET /x y z", "expected a method and a path")]
    fn texts_that_are_no_request(#[case] text: &str, #[case] message: &str) {
        let error = text.parse::<Head>().expect_err("is no request").to_string();
        assert!(error.starts_with(message), "{error}");
    }

    #[rstest]
    #[case("x")]
    #[case(": x")]
    #[case(":authority")]
    fn texts_that_are_no_header(#[case] text: &str) {
        assert!(text.parse::<Header>().is_err());
    }
}
