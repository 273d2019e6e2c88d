//! The messages of rules in force, word by word.

use interceptor_rule::parse;
use rstest::rstest;

use super::*;
use crate::{
    config::{policy::Policy, workloads},
    control::plan::{Node, Planner},
};

fn rule(text: &str) -> Rule {
    parse(text).expect("is a rule").remove(0)
}

fn ports(numbers: &[u16]) -> Vec<Port> {
    numbers.iter().map(|&number| Port::tcp(NonZeroU16::new(number).expect("not zero"))).collect()
}

#[rstest]
#[case("80 -> a:1", &[80], "port 80 → a:1")]
#[case("80,443 -> [fd00::7]:1", &[80, 443], "ports 80, 443 → [fd00::7]:1")]
#[case("a:1", &[8080], "port 8080 (all declared) → a:1")]
#[case("80 -> a:1 percent 5", &[80], "port 80 → a:1, 5 % of new connections")]
#[case(
    "80 -> a:1 when source.port == 1",
    &[80],
    "port 80 → a:1, connections that match `source.port == 1`"
)]
#[case(
    "80 -> a:1 when connection.requested_server_name == 'a'",
    &[80],
    "port 80 → a:1, connections that match `connection.requested_server_name == 'a'`"
)]
#[case(
    "80 -> a:1 when request.path == '/' percent 0.5",
    &[80],
    "port 80 → a:1, 0.5 % of requests that match `request.path == '/'`"
)]
fn a_rule_says_what_it_takes_and_where_it_leads(
    #[case] text: &str,
    #[case] numbers: &[u16],
    #[case] expected: &str,
) {
    assert_eq!(takes(&rule(text), &ports(numbers)), expected);
}

#[test]
fn long_lists_and_conditions_are_cut_off() {
    let numbers: Vec<_> = (1..=64).collect();
    let text = takes(&rule("a:1"), &ports(&numbers));
    assert_eq!(text, "ports 1, 2, 3, 4, 5, 6, 7, 8 and 56 more (all declared) → a:1");
    let long = format!("80 -> a:1 when request.path == '{}'", "ü".repeat(500));
    let text = takes(&rule(&long), &ports(&[80]));
    assert!(text.len() < 300 && text.ends_with("…`"), "{text}");
}

#[rstest]
#[case(
    Answer::Refuses,
    "TargetRefuses a:1 refuses connections: nothing listens there; clients get the app (port 80)"
)]
#[case(
    Answer::Silent,
    "TargetSilent a:1 is silent: connections from the pod get no answer; clients get the app (port \
     80)"
)]
#[case(
    Answer::Unreachable,
    "TargetUnreachable a:1 can't be reached from the pod: there is no route to it; clients get the \
     app (port 80)"
)]
#[case(
    Answer::Forbidden,
    "TargetUnreachable a:1 can't be reached from the pod: the kernel there does not allow the \
     connection; clients get the app (port 80)"
)]
#[case(
    Answer::Loops,
    "Loop a:1 is a redirected port of this pod: connections would loop; clients get the app (port \
     80)"
)]
fn a_target_that_is_away_is_named_with_the_reason(#[case] answer: Answer, #[case] text: &str) {
    let target = rule("80 -> a:1").target;
    let (reason, message) = fallback(answer, &target, Dial::Pod, &ports(&[80])).expect("is away");
    assert_eq!(format!("{reason} {message}"), text);
    let (_, from_node) = fallback(answer, &target, Dial::Node, &ports(&[80])).expect("is away");
    assert_eq!(from_node, message.replace("from the pod", "from the node"));
}

#[test]
fn a_target_that_accepts_has_no_reason() {
    let target = rule("80 -> a:1").target;
    assert_eq!(fallback(Answer::Accepts, &target, Dial::Pod, &ports(&[80])), None);
}

#[test]
fn rules_that_share_a_port_name_each_other_in_their_order() {
    let text = "workloads:\n- name: web\n  netns: /run/netns/web\n  annotations:\n    \
                debug.redirect/alice: '80 -> 10.20.0.7:1 percent 5'\n    \
                debug.redirect/bob: '80 -> 10.20.0.7:2 percent 5; 80,81 -> 10.20.0.7:3'\n    \
                debug.redirect/carol: '90 -> 10.20.0.7:4'\n";
    let spec = workloads::parse(text, "w.yaml").expect("a file").workloads.remove(0);
    let node = Node { policy: &Policy::default(), elsewhere: 0, is_node_address: &|_| false };
    let plan = Planner::default().plan(&spec, &node, |_, _| None);
    let orders: Vec<_> = (0..plan.rules.len()).map(|n| order(&plan, n)).collect();
    let expected = [
        Some("asked before debug.redirect/bob"),
        Some("asked after debug.redirect/alice and before another rule of this annotation"),
        Some("asked after debug.redirect/alice, another rule of this annotation"),
        None,
    ];
    assert_eq!(orders, expected.map(|text| text.map(str::to_owned)));
}

#[rstest]
#[case(&[], &[8080], None)]
#[case(
    &[80],
    &[8080, 9090],
    Some("nothing listens on port 80, and it is not declared (declared: 8080, 9090)")
)]
#[case(
    &[80, 81],
    &[],
    Some("nothing listens on ports 80, 81, and they are not declared (declared: none)")
)]
fn a_port_without_a_listener_is_named(
    #[case] numbers: &[u16],
    #[case] declared: &[u16],
    #[case] expected: Option<&str>,
) {
    let declared: Vec<_> = declared.iter().map(|&one| NonZeroU16::new(one).expect("one")).collect();
    assert_eq!(unheard(&ports(numbers), &declared).as_deref(), expected);
}
