//! The table against a list of pairs.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

/// A table that is as simple as RFC 7541 describes it, the newest entry first.
#[derive(Default)]
struct Model {
    maximum: usize,
    entries: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Model {
    fn size(&self) -> usize {
        self.entries.iter().map(|(name, value)| name.len() + value.len() + 32).sum()
    }

    fn insert(&mut self, name: Vec<u8>, value: Vec<u8>) {
        self.entries.insert(0, (name, value));
        self.evict();
    }

    /// An entry that does not fit alone is evicted, too: the table is empty then.
    fn evict(&mut self) {
        while self.size() > self.maximum {
            self.entries.pop();
        }
    }
}

#[derive(Debug, Clone)]
enum Step {
    Insert(Vec<u8>, Vec<u8>),
    InsertNamed(u32, Vec<u8>),
    Maximum(u32),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let text = || prop_oneof![vec(any::<u8>(), 0..20), vec(Just(b'x'), 0..300)];
    vec(
        prop_oneof![
            6 => (text(), text()).prop_map(|(name, value)| Step::Insert(name, value)),
            6 => (0..10_u32, text()).prop_map(|(place, value)| Step::InsertNamed(place, value)),
            1 => (0..600_u32).prop_map(Step::Maximum),
        ],
        0..200,
    )
}

proptest! {
    #[test]
    fn a_table_has_the_entries_of_a_list(steps in steps()) {
        let mut table = DynamicTable::new(400);
        let mut model = Model { maximum: 400, ..Model::default() };
        let mut largest = 0;
        for step in steps {
            match step {
                Step::Insert(name, value) => {
                    table.insert(&name, &value);
                    model.insert(name, value);
                }
                Step::InsertNamed(place, value) => {
                    let named = model.entries.get(place as usize).cloned();
                    let size = named.as_ref().map(|(name, _)| name.len() + value.len() + 32);
                    let fits = size.is_some_and(|size| size <= model.maximum);
                    prop_assert_eq!(table.insert_named(place, &value), fits);
                    if let (Some((name, _)), true) = (named, fits) {
                        model.insert(name, value);
                    }
                }
                Step::Maximum(maximum) => {
                    table.set_maximum(maximum);
                    model.maximum = maximum as usize;
                    model.evict();
                }
            }
            prop_assert_eq!(table.size() as usize, model.size());
            prop_assert!(table.size() <= table.maximum());
            for (place, (name, value)) in (0..).zip(&model.entries) {
                prop_assert_eq!(table.get(place), Some((&name[..], &value[..])));
                let found = model.entries.iter().position(|(n, v)| (n, v) == (name, value));
                let named = model.entries.iter().position(|(n, _)| n == name);
                let place = |place: Option<usize>| place.map(|place| place as u32);
                prop_assert_eq!(table.find(name, value), (place(found), place(named)));
            }
            prop_assert_eq!(table.get(model.entries.len() as u32), None);
            // Two fields may need room at once: the new one, and the one that it evicts.
            largest = largest.max(table.maximum() as usize);
            prop_assert!(table.bytes.capacity() <= 2 * largest);
        }
    }
}

#[test]
fn the_buffer_of_a_full_table_is_little_larger_than_the_table() {
    let mut table = DynamicTable::new(4096);
    for round in 0..10_000_u32 {
        table.insert(b"x-request-id", format!("7c9e6679-7425-40de-944b-{round:012}").as_bytes());
        assert!(table.bytes.capacity() <= 4096 + 1024, "{} bytes", table.bytes.capacity());
    }
}

#[test]
fn positions_may_wrap_around() {
    let mut table = DynamicTable::new(100);
    table.base = u32::MAX - 5;
    for round in 0..1000_u32 {
        table.insert(b"name", &round.to_be_bytes());
        assert!(table.insert_named(0, b"other"));
        assert_eq!(table.get(0), Some((&b"name"[..], &b"other"[..])));
        assert_eq!(table.get(1), Some((&b"name"[..], &round.to_be_bytes()[..])));
        assert_eq!(table.find(b"name", &round.to_be_bytes()), (Some(1), Some(0)));
    }
    assert!(table.base < u32::MAX / 2);
}
