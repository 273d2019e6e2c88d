//! The upstream connections behind one client.

use std::sync::Arc;

use super::state::Current;
use crate::relay::{
    observe::Counters, route::Route, stolen::Stolen, stream::Stream, upstream::Upstream,
};

/// At most one connection to the app, and one to the target of each rule.
pub(super) struct Upstreams {
    app: Option<Upstream>,
    /// The open targets. The last one is the one that [`Current::Target`] means.
    targets: Vec<Target>,
}

/// A connection to the target of a rule.
pub(super) struct Target {
    pub(super) route: Arc<Route>,
    pub(super) upstream: Upstream,
    /// The target was sent FIN, so it gets no further request.
    is_finished: bool,
}

// === impl Upstreams ===

impl Upstreams {
    pub(super) fn new(app: Option<Upstream>) -> Self {
        Self { app, targets: Vec::new() }
    }

    /// The connection that requests go to and responses come from. Without a current upstream, the
    /// last target: the relay watches it for its end.
    pub(super) fn stream(&self, current: Current) -> Option<&Stream> {
        match current {
            Current::App | Current::SpareApp => self.app.as_ref().map(|app| &*app.stream),
            Current::Target | Current::None => {
                self.targets.last().map(|target| &*target.upstream.stream)
            }
        }
    }

    /// Whether the current target is that of this rule.
    pub(super) fn is_current(&self, current: Current, route: &Arc<Route>) -> bool {
        current == Current::Target
            && self.targets.last().is_some_and(|target| Arc::ptr_eq(&target.route, route))
    }

    pub(super) fn open_app(&mut self, app: Upstream) {
        self.app = Some(app);
    }

    pub(super) fn open_target(&mut self, route: Arc<Route>, upstream: Upstream) {
        self.targets.push(Target { route, upstream, is_finished: false });
    }

    /// Makes the open connection to the rule's target the last one. False if there is none.
    pub(super) fn reuse_target(&mut self, route: &Arc<Route>) -> bool {
        // A target that sent something unasked, or ended, gets no further request.
        self.targets.retain(|target| !target.is_finished && target.upstream.stream.is_idle());
        let Some(at) = self.targets.iter().position(|target| Arc::ptr_eq(&target.route, route))
        else {
            return false;
        };
        let last = self.targets.len() - 1;
        self.targets.swap(at, last);
        true
    }

    /// Sends FIN to the last target.
    pub(super) fn finish_target(&mut self) {
        if let Some(target) = self.targets.last_mut() {
            // A target that has failed shows it at the next read.
            let _ = target.upstream.stream.finish();
            target.is_finished = true;
        }
    }

    /// Whether the app's connection is open. The app may have closed it while it was idle: then it
    /// is dropped.
    pub(super) fn is_app_open(&mut self) -> bool {
        self.app.take_if(|app| !app.stream.is_idle());
        self.app.is_some()
    }

    pub(super) fn drop_app(&mut self) {
        self.app = None;
    }

    pub(super) fn drop_current_target(&mut self) {
        self.targets.pop();
    }

    pub(super) fn drop_targets(&mut self) {
        self.targets.clear();
    }

    /// Observes what passes between the client and the current upstream.
    pub(super) fn observer<'a>(&'a self, stolen: &'a Stolen, current: Current) -> Counters<'a> {
        match (current, self.targets.last()) {
            (Current::Target, Some(target)) => stolen.observe_target(&target.route),
            _ => stolen.observe_app(),
        }
    }

    /// The current target, if a target is current, and the app. Closes the others.
    pub(super) fn into_current(mut self, current: Current) -> (Option<Target>, Option<Upstream>) {
        let target = if current == Current::Target { self.targets.pop() } else { None };
        (target, self.app)
    }
}
