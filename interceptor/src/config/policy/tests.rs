//! Policy files, and the decisions of policies.

use proptest::prelude::*;
use rstest::rstest;

use super::super::yaml::ReadError;
use super::file::{EXAMPLE, NET_EXAMPLE, RESERVED_EXAMPLE};
use super::*;

const POLICY: &str = r#"targets:
  allow: ["10.0.0.0/8", "fd00::/8"]
  deny:
    - 10.1.0.0/16
    - "10.2.0.9"
    - "::ffff:10.3.0.0/112"
  allowReserved: [linkLocal, node]
dial: node
connectTimeout: 250ms
openingTimeout: 50ms
headTimeout: 2s
maxRules: 3
maxTtl: 8h
"#;

fn policy(text: &str) -> Policy {
    Policy::parse(text, "policy.yaml").unwrap_or_else(|error| panic!("{error}\n{}", error.caret))
}

fn judge(policy: &Policy, ip: &str, is_node: bool) -> Result<(), String> {
    policy
        .judge_target(ip.parse().expect("is an address"), |_| is_node)
        .map_err(|refusal| refusal.to_string())
}

#[rstest]
#[case("")]
#[case("# nothing yet\n")]
#[case("{}")]
#[case("targets: {}")]
fn an_empty_file_is_the_default(#[case] text: &str) {
    assert_eq!(policy(text), Policy::default());
}

#[test]
fn the_default() {
    let policy = Policy::default();
    assert_eq!((policy.dial, policy.connect_timeout), (Dial::Pod, Duration::from_secs(1)));
    assert_eq!((policy.max_rules(), policy.max_ttl()), (16, None));
    assert_eq!(policy.judge_ttl(None), Ok(()));
    assert_eq!(policy.judge_rules(16), Ok(()));
    assert_eq!(
        policy.judge_rules(17).map_err(|refusal| refusal.to_string()),
        Err("17 rules on one workload are refused by the default (maxRules: 16); remove a rule, or ask the admin".to_owned())
    );
}

#[test]
fn all_fields() {
    let policy = policy(POLICY);
    assert_eq!((policy.dial, policy.connect_timeout), (Dial::Node, Duration::from_millis(250)));
    let silence = Silence { opening: Duration::from_millis(50), head: Duration::from_secs(2) };
    assert_eq!(policy.silence, silence);
    assert_eq!((policy.max_rules(), policy.max_ttl()), (3, Some(Duration::from_secs(8 * 60 * 60))));
}

#[rstest]
#[case("127.0.0.1", "loopback")]
#[case("127.255.255.255", "loopback")]
#[case("::1", "loopback")]
#[case("::ffff:127.0.0.1", "loopback")]
#[case("169.254.169.254", "linkLocal")]
#[case("fe80::1", "linkLocal")]
#[case("febf::1", "linkLocal")]
#[case("fd00:ec2::254", "linkLocal")]
#[case("fd00:ec2::23", "linkLocal")]
#[case("fd20:ce::254", "linkLocal")]
#[case("fd00:42::42", "linkLocal")]
#[case("224.0.0.1", "multicast")]
#[case("239.255.255.255", "multicast")]
#[case("255.255.255.255", "multicast")]
#[case("ff02::1", "multicast")]
#[case("0.0.0.0", "unspecified")]
#[case("0.1.2.3", "unspecified")]
#[case("::", "unspecified")]
fn reserved_addresses(#[case] ip: &str, #[case] kind: &str) {
    let shown = ip.strip_prefix("::ffff:").unwrap_or(ip);
    let remedy = match kind {
        "loopback" => {
            "from the pod, that is the pod itself; write an address of your computer that the pod \
             can reach"
        }
        "linkLocal" => "it is link-local, or a cloud's metadata service; write another address",
        "multicast" => "it stands for many hosts; write the address of one",
        _ => "it names no host; write an address of your computer that the pod can reach",
    };
    let refusal = format!(
        "{shown} is refused: {kind}; {remedy} (built in; an admin can allow it with \
         targets.allowReserved: [{kind}])"
    );
    assert_eq!(judge(&Policy::default(), ip, false), Err(refusal.clone()));
    // An allowed network is not enough.
    assert_eq!(judge(&policy("targets: {allow: [0.0.0.0/0, '::/0']}"), ip, false), Err(refusal));
    assert_eq!(judge(&policy(&format!("targets: {{allowReserved: [{kind}]}}")), ip, false), Ok(()));
}

#[rstest]
#[case("10.0.0.1")]
#[case("8.8.8.8")]
#[case("1.0.0.0")]
#[case("128.0.0.1")]
#[case("169.253.0.1")]
#[case("223.255.255.255")]
#[case("fd00::1")]
#[case("fd00:ec1::254")]
#[case("fd20:ce::253")]
#[case("fd00:42::43")]
#[case("2001:db8::1")]
#[case("fec0::1")]
fn other_addresses(#[case] ip: &str) {
    assert_eq!(judge(&Policy::default(), ip, false), Ok(()));
}

#[test]
fn addresses_of_the_node() {
    let message = "10.0.0.1 is refused: node; it is the pod's own node; write the address of \
                   another machine (built in; an admin can allow it with targets.allowReserved: [node])";
    assert_eq!(judge(&Policy::default(), "10.0.0.1", true), Err(message.to_owned()));
    assert_eq!(judge(&Policy::default(), "::ffff:10.0.0.1", true), Err(message.to_owned()));
    assert_eq!(judge(&policy(POLICY), "10.0.0.1", true), Ok(()));
}

#[test]
fn the_canonical_address_is_compared_with_those_of_the_node() {
    let mut asked = None;
    let ip = "::ffff:10.0.0.1".parse().expect("is an address");
    let judged = Policy::default().judge_target(ip, |ip| {
        asked = Some(ip);
        false
    });
    assert_eq!((judged, asked), (Ok(()), Some(IpAddr::from([10, 0, 0, 1]))));
}

#[rstest]
#[case("10.0.0.1", None)]
#[case("::ffff:10.0.0.1", None)]
#[case("fdff::1", None)]
#[case(
    "10.1.2.3",
    Some(
        "10.1.2.3 is refused by policy.yaml:4 (targets.deny: 10.1.0.0/16); choose another target, or ask the admin"
    )
)]
#[case(
    "::ffff:10.1.2.3",
    Some(
        "10.1.2.3 is refused by policy.yaml:4 (targets.deny: 10.1.0.0/16); choose another target, or ask the admin"
    )
)]
#[case(
    "10.2.0.9",
    Some(
        "10.2.0.9 is refused by policy.yaml:5 (targets.deny: 10.2.0.9/32); choose another target, or ask the admin"
    )
)]
#[case(
    "10.3.0.9",
    Some(
        "10.3.0.9 is refused by policy.yaml:6 (targets.deny: 10.3.0.0/16); choose another target, or ask the admin"
    )
)]
#[case("10.2.0.8", None)]
#[case(
    "11.0.0.1",
    Some(
        "11.0.0.1 is refused by policy.yaml:2 (targets.allow: [10.0.0.0/8, fd00::/8]); choose another target, or ask the admin"
    )
)]
#[case(
    "2001:db8::1",
    Some(
        "2001:db8::1 is refused by policy.yaml:2 (targets.allow: [10.0.0.0/8, fd00::/8]); choose another target, or ask the admin"
    )
)]
// The reserved kind is allowed, but the address is not in `allow`.
#[case(
    "169.254.0.1",
    Some(
        "169.254.0.1 is refused by policy.yaml:2 (targets.allow: [10.0.0.0/8, fd00::/8]); choose another target, or ask the admin"
    )
)]
fn targets(#[case] ip: &str, #[case] refusal: Option<&str>) {
    assert_eq!(judge(&policy(POLICY), ip, false).err().as_deref(), refusal);
}

#[test]
fn an_empty_allow_list_allows_nothing() {
    let refusal = "10.0.0.1 is refused by policy.yaml:1 (targets.allow: []); choose another target, or ask the admin";
    assert_eq!(judge(&policy("targets: {allow: []}"), "10.0.0.1", false), Err(refusal.to_owned()));
}

#[rstest]
#[case(Some(8 * 3600), None)]
#[case(Some(8 * 3600 + 60), Some("ttl 8h1m is refused by policy.yaml:13 (maxTtl: 8h); write `ttl 8h` or less"))]
#[case(
    None,
    Some("a rule without ttl is refused by policy.yaml:13 (maxTtl: 8h); add `ttl 8h` or less")
)]
fn ttls(#[case] seconds: Option<u64>, #[case] refusal: Option<&str>) {
    let judged = policy(POLICY).judge_ttl(seconds.map(Duration::from_secs));
    assert_eq!(judged.err().map(|refusal| refusal.to_string()).as_deref(), refusal);
}

#[test]
fn numbers_of_rules() {
    let policy = policy(POLICY);
    assert_eq!(policy.judge_rules(3), Ok(()));
    assert_eq!(
        policy.judge_rules(4).map_err(|refusal| refusal.to_string()),
        Err("4 rules on one workload are refused by policy.yaml:12 (maxRules: 3); remove a rule, or ask the admin".to_owned())
    );
}

#[test]
fn numbers_of_rules_on_a_node() {
    let policy = policy("maxRulesPerNode: 2");
    assert_eq!(policy.judge_rules_per_node(2), Ok(()));
    assert_eq!(
        policy.judge_rules_per_node(3).map_err(|refusal| refusal.to_string()),
        Err("3 rules on one node are refused by policy.yaml:1 (maxRulesPerNode: 2); ask the admin"
            .to_owned())
    );
}

/// Developers of a cluster know the chart's values, and not the file that is made of them.
#[test]
fn in_a_cluster_refusals_name_values_of_the_chart() {
    let text = format!("{POLICY}namespaces: debug=allowed\nactions: [mirror]\n");
    let policy = policy(&text).of_chart();
    let day = Some(Duration::from_secs(86_400));
    let refusals = [
        judge(&policy, "127.0.0.1", false),
        judge(&policy, "10.1.2.3", false),
        judge(&policy, "11.0.0.1", false),
        policy.judge_ttl(day).map_err(|refusal| refusal.to_string()),
        policy.judge_ttl(None).map_err(|refusal| refusal.to_string()),
        policy.judge_action(Action::Redirect).map_err(|refusal| refusal.to_string()),
        policy.judge_rules(4).map_err(|refusal| refusal.to_string()),
        policy.judge_rules_per_node(1025).map_err(|refusal| refusal.to_string()),
        policy.refuse_namespace("shop").map_or(Ok(()), Err).map_err(|refusal| refusal.to_string()),
    ];
    let expected = [
        "127.0.0.1 is refused: loopback; from the node, that is the node itself; write an address \
         of your computer that the pod can reach (built in; an admin can allow it with \
         policy.targets.allowReserved: [loopback])",
        "10.1.2.3 is refused by the chart's values (policy.targets.deny: 10.1.0.0/16); choose \
         another target, or ask the admin",
        "11.0.0.1 is refused by the chart's values (policy.targets.allow: [10.0.0.0/8, fd00::/8]); \
         choose another target, or ask the admin",
        "ttl 1day is refused by the chart's values (policy.maxTtl: 8h); write `ttl 8h` or less",
        "a rule without ttl is refused by the chart's values (policy.maxTtl: 8h); add `ttl 8h` or \
         less",
        "`debug.redirect` is refused by the chart's values (policy.actions: [mirror]); ask the \
         admin",
        "4 rules on one pod are refused by the chart's values (policy.maxRules: 3); remove a rule, \
         or ask the admin",
        "1025 rules on one node are refused by the chart's values (policy.maxRulesPerNode: 1024); \
         ask the admin",
        "namespace shop is refused by the chart's values (policy.namespaces: debug=allowed); ask \
         the admin to give the namespace these labels",
    ];
    assert_eq!(refusals.map(|refusal| refusal.expect_err("is refused")), expected);
}

#[rstest]
#[case("", None)]
#[case("actions: [redirect, mirror]", None)]
#[case(
    "actions: [mirror]",
    Some("`debug.redirect` is refused by policy.yaml:1 (actions: [mirror]); ask the admin")
)]
#[case(
    "\nactions: []",
    Some("`debug.redirect` is refused by policy.yaml:2 (actions: []); ask the admin")
)]
fn actions_of_rules(#[case] text: &str, #[case] refusal: Option<&str>) {
    let judged = policy(text).judge_action(Action::Redirect);
    assert_eq!(judged.err().map(|refusal| refusal.to_string()).as_deref(), refusal);
}

#[rstest]
#[case("", None)]
#[case("namespaces: ''", None)]
#[case("namespaces: ' '", None)]
#[case("namespaces: debug=allowed", Some("debug=allowed"))]
fn selected_namespaces(#[case] text: &str, #[case] selector: Option<&str>) {
    let policy = policy(text);
    assert_eq!(policy.namespaces(), selector);
    let refusal = policy.refuse_namespace("shop").map(|refusal| refusal.to_string());
    let expected = selector.map(|selector| {
        format!(
            "namespace shop is refused by policy.yaml:1 (namespaces: {selector}); ask the admin \
                 to give the namespace these labels"
        )
    });
    assert_eq!(refusal, expected);
}

#[rstest]
#[case("[]", "1:1: expected `key: value` lines")]
#[case(
    "target: {}",
    "1:1: unknown field `target`, expected `targets`, `dial`, `connectTimeout`, `openingTimeout`, `headTimeout`, `maxRules`, `maxRulesPerNode`, `maxTtl`, `actions` or `namespaces`"
)]
#[case(
    "targets:\n  alow: []",
    "2:3: unknown field `alow`, expected `allow`, `deny` or `allowReserved`"
)]
#[case("targets:\n  allow:", "2:8: expected a list")]
#[case("targets:\n  deny:", "2:7: expected a list")]
#[case("targets:", "1:8: expected `key: value` lines")]
#[case("maxTtl: # 8h", "1:7: expected a value, found none")]
#[case("targets: {deny: 10.0.0.0/8}", "1:17: expected a list")]
#[case(
    "targets: {deny: [10.0.0.0/33]}",
    "1:18: found `10.0.0.0/33`, expected a network or an IP address"
)]
#[case(
    "targets: {allow: [example.com]}",
    "1:19: found `example.com`, expected a network or an IP address"
)]
#[case(
    "targets: {deny: [10.1.2.3/8]}",
    "1:18: found `10.1.2.3/8`, expected `10.0.0.0/8` for the network, or `10.1.2.3` for the one address"
)]
#[case(
    "targets: {allowReserved: [lo]}",
    "1:27: found `lo`, expected `loopback`, `linkLocal`, `multicast`, `unspecified` or `node`"
)]
#[case("dial: Pod", "1:7: found `Pod`, expected `pod` or `node`")]
#[case("connectTimeout: 9ms", "1:17: found `9ms`, expected a duration from 10ms to 1m")]
#[case("connectTimeout: 61s", "1:17: found `61s`, expected a duration from 10ms to 1m")]
#[case("openingTimeout: 9ms", "1:17: found `9ms`, expected a duration from 10ms to 1m")]
#[case("headTimeout: 61s", "1:14: found `61s`, expected a duration from 10ms to 1m")]
#[case("connectTimeout: 1", "1:17: found `1`, expected a duration from 10ms to 1m")]
#[case("maxRules: 0", "1:11: found `0`, expected a number from 1 to 256")]
#[case("maxRules: 257", "1:11: found `257`, expected a number from 1 to 256")]
#[case("maxRulesPerNode: 0", "1:18: found `0`, expected a number from 1 to 10000")]
#[case("actions: [redirekt]", "1:11: found `redirekt`, expected `redirect` or `mirror`")]
#[case("actions: redirect", "1:10: expected a list")]
#[case("maxTtl: 31d", "1:9: found `31d`, expected a duration from 1s to 30days")]
#[case("dial: pod\ndial: node", "2:1: found `dial` a second time, expected it once")]
fn broken_files(#[case] text: &str, #[case] message: &str) {
    let error = Policy::parse(text, "policy.yaml").expect_err("is broken");
    assert_eq!(format!("{}: {}", error.location, error.problem), message);
}

#[test]
fn the_whole_message_of_a_broken_file() {
    let error =
        Policy::parse("targets:\n  deny: [10.0.0]\n", "/etc/policy.yaml").expect_err("is broken");
    assert_eq!(
        error.to_string(),
        "/etc/policy.yaml:2:10: found `10.0.0`, expected a network or an IP address \
         (example: `allow: [\"10.0.0.0/8\", \"fd00::/8\"]`)"
    );
    assert_eq!(error.caret, "  deny: [10.0.0]\n         ^^^^^^");
}

#[rstest]
#[case("connectTimeout: 10ms\nmaxRules: 1\nmaxTtl: 1s")]
#[case("connectTimeout: 60s\nmaxRules: 256\nmaxTtl: 30d")]
#[case(EXAMPLE)]
#[case(&format!("targets:\n  {NET_EXAMPLE}\n  {RESERVED_EXAMPLE}"))]
fn good_files(#[case] text: &str) {
    policy(text);
}

#[test]
fn a_file_that_is_not_there() {
    let path = std::env::temp_dir().join("interceptor-no-such-policy.yaml");
    let error = Policy::read(&path).expect_err("is not there");
    assert!(matches!(error, ReadError::Io { .. }), "{error}");
}

proptest! {
    #[test]
    fn any_text_has_a_result(text in any::<String>()) {
        let _ = Policy::parse(&text, "policy.yaml");
    }

    #[test]
    fn any_value_has_a_result(field in 0..8_usize, value in any::<String>()) {
        let field = ["targets: {allow: [", "targets: {deny: [", "targets: {allowReserved: [", "dial: ",
            "connectTimeout: ", "maxRules: ", "maxTtl: ", "targets: "][field];
        let close = match field.ends_with('[') { true => "]}", false => "" };
        let quoted = value.replace('\'', "''");
        let _ = Policy::parse(&format!("{field}{value}{close}"), "policy.yaml");
        let _ = Policy::parse(&format!("{field}'{quoted}'{close}"), "policy.yaml");
    }

    #[test]
    fn mapped_addresses_are_judged_as_ipv4(ip in any::<std::net::Ipv4Addr>(), is_node in any::<bool>()) {
        let policy = policy(POLICY);
        let mapped = IpAddr::V6(ip.to_ipv6_mapped());
        prop_assert_eq!(policy.judge_target(mapped, |_| is_node), policy.judge_target(ip.into(), |_| is_node));
    }
}
