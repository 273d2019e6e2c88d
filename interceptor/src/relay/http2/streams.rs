//! The diverted streams of a connection. A stream with nothing on its way costs no turn anything.

use std::collections::{BTreeMap, BTreeSet};

use interceptor_wire::http2::StreamId;

use super::stream::Diverted;

/// The diverted streams of a connection, by the client's number.
#[derive(Debug, Default)]
pub(super) struct Streams {
    all: BTreeMap<StreamId, Diverted>,
    /// Those that may have changed since the last turn, and those with something on its way.
    busy: BTreeSet<StreamId>,
}

// === impl Streams ===

impl Streams {
    pub(super) fn insert(&mut self, id: StreamId, stream: Diverted) {
        self.busy.insert(id);
        self.all.insert(id, stream);
    }

    pub(super) fn remove(&mut self, id: StreamId) -> Option<Diverted> {
        self.busy.remove(&id);
        self.all.remove(&id)
    }

    pub(super) fn get(&self, id: StreamId) -> Option<&Diverted> {
        self.all.get(&id)
    }

    /// The stream, which may change.
    pub(super) fn get_mut(&mut self, id: StreamId) -> Option<&mut Diverted> {
        let stream = self.all.get_mut(&id)?;
        self.busy.insert(id);
        Some(stream)
    }

    /// All of them, which may change.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (StreamId, &mut Diverted)> {
        self.busy.extend(self.all.keys());
        self.all.iter_mut().map(|(id, stream)| (*id, stream))
    }

    /// All of them, in the order of their numbers.
    pub(super) fn iter(&self) -> impl Iterator<Item = (StreamId, &Diverted)> {
        self.all.iter().map(|(id, stream)| (*id, stream))
    }

    pub(super) fn contains(&self, id: StreamId) -> bool {
        self.all.contains_key(&id)
    }

    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// The highest number.
    pub(super) fn highest(&self) -> Option<StreamId> {
        self.all.last_key_value().map(|(id, _)| *id)
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Those that a turn has to look at, in the order of their numbers.
    pub(super) fn busy(&self) -> Vec<StreamId> {
        self.busy.iter().copied().collect()
    }

    /// Ends a turn: streams with nothing on their way are idle until they change.
    pub(super) fn settle(&mut self) {
        let all = &self.all;
        self.busy.retain(|id| {
            all.get(id).is_some_and(|stream| !stream.up.is_empty() || !stream.down.is_empty())
        });
    }
}
