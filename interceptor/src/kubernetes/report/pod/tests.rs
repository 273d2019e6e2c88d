//! The writes to a pod, given what the watch shows of it.

use interceptor_api::{Reason, Standing};

use super::{
    super::tests::{
        NAME, active, events, foreign, on_pod, pod, published, refused, rules, shared,
        shared_refusing, writes,
    },
    *,
};
use crate::kubernetes::fake::RequestLog;

/// A reporter that has reported active rules, in version 2 of the pod. Its next writes get these
/// answers.
async fn reported(answers: Vec<(u64, Vec<PodCondition>)>) -> (PodReporter, RequestLog) {
    let first = vec![(2, on_pod(&active()))];
    let (shared, requests) = shared([first, answers].concat());
    let mut reporter = PodReporter::new(shared);
    let next = step(&mut reporter, active(), &pod(1, true, &[])).await;
    assert!(matches!(next, Next::Wait(None)));
    assert_eq!(writes(&requests), 1);
    (reporter, requests)
}

async fn step(reporter: &mut PodReporter, rules: Vec<RuleEntry>, pod: &SeenPod) -> Next {
    let entry = published(rules);
    let name = Arc::clone(&entry.name);
    reporter.shared.registry.publish(entry);
    reporter.step(&name, pod).await
}

/// Moves the last write into the past, by [`RESTORE_DELAY`].
fn let_time_pass(reporter: &mut PodReporter) {
    let last = reporter.last_write.as_mut().expect("a write");
    last.at = last.at.checked_sub(RESTORE_DELAY).expect("a machine that runs for some seconds");
}

#[tokio::test]
async fn a_watch_that_is_late_is_no_reason_to_write() {
    let (mut reporter, requests) = reported(vec![(4, on_pod(&refused()))]).await;
    let_time_pass(&mut reporter);
    let next = step(&mut reporter, active(), &pod(1, true, &[])).await;
    assert!(matches!(next, Next::Wait(None)));
    assert_eq!(writes(&requests), 1, "the watch does not show the first write yet");
    step(&mut reporter, refused(), &pod(1, true, &[])).await;
    assert_eq!(writes(&requests), 2);
    let_time_pass(&mut reporter);
    step(&mut reporter, refused(), &pod(2, true, &on_pod(&active()))).await;
    step(&mut reporter, refused(), &pod(4, true, &on_pod(&refused()))).await;
    assert_eq!(writes(&requests), 2);
}

#[tokio::test]
async fn conditions_that_another_writer_removes_or_changes_are_restored_after_a_while() {
    let answers = vec![(4, on_pod(&active())), (6, on_pod(&active()))];
    let (mut reporter, requests) = reported(answers).await;
    for (version, seen) in [(3, vec![]), (5, on_pod(&refused()))] {
        let before = writes(&requests);
        let seen = pod(version, true, &seen);
        let at = reporter.last_write.as_ref().expect("a write").at;
        let next = step(&mut reporter, active(), &seen).await;
        assert!(
            matches!(next, Next::Wait(Some(then)) if then == at + RESTORE_DELAY),
            "not at once"
        );
        assert_eq!(writes(&requests), before);
        let_time_pass(&mut reporter);
        let next = step(&mut reporter, active(), &seen).await;
        assert!(matches!(next, Next::Wait(None)));
        assert_eq!(writes(&requests), before + 1);
    }
}

#[tokio::test]
async fn a_difference_that_a_write_does_not_change_is_not_written_again() {
    let with_foreign = [on_pod(&active()), vec![foreign()]].concat();
    let (mut reporter, requests) = reported(vec![(3, with_foreign.clone())]).await;
    let_time_pass(&mut reporter);
    for _ in 0..3 {
        step(&mut reporter, active(), &pod(3, true, &with_foreign)).await;
        let_time_pass(&mut reporter);
    }
    assert_eq!(writes(&requests), 2);
}

#[tokio::test]
async fn a_daemon_that_waits_for_another_one_leaves_its_conditions_alone() {
    let (shared, requests) = shared(vec![(4, on_pod(&refused())), (6, on_pod(&active()))]);
    let mut reporter = PodReporter::new(shared);
    let contested = |reporter: &PodReporter| {
        let entry = WorkloadEntry { is_contested: true, ..published(refused()) };
        reporter.shared.registry.publish(entry);
    };
    contested(&reporter);
    let others = pod(1, true, &on_pod(&active()));
    assert!(matches!(reporter.step(NAME, &others).await, Next::Wait(None)));
    assert_eq!((writes(&requests), events(&requests)), (0, 1), "its Event says why it waits");
    // Without conditions of the other one, it writes its own.
    reporter.step(NAME, &pod(3, true, &[])).await;
    assert_eq!(writes(&requests), 1);
    let_time_pass(&mut reporter);
    reporter.step(NAME, &pod(5, true, &on_pod(&active()))).await;
    assert_eq!(writes(&requests), 1, "the other one has written");
    // The port is this daemon's now.
    step(&mut reporter, active(), &pod(5, true, &[])).await;
    assert_eq!(writes(&requests), 2);
}

#[tokio::test]
async fn a_pod_without_annotations_loses_the_conditions_of_interceptor_only() {
    let (mut reporter, requests) = reported(vec![(4, vec![])]).await;
    reporter.shared.registry.remove(&NAME.into());
    let next = reporter.step(NAME, &pod(3, false, &on_pod(&active()))).await;
    assert!(matches!(next, Next::End));
    let next = reporter.step(NAME, &pod(4, false, &[])).await;
    assert!(matches!(next, Next::End));
    assert_eq!(writes(&requests), 2);
}

#[tokio::test]
async fn an_event_that_was_refused_is_retried_a_few_times() {
    for (refused, tries) in [(2, 3), (99, MAX_EVENT_ATTEMPTS as usize)] {
        let (shared, requests) = shared_refusing(refused, vec![(2, on_pod(&active()))]);
        let mut reporter = PodReporter::new(shared);
        let mut next = step(&mut reporter, active(), &pod(1, true, &[])).await;
        let mut steps = 1;
        while let Next::Wait(Some(_)) = next {
            next = step(&mut reporter, active(), &pod(2, true, &on_pod(&active()))).await;
            steps += 1;
        }
        assert!(matches!(next, Next::Wait(None)));
        assert_eq!((steps, events(&requests), writes(&requests)), (tries, tries, 1));
        assert!(reporter.waiting_events.is_empty());
    }
}

#[tokio::test]
async fn the_end_of_a_rule_is_reported_after_its_ports_were_given_back() {
    let (mut reporter, requests) = reported(vec![(4, vec![])]).await;
    // The annotation is gone, and the reconciler has not given the port back yet.
    let bare = pod(3, false, &on_pod(&active()));
    assert!(matches!(step(&mut reporter, active(), &bare).await, Next::Wait(None)));
    assert_eq!((writes(&requests), events(&requests)), (1, 1));
    reporter.shared.registry.remove(&NAME.into());
    assert!(matches!(reporter.step(NAME, &bare).await, Next::End));
    assert_eq!((writes(&requests), events(&requests)), (2, 2));
}

#[tokio::test]
async fn a_rule_does_not_inherit_the_status_of_the_rule_before_it() {
    let proving = || {
        let standing = Standing::pending(Reason::Proving, "soon");
        vec![RuleEntry::bare("debug.redirect", "8080 -> another:1", standing)]
    };
    let (mut reporter, requests) = reported(vec![(3, on_pod(&proving()))]).await;
    let next = step(&mut reporter, proving(), &pod(2, true, &on_pod(&active()))).await;
    assert!(matches!(next, Next::Wait(Some(_))));
    // No Event yet: the rule is about to become active.
    assert_eq!((writes(&requests), events(&requests)), (2, 1));

    // The same rule is about to become active again: that is not reported.
    let (mut reporter, requests) = reported(vec![]).await;
    let again = rules(Standing::pending(Reason::Proving, "soon"));
    step(&mut reporter, again, &pod(2, true, &on_pod(&active()))).await;
    assert_eq!((writes(&requests), events(&requests)), (1, 1));
}

#[tokio::test]
async fn a_pod_that_is_being_deleted_gets_no_warning() {
    let refuses = rules(Standing::fell_back(Reason::TargetRefuses, "no"));
    for (terminating, events_after) in [(false, 2), (true, 1)] {
        let (mut reporter, requests) = reported(vec![(3, on_pod(&refuses))]).await;
        let mut seen = pod(2, true, &on_pod(&active()));
        seen.workload.as_mut().expect("annotations").terminating = terminating;
        step(&mut reporter, rules(refuses[0].condition.clone()), &seen).await;
        assert_eq!((writes(&requests), events(&requests)), (2, events_after));
    }
}
