//! What is written on a pod, given what the watch shows of it.

use super::{
    super::tests::{active, carried, desk, foreign, pod, published, refused, writes},
    *,
};
use crate::{control::registry::RuleEntry, kube::fake::Asked};

/// A task whose rules are active and told, in version 2 of the pod; the answers to what it writes next.
async fn told(answers: Vec<(u64, Vec<PodCondition>)>) -> (Teller, Asked) {
    let first = vec![(2, carried(&active()))];
    let (desk, asked) = desk([first, answers].concat());
    let mut teller = Teller::new(desk);
    let next = step(&mut teller, active(), &pod(1, true, &[])).await;
    assert!(matches!(next, Next::Wait(None)));
    assert_eq!(writes(&asked), 1);
    (teller, asked)
}

async fn step(teller: &mut Teller, rules: Vec<RuleEntry>, pod: &SeenPod) -> Next {
    let entry = published(rules);
    let name = Arc::clone(&entry.name);
    teller.desk.registry.publish(entry);
    teller.step(&name, pod).await
}

/// Makes the last write one of long ago.
fn let_time_pass(teller: &mut Teller) {
    let last = teller.last.as_mut().expect("a write");
    last.at = last.at.checked_sub(RESTORE).expect("a machine that runs for some seconds");
}

#[tokio::test]
async fn a_watch_that_is_late_is_no_reason_to_write() {
    let (mut teller, asked) = told(vec![(4, carried(&refused()))]).await;
    let_time_pass(&mut teller);
    let next = step(&mut teller, active(), &pod(1, true, &[])).await;
    assert!(matches!(next, Next::Wait(None)));
    assert_eq!(writes(&asked), 1, "what was written is not yet seen");
    step(&mut teller, refused(), &pod(1, true, &[])).await;
    assert_eq!(writes(&asked), 2);
    let_time_pass(&mut teller);
    step(&mut teller, refused(), &pod(2, true, &carried(&active()))).await;
    step(&mut teller, refused(), &pod(4, true, &carried(&refused()))).await;
    assert_eq!(writes(&asked), 2);
}

#[tokio::test]
async fn what_somebody_takes_off_or_changes_is_put_right_after_a_while() {
    let (mut teller, asked) = told(vec![(4, carried(&active())), (6, carried(&active()))]).await;
    for (version, seen) in [(3, vec![]), (5, carried(&refused()))] {
        let before = writes(&asked);
        let seen = pod(version, true, &seen);
        let at = teller.last.as_ref().expect("a write").at;
        let next = step(&mut teller, active(), &seen).await;
        assert!(matches!(next, Next::Wait(Some(then)) if then == at + RESTORE), "not at once");
        assert_eq!(writes(&asked), before);
        let_time_pass(&mut teller);
        let next = step(&mut teller, active(), &seen).await;
        assert!(matches!(next, Next::Wait(None)));
        assert_eq!(writes(&asked), before + 1);
    }
}

#[tokio::test]
async fn what_a_write_does_not_change_is_not_written_again() {
    let with_theirs = [carried(&active()), vec![foreign()]].concat();
    let (mut teller, asked) = told(vec![(3, with_theirs.clone())]).await;
    let_time_pass(&mut teller);
    for _ in 0..3 {
        step(&mut teller, active(), &pod(3, true, &with_theirs)).await;
        let_time_pass(&mut teller);
    }
    assert_eq!(writes(&asked), 2);
}

#[tokio::test]
async fn of_a_pod_without_annotations_only_what_is_ours_is_taken_off() {
    let (mut teller, asked) = told(vec![(4, vec![])]).await;
    let next = step(&mut teller, active(), &pod(3, false, &carried(&active()))).await;
    assert!(matches!(next, Next::End));
    let next = step(&mut teller, active(), &pod(4, false, &[])).await;
    assert!(matches!(next, Next::End));
    assert_eq!(writes(&asked), 2);
}
