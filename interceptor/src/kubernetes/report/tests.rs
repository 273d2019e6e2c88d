//! Reports over an API server that answers by heart, while the watch shows what a test lets it show.

use k8s_openapi::api::core::v1::PodCondition;
use parking_lot::Mutex;
use serde_json::{Value, json};
use testbed::wait_until;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use super::*;
use crate::{
    config::policy::Policy,
    control::{
        registry::{RuleEntry, WorkloadEntry},
        status::{Reason, Standing},
    },
    kubernetes::{
        fake::{Asked, client, status},
        pod::{SeenPod, read},
        report::condition,
    },
};

pub(super) const NAME: &str = "shop/web";
const PATCH: &str = "PATCH /api/v1/namespaces/shop/pods/web/status";
const EVENT: &str = "POST /apis/events.k8s.io/v1/namespaces/shop/events";
/// How long anything here may take.
const SOON: Duration = Duration::from_secs(20);

/// The pod in this version.
pub(super) fn pod(version: u64, annotated: bool, conditions: &[PodCondition]) -> SeenPod {
    let object = serde_json::from_value(object(version, annotated, conditions)).expect("a pod");
    read(&object).expect("has a name")
}

fn object(version: u64, annotated: bool, conditions: &[PodCondition]) -> Value {
    let annotations =
        if annotated { json!({ "debug.redirect": "8080 -> laptop:1" }) } else { json!({}) };
    json!({
        "metadata": {
            "namespace": "shop", "name": "web", "uid": "u-1",
            "resourceVersion": version.to_string(), "annotations": annotations,
        },
        "spec": { "containers": [] },
        "status": { "phase": "Running", "podIP": "10.244.1.2", "conditions": conditions },
    })
}

/// Its rules, in this state.
pub(super) fn rules(condition: Standing) -> Vec<RuleEntry> {
    vec![RuleEntry::bare("debug.redirect", "8080 -> laptop:1", condition)]
}

/// Its rules, in force.
pub(super) fn active() -> Vec<RuleEntry> {
    rules(Standing::active("all of it"))
}

/// Its rules, refused.
pub(super) fn refused() -> Vec<RuleEntry> {
    rules(Standing::refused(Reason::TargetDenied, "no"))
}

/// What is on the pod when these rules are told.
pub(super) fn carried(rules: &[RuleEntry]) -> Vec<PodCondition> {
    condition::conditions(rules)
        .iter()
        .map(|said| said.condition("2026-01-01T00:00:00Z".parse().expect("a time")))
        .collect()
}

/// A condition of somebody else that is called as if it were ours.
pub(super) fn foreign() -> PodCondition {
    PodCondition {
        type_: "debug.redirect/Foreign".to_owned(),
        status: "True".to_owned(),
        ..PodCondition::default()
    }
}

/// The pod published with these rules.
pub(super) fn published(rules: Vec<RuleEntry>) -> WorkloadEntry {
    let uid = Some("u-1".into());
    WorkloadEntry {
        name: NAME.into(),
        uid,
        netns: String::new(),
        armed: None,
        failure: None,
        rules,
    }
}

/// A desk whose requests are answered with these versions of the pod and its conditions, one after the other.
pub(super) fn desk(answers: Vec<(u64, Vec<PodCondition>)>) -> (Arc<Shared>, Asked) {
    desk_refusing(0, answers)
}

/// The same, where so many Events are refused first.
pub(super) fn desk_refusing(
    events: usize,
    answers: Vec<(u64, Vec<PodCondition>)>,
) -> (Arc<Shared>, Asked) {
    let answers = Mutex::new(answers.into_iter());
    let answers = Arc::new(answers);
    let (client, asked) = client(move |question, before| {
        if question == EVENT && before < events {
            return (429, status(429, "TooManyRequests"));
        }
        if question == EVENT {
            return (201, json!({ "metadata": {}, "eventTime": null }));
        }
        let answer = answers.lock().next();
        let (version, conditions) = answer.unwrap_or_else(|| panic!("one too many: {question}"));
        (200, object(version, true, &conditions))
    });
    let desk = Shared {
        client,
        node: "here".to_owned(),
        store: Arc::new(Store::new(Arc::new(Policy::default()), None)),
        registry: Arc::default(),
        permits: Semaphore::new(AT_ONCE),
        event_permits: Semaphore::new(AT_ONCE),
        events: Arc::default(),
        ending: AtomicBool::new(false),
    };
    (Arc::new(desk), asked)
}

/// How often conditions were written.
pub(super) fn writes(asked: &Asked) -> usize {
    asked.all().iter().filter(|question| *question == PATCH).count()
}

/// How many Events were created.
pub(super) fn events(asked: &Asked) -> usize {
    asked.all().iter().filter(|question| *question == EVENT).count()
}

/// Reports at work.
struct Stage {
    desk: Arc<Shared>,
    asked: Asked,
    changes: UnboundedSender<Change>,
}

impl Stage {
    fn new(answers: Vec<(u64, Vec<PodCondition>)>) -> Self {
        let (desk, asked) = desk(answers);
        let (changes, changed) = unbounded_channel();
        tokio::spawn(Reports::of(Arc::clone(&desk)).run(changed));
        Self { desk, asked, changes }
    }

    /// The watch shows the pod so.
    fn shows(&self, pod: SeenPod) {
        if let Some(change) = self.desk.store.apply(pod) {
            self.changes.send(Change::Pod(change.name)).expect("somebody listens");
        }
    }

    fn publish(&self, rules: Vec<RuleEntry>) {
        self.desk.registry.publish(published(rules));
        self.changes.send(Change::Pod(NAME.into())).expect("somebody listens");
    }

    fn withdraw(&self) {
        self.desk.registry.remove(&NAME.into());
        self.changes.send(Change::Pod(NAME.into())).expect("somebody listens");
    }

    /// Waits until so many of these were asked, and sees that there are no more.
    async fn wait_asked(&self, question: &'static str, count: usize) {
        let asked = self.asked.clone();
        let wait = move || {
            wait_until(&format!("{count} of {question}"), SOON, || {
                let all = asked.all();
                let now = all.iter().filter(|asked| *asked == question).count();
                if now == count { Ok(()) } else { Err(format!("{all:?}")) }
            })
        };
        tokio::task::spawn_blocking(wait).await.expect("no panic").expect("so many");
    }
}

#[tokio::test]
async fn a_rule_that_comes_back_while_its_end_is_written_is_told_again() {
    let told = carried(&active());
    let stage = Stage::new(vec![(2, told.clone()), (5, vec![]), (6, told.clone())]);
    stage.shows(pod(1, true, &[]));
    stage.publish(active());
    stage.wait_asked(PATCH, 1).await;
    stage.shows(pod(2, true, &told));
    stage.withdraw();
    stage.shows(pod(3, false, &told));
    stage.wait_asked(PATCH, 2).await;
    // Annotated again, just before the API server took our conditions off.
    stage.shows(pod(4, true, &told));
    stage.publish(active());
    // Active, ended, active: it is looked after again.
    stage.wait_asked(EVENT, 3).await;
    stage.shows(pod(5, true, &[]));
    stage.wait_asked(PATCH, 3).await;
}

#[tokio::test]
async fn what_is_left_on_a_pod_is_taken_off_once_each_time() {
    let left = carried(&active());
    let stage = Stage::new(vec![(2, vec![]), (5, vec![foreign()]), (9, vec![foreign()])]);
    stage.shows(pod(1, false, &left));
    stage.wait_asked(PATCH, 1).await;
    // The watch is late.
    stage.changes.send(Change::Pods).expect("somebody listens");
    stage.shows(pod(2, false, &[]));
    // Somebody puts it on again, with one of theirs that stays.
    let with_theirs = [left, vec![foreign()]].concat();
    stage.shows(pod(4, false, &with_theirs));
    stage.wait_asked(PATCH, 2).await;
    stage.shows(pod(5, false, &[foreign()]));
    stage.changes.send(Change::Pods).expect("somebody listens");
    // Another pod of that name.
    let another = SeenPod { uid: "u-2".into(), ..pod(8, false, &with_theirs) };
    stage.shows(another);
    stage.wait_asked(PATCH, 3).await;
}
