//! What is written on a pod, given what the watch shows of it.

use super::{
    super::tests::{
        NAME, active, carried, desk, desk_refusing, events, foreign, pod, published, refused,
        rules, writes,
    },
    *,
};
use crate::{
    control::{
        registry::RuleEntry,
        status::{Reason, Standing},
    },
    kubernetes::fake::Asked,
};

/// A task whose rules are active and told, in version 2 of the pod; the answers to what it writes next.
async fn told(answers: Vec<(u64, Vec<PodCondition>)>) -> (PodReporter, Asked) {
    let first = vec![(2, carried(&active()))];
    let (desk, asked) = desk([first, answers].concat());
    let mut teller = PodReporter::new(desk);
    let next = step(&mut teller, active(), &pod(1, true, &[])).await;
    assert!(matches!(next, Next::Wait(None)));
    assert_eq!(writes(&asked), 1);
    (teller, asked)
}

async fn step(teller: &mut PodReporter, rules: Vec<RuleEntry>, pod: &SeenPod) -> Next {
    let entry = published(rules);
    let name = Arc::clone(&entry.name);
    teller.desk.registry.publish(entry);
    teller.step(&name, pod).await
}

/// Makes the last write one of long ago.
fn let_time_pass(teller: &mut PodReporter) {
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
    teller.desk.registry.remove(&NAME.into());
    let next = teller.step(NAME, &pod(3, false, &carried(&active()))).await;
    assert!(matches!(next, Next::End));
    let next = teller.step(NAME, &pod(4, false, &[])).await;
    assert!(matches!(next, Next::End));
    assert_eq!(writes(&asked), 2);
}

#[tokio::test]
async fn an_event_that_was_refused_is_told_later_and_not_for_ever() {
    for (refused, tries) in [(2, 3), (99, EVENT_TRIES as usize)] {
        let (desk, asked) = desk_refusing(refused, vec![(2, carried(&active()))]);
        let mut teller = PodReporter::new(desk);
        let mut next = step(&mut teller, active(), &pod(1, true, &[])).await;
        let mut steps = 1;
        while let Next::Wait(Some(_)) = next {
            next = step(&mut teller, active(), &pod(2, true, &carried(&active()))).await;
            steps += 1;
        }
        assert!(matches!(next, Next::Wait(None)));
        assert_eq!((steps, events(&asked), writes(&asked)), (tries, tries, 1));
        assert!(teller.untold.is_empty());
    }
}

#[tokio::test]
async fn the_end_is_told_when_it_has_come() {
    let (mut teller, asked) = told(vec![(4, vec![])]).await;
    // The annotation is gone, and the reconciler has not given the port back yet.
    let bare = pod(3, false, &carried(&active()));
    assert!(matches!(step(&mut teller, active(), &bare).await, Next::Wait(None)));
    assert_eq!((writes(&asked), events(&asked)), (1, 1));
    teller.desk.registry.remove(&NAME.into());
    assert!(matches!(teller.step(NAME, &bare).await, Next::End));
    assert_eq!((writes(&asked), events(&asked)), (2, 2));
}

#[tokio::test]
async fn a_rule_in_place_of_another_is_not_true_because_that_was() {
    let proving = || {
        let condition = Standing::pending(Reason::Proving, "soon");
        vec![RuleEntry::bare("debug.redirect", "8080 -> another:1", condition)]
    };
    let (mut teller, asked) = told(vec![(3, carried(&proving()))]).await;
    let next = step(&mut teller, proving(), &pod(2, true, &carried(&active()))).await;
    assert!(matches!(next, Next::Wait(Some(_))));
    // No Event yet: it is about to be in force.
    assert_eq!((writes(&asked), events(&asked)), (2, 1));

    // The same rule once more is on its way back, and nobody is told of a moment.
    let (mut teller, asked) = told(vec![]).await;
    let again = rules(Standing::pending(Reason::Proving, "soon"));
    step(&mut teller, again, &pod(2, true, &carried(&active()))).await;
    assert_eq!((writes(&asked), events(&asked)), (1, 1));
}
