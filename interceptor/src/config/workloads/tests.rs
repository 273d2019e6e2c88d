//! Valid files, invalid files, and files with mistakes inside annotations.

use std::{fs, path::Path};

use proptest::prelude::*;
use rstest::rstest;

use super::file::{EXAMPLE, NAME_EXAMPLE, NETNS_EXAMPLE, PID_EXAMPLE, PORTS_EXAMPLE};
use super::*;

const GOOD: &str = r#"# The two shops
workloads:
  - name: web
    netns: /run/netns/web
    ports: [8080, 9090]
    annotations:
      debug.redirect: "8080 -> 10.20.0.7:3000"
      debug.redirect/alice: 9090 -> laptop.example:1 ttl 8h
      other.example/foo: kept and ignored
  - name: cart.shop-2
    pid: 1234
"#;

fn good(text: &str) -> Vec<WorkloadSpec> {
    parse(text, "w.yaml").unwrap_or_else(|error| panic!("{error}\n{}", error.caret)).workloads
}

/// The only annotation of the only workload.
fn annotation(lines: &str) -> AnnotatedRules {
    let text = format!("workloads:\n- name: web\n  pid: 1\n  ports: [80]\n  annotations:\n{lines}");
    let mut rules = good(&text).remove(0).rules;
    assert_eq!(rules.len(), 1);
    rules.remove(0)
}

/// The place of an error in its file, and whether that is exact.
fn place_of(error: &AnnotationError) -> (Location, bool) {
    match error.origin {
        Origin::File { location, exact, .. } => (location, exact),
        Origin::Pod => panic!("not of a pod"),
    }
}

#[test]
fn a_good_file() {
    let workloads = good(GOOD);
    assert_eq!(workloads.len(), 2);
    let (web, cart) = (&workloads[0], &workloads[1]);

    assert_eq!(web.name.as_str(), "web");
    assert_eq!(web.netns, NetnsSource::Path("/run/netns/web".into()));
    assert_eq!(web.ports.iter().map(|port| port.get()).collect::<Vec<_>>(), [8080, 9090]);
    let rules: Vec<_> = web
        .rules
        .iter()
        .map(|rules| (rules.key.as_str(), rules.rules.clone().expect("is good")))
        .collect();
    let parsed = |text| interceptor_rule::parse(text).expect("is valid");
    let expected = [
        ("debug.redirect", parsed("8080 -> 10.20.0.7:3000")),
        ("debug.redirect/alice", parsed("9090 -> laptop.example:1 ttl 8h")),
    ];
    assert_eq!(rules, expected);
    assert_eq!(web.rules[1].value, "9090 -> laptop.example:1 ttl 8h");
    assert_eq!(web.rules[1].key.developer(), Some("alice"));

    assert_eq!((cart.name.as_str(), &cart.netns), ("cart.shop-2", &NetnsSource::Pid(1234)));
    assert!(cart.ports.is_empty() && cart.rules.is_empty());
}

#[test]
fn fields_without_a_value() {
    let workloads = good(
        "workloads:\n- name: web\n  pid: 1\n  ports:\n  netns:\n  annotations: # none today\n",
    );
    assert_eq!(workloads[0].netns, NetnsSource::Pid(1));
    assert!(workloads[0].ports.is_empty() && workloads[0].rules.is_empty());
}

#[rstest]
#[case("workloads: []")]
#[case("workloads: [] # none")]
#[case("{\"workloads\": []}")]
fn no_workloads(#[case] text: &str) {
    assert!(good(text).is_empty());
}

#[rstest]
// Not a workloads file
#[case("", "1:1: found nothing, expected a field `workloads`")]
#[case("# soon\n", "1:1: found nothing, expected a field `workloads`")]
#[case("workloads:\n", "1:10: expected a list")]
#[case("workloads: web", "1:12: expected a list")]
#[case("[]", "1:1: expected `key: value` lines")]
#[case("{}", "1:1: expected a field `workloads`, found none")]
#[case("workload: []", "1:1: unknown field `workload`, expected `workloads`")]
#[case("workloads: []\n---\nworkloads: []", "3:1: expected one YAML document, found a second one")]
// Not YAML
#[case(
    "workloads:\n\t- name: web",
    "2:2: expected YAML: tabs disallowed within this context (block indentation)"
)]
#[case("workloads: [\u{1}]", "1:13: expected YAML: unexpected character: `\\u{1}'")]
// Fields
#[case(
    "workloads:\n- name: web\n  prots: [1]",
    "3:3: unknown field `prots`, expected `name`, `netns`, `pid`, `ports` or `annotations`"
)]
#[case("workloads:\n- pid: 1", "2:3: expected a field `name`, found none")]
#[case(
    "workloads:\n- name: web\n  name: b\n  pid: 1",
    "3:3: found `name` a second time, expected it once"
)]
#[case("workloads:\n- name: [web]", "2:9: expected one value, found a list or a mapping")]
#[case("workloads:\n- name:\n  pid: 1", "2:7: expected a value, found none")]
#[case(
    "workloads:\n- name: Web\n  pid: 1",
    "2:9: found `Web`, expected a name of lower-case letters, digits, `-` and `.` that begins and ends with a letter \
     or digit"
)]
#[case(
    "workloads:\n- {name: a, pid: 1}\n- {name: a, pid: 2}",
    "3:10: found a second workload `a`, expected another name than on line 2"
)]
#[case(
    "workloads:\n- name: web",
    "2:9: expected a field `netns` or `pid` for workload `web`, found none"
)]
#[case(
    "workloads:\n- name: web\n  pid: 1\n  netns: /n",
    "3:8: found both `netns` and `pid`, expected exactly one of them"
)]
#[case("workloads:\n- name: web\n  netns: web", "3:10: found `web`, expected an absolute path")]
#[case(
    "workloads:\n- name: web\n  netns: \"/a\\0\"",
    "3:10: found `/a\\u{0}`, expected an absolute path"
)]
#[case(
    "workloads:\n- {name: a, pid: 0}",
    "2:18: found `0`, expected a process id from 1 to 4194304"
)]
#[case(
    "workloads:\n- {name: a, pid: 4194305}",
    "2:18: found `4194305`, expected a process id from 1 to 4194304"
)]
#[case(
    "workloads:\n- {name: a, pid: -1}",
    "2:18: found `-1`, expected a process id from 1 to 4194304"
)]
#[case("workloads:\n- {name: a, pid: 1, ports: 80}", "2:28: expected a list")]
#[case(
    "workloads:\n- {name: a, pid: 1, ports: [80, 0]}",
    "2:33: found `0`, expected a port from 1 to 65535"
)]
#[case(
    "workloads:\n- {name: a, pid: 1, ports: [65536]}",
    "2:29: found `65536`, expected a port from 1 to 65535"
)]
#[case(
    "workloads:\n- {name: a, pid: 1, ports: [+80]}",
    "2:29: found `+80`, expected a port from 1 to 65535"
)]
#[case(
    "workloads:\n- {name: a, pid: 1, ports: [80, 80]}",
    "2:33: found `80` a second time, expected each port once"
)]
#[case("workloads:\n- {name: a, pid: 1, annotations: [b]}", "2:34: expected `key: value` lines")]
#[case(
    "workloads:\n- name: a\n  pid: 1\n  annotations: {b: c, b: d}",
    "4:23: found `b` a second time, expected it once"
)]
#[case(
    "workloads:\n- name: a\n  pid: 1\n  annotations: {b: [c]}",
    "4:20: expected one value, found a list or a mapping"
)]
// What makes a small file large
#[case(
    "workloads:\n- &a {name: a, pid: 1}\n- *a",
    "3:3: found an alias (`*name`), expected none in this file"
)]
#[case(
    "workloads:\n- {<<: {name: a}, pid: 1}",
    "2:4: found a merge key (`<<`), expected none in this file"
)]
fn broken_files(#[case] text: &str, #[case] message: &str) {
    let error = parse(text, "w.yaml").expect_err("is broken");
    assert_eq!(format!("{}: {}", error.location, error.problem), message);
}

#[test]
fn the_whole_message_of_a_broken_file() {
    let text = "workloads:\n  - name: web\n    pid: 1\n    ports: [8080, 808O]\n";
    let error = parse(text, "/etc/w.yaml").expect_err("is broken");
    assert_eq!(
        error.to_string(),
        "/etc/w.yaml:4:19: found `808O`, expected a port from 1 to 65535 (example: `ports: [8080, 9090]`)"
    );
    assert_eq!(error.caret, "    ports: [8080, 808O]\n                  ^^^^");
}

#[test]
fn the_examples_of_errors_are_valid() {
    let fields = [NAME_EXAMPLE, NETNS_EXAMPLE, PORTS_EXAMPLE];
    good(EXAMPLE);
    good(&format!("workloads:\n- {}", fields.join("\n  ")));
    good(&format!("workloads:\n- name: a\n  {PID_EXAMPLE}"));
}

#[rstest]
#[case("      debug.redirect: \"80 => a:1\"", "w.yaml:6:27")]
#[case("      debug.redirect: '80 => a:1'", "w.yaml:6:27")]
#[case("      debug.redirect: 80 => a:1", "w.yaml:6:26")]
#[case("   {debug.redirect: 80 => a:1}", "w.yaml:6:24")]
#[case("   debug.redirect: !!str '80 => a:1'", "w.yaml:6:30")]
#[case("   debug.redirect: '80,  80 => ü'", "w.yaml:6:26")]
fn mistakes_on_one_line_have_their_exact_place(#[case] lines: &str, #[case] place: &str) {
    let error = annotation(lines).rules.expect_err("is wrong");
    assert!(place_of(&error).1);
    let message = error.to_string();
    assert!(message.starts_with(&format!("{place}: debug.redirect: expected ")), "{message}");
    assert!(error.caret.as_deref().is_some_and(|caret| caret.starts_with("80")), "{error:?}");
}

#[rstest]
#[case("   debug.redirect: \"80\\x20=> a:1\"", "6:20", "line 1, column 4")]
#[case("   debug.redirect: '80 => ''a'''", "6:20", "line 1, column 4")]
#[case("   debug.redirect: |\n      80 -> a:1;\n      81 => b:1\n", "7:7", "line 2, column 4")]
#[case("   debug.redirect: >-\n      80 -> a:1;\n      81 => b:1\n", "7:7", "line 1, column 15")]
#[case("   debug.redirect: 80 -> a:1;\n      81 => b:1\n", "6:20", "line 1, column 15")]
fn other_mistakes_have_their_place_inside_the_value(
    #[case] lines: &str,
    #[case] location: &str,
    #[case] position: &str,
) {
    let error = annotation(lines).rules.expect_err("is wrong");
    assert!(!place_of(&error).1);
    let message = error.to_string();
    let start = format!(
        "w.yaml:{location}: debug.redirect: in the value that begins here, {position}: expected `->`"
    );
    assert!(message.starts_with(&start), "{message}");
}

#[rstest]
#[case(
    "   debug.redirect: 80",
    "w.yaml:6:20: debug.redirect: expected a target: `host:port` or `[ipv6]:port`, \
    found `80`; did you mean `80 -> host:3000`? (example: `8080 -> 10.20.0.7:3000`)"
)]
#[case(
    "   debug.redirect:",
    "w.yaml:6:18: debug.redirect: expected a \
    rule, found the end of the text (example: `8080 -> 10.20.0.7:3000`)"
)]
#[case(
    "   debug.redirect: a:1 when x",
    "w.yaml:6:29: debug.redirect: there is no attribute `x`; write strings in quotes"
)]
#[case(
    "   debug.mirror: a:1",
    "w.yaml:6:18: debug.mirror: `debug.mirror` is not supported yet; use `debug.redirect`"
)]
#[case(
    "   debug.redirct: a:1",
    "w.yaml:6:19: debug.redirct: unknown annotation, did you mean `debug.redirect`?"
)]
fn mistakes_in_annotations(#[case] lines: &str, #[case] message: &str) {
    assert_eq!(annotation(lines).rules.expect_err("is wrong").to_string(), message);
}

#[test]
fn an_invalid_annotation_leaves_the_others_in_force() {
    let text = GOOD.replace("8080 ->", "8080 =>");
    let workloads = good(&text);
    assert_eq!(workloads.len(), 2);
    assert!(workloads[0].rules[0].rules.is_err());
    assert!(workloads[0].rules[1].rules.is_ok());
}

#[test]
fn limits() {
    let many = |count| {
        let names: Vec<String> = (0..count).map(|n| format!("{{name: w{n}, pid: 1}}")).collect();
        parse(&format!("workloads: [{}]", names.join(", ")), "w.yaml")
    };
    assert_eq!(many(MAX_WORKLOADS).expect("is allowed").workloads.len(), MAX_WORKLOADS);
    let error = many(MAX_WORKLOADS + 1).expect_err("is one too many");
    assert_eq!(error.problem, "found 1001 workloads, expected at most 1000");

    let ports = |count| {
        let ports: Vec<String> = (1..=count).map(|port| port.to_string()).collect();
        parse(&format!("workloads: [{{name: a, pid: 1, ports: [{}]}}]", ports.join(", ")), "w.yaml")
    };
    ports(MAX_DECLARED_PORTS).expect("is allowed");
    let error = ports(MAX_DECLARED_PORTS + 1).expect_err("is one too many");
    assert_eq!(error.problem, "found 65 ports, expected at most 64");

    let padded = |size: usize| parse(&format!("workloads: []{}", " ".repeat(size - 13)), "w.yaml");
    padded(MAX_FILE).expect("is allowed");
    let error = padded(MAX_FILE + 1).expect_err("is one too many");
    assert_eq!(error.problem, "found 1048577 bytes, expected at most 1048576");

    let name = |length| WorkloadName::new(&"a".repeat(length));
    name(253).expect("is allowed");
    let error = name(254).expect_err("is too long");
    assert_eq!(error.to_string(), "found 254 characters, expected at most 253");
}

#[test]
fn endless_nesting_is_an_error() {
    for open in ["[", "{a: ", "- ", "? "] {
        parse(&open.repeat(100_000), "w.yaml").expect_err("is broken");
        parse(&format!("workloads: {}", open.repeat(100_000)), "w.yaml").expect_err("is broken");
    }
}

#[test]
fn files() {
    let folder = std::env::temp_dir().join(format!("interceptor-workloads-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("can be created");
    let path = folder.join("w.yaml");

    let error = read(&path).expect_err("is not there");
    assert!(matches!(error, ReadError::Io { .. }), "{error}");
    assert_eq!(error.to_string(), format!("can't read {}", path.display()));

    fs::write(&path, GOOD).expect("can be written");
    assert_eq!(read(&path).expect("is good").workloads.len(), 2);

    fs::write(&path, b"workloads: []\n# \xff").expect("can be written");
    let error = read(&path).expect_err("is not text");
    assert!(
        error.to_string().contains("w.yaml:2:3: expected UTF-8 text, found other bytes"),
        "{error}"
    );

    fs::write(&path, vec![b'#'; MAX_FILE + 100]).expect("can be written");
    let error = read(&path).expect_err("is too large");
    assert!(error.to_string().contains("at most 1048576"), "{error}");
    fs::remove_dir_all(&folder).expect("can be removed");
}

#[test]
fn flags() {
    let path = Path::new("/run/netns/web");
    let workload =
        WorkloadSpec::from_flag(path, &["8080 -> a:1;", " 9090 -> b:2"]).expect("is good");
    assert_eq!(workload.name.as_str(), "web");
    assert_eq!(workload.netns, NetnsSource::Path("/run/netns/web".into()));
    assert!(workload.ports.is_empty());
    // One annotation: a second one with the same key would replace the first.
    assert_eq!(workload.rules.len(), 1);
    let annotation = &workload.rules[0];
    assert_eq!(annotation.key, AnnotationKey::redirect());
    assert_eq!(annotation.value, "8080 -> a:1; 9090 -> b:2");
    assert_eq!(annotation.rules, Ok(interceptor_rule::parse(&annotation.value).expect("is valid")));

    assert!(WorkloadSpec::from_flag(path, &[] as &[&str]).expect("is good").rules.is_empty());
}

#[test]
fn a_mistake_in_a_flag_has_its_place_in_that_flag() {
    let path = Path::new("/run/netns/web");
    let workload = WorkloadSpec::from_flag(path, &["8080 -> a:1", "9090 => b:2"]).expect("is good");
    assert_eq!(
        workload.rules[0].rules.as_ref().expect_err("is wrong").to_string(),
        "--redirect:1:6: debug.redirect: expected `->` between the ports and the target, found `=>`; \
         did you mean `->`? (example: `8080 -> 10.20.0.7:3000`)"
    );
    let many = vec!["8080 -> a:1"; interceptor_rule::MAX_RULES + 1];
    let workload = WorkloadSpec::from_flag(path, &many).expect("is good");
    let error = workload.rules[0].rules.as_ref().expect_err("are too many").to_string();
    assert!(error.contains("at most 16 rules in one annotation"), "{error}");
}

#[test]
fn a_flag_without_ports_is_an_error() {
    let workload = WorkloadSpec::from_flag(Path::new("/run/netns/web"), &["a:1"]).expect("is good");
    assert_eq!(
        workload.rules[0].rules.as_ref().expect_err("has no ports").to_string(),
        "--redirect:1:1: debug.redirect: expected ports before the target, because the workload declares none \
         (example: `8080 -> a:1`)"
    );
}

#[rstest]
#[case(
    "netns/web",
    "expected an absolute path, found `netns/web` (example: `--netns /run/netns/web`)"
)]
#[case(
    "/run/netns/My_web",
    "found `My_web`, expected a name of lower-case letters, digits, `-` and `.` that begins and ends with a letter or \
     digit as the last part of `/run/netns/My_web`, because it names the workload (a workloads file can give it \
     another name)"
)]
fn bad_flags(#[case] path: &str, #[case] message: &str) {
    let error = WorkloadSpec::from_flag(Path::new(path), &["80 -> a:1"]).expect_err("is bad");
    assert_eq!(error.to_string(), message);
}

/// Texts that are nearly a workloads file.
fn nearly_yaml() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        8 => proptest::sample::select(vec![
            "workloads:", "\n", "\n  ", "\n    ", "- ", "name: ", "netns: ", "pid: ", "ports: ", "annotations: ", "web",
            "/run/netns/web", "1234", "[80]", "[", "]", "{", "}", ",", "debug.redirect: ", "debug.mirror: ", "'", "\"",
            "80 -> a:1", "80 => a", "|", ">-", "&a ", "*a", "<<: ", "? ", "!!str ", "\\x41", "ü", "\t", "\r", "# x",
            "---", "...", "~", "\u{85}", "\u{2028}", "\u{feff}",
        ]).prop_map(str::to_owned),
        1 => any::<String>(),
    ];
    proptest::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn any_text_has_a_result(text in any::<String>()) {
        let _ = parse(&text, "w.yaml");
    }

    #[test]
    fn any_text_like_a_file_has_a_result(text in nearly_yaml()) {
        let text = format!("workloads:\n- name: a\n  pid: 1\n  {text}");
        if let Err(error) = parse(&text, "w.yaml") {
            prop_assert!(!error.to_string().chars().any(char::is_control), "{error:?}");
        }
    }

    /// The place is that of the `=>`, with any text before it.
    #[test]
    fn exact_places_are_exact(indent in 0..8_usize, spaces in 1..5_usize, quote in prop::sample::select(vec!["", "'", "\""])) {
        let indent = " ".repeat(indent + 3);
        let line = format!("{indent}debug.redirect:{} {quote}80{}=> a:1{quote}", " ".repeat(spaces), " ".repeat(spaces));
        let error = annotation(&line).rules.expect_err("is wrong");
        let column = line.find("=>").expect("is there") + 1;
        prop_assert_eq!(place_of(&error), (Location { line: 6, column }, true));
    }
}
