//! The dynamic table, RFC 7541 sections 2.3.2 and 4.
//!
//! Names and values are in one buffer, so that an entry costs no allocation.

use std::collections::VecDeque;

use super::field::Field;

#[derive(Debug, Clone)]
pub(super) struct DynamicTable {
    /// Maximum size in bytes, as section 4.1 counts it.
    maximum: u32,
    /// The size in bytes, counted in the same way.
    size: u32,
    /// The newest one first.
    entries: VecDeque<Entry>,
    /// Names and values of evicted entries, and then of all others, the oldest one first.
    bytes: Vec<u8>,
    /// Where those of the entries begin.
    start: usize,
    /// The position of the buffer's first byte in all bytes that were ever added, modulo 2^32.
    base: u32,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    /// The position of the name in all bytes that were ever added, modulo 2^32. The value follows.
    at: u32,
    name: u32,
    value: u32,
}

impl DynamicTable {
    pub(super) fn new(maximum: u32) -> Self {
        Self { maximum, size: 0, entries: VecDeque::new(), bytes: Vec::new(), start: 0, base: 0 }
    }

    pub(super) fn maximum(&self) -> u32 {
        self.maximum
    }

    pub(super) fn size(&self) -> u32 {
        self.size
    }

    /// How many entries there are.
    pub(super) fn len(&self) -> u32 {
        // Fits, since each takes a part of the size.
        self.entries.len() as u32
    }

    /// Changes the maximum size, and evicts what is beyond it.
    pub(super) fn set_maximum(&mut self, maximum: u32) {
        self.maximum = maximum;
        self.evict(maximum);
        self.forget_if_empty();
    }

    /// The entry at a place, the newest one at zero.
    pub(super) fn get(&self, place: u32) -> Option<(&[u8], &[u8])> {
        let entry = self.entries.get(place as usize)?;
        let start = entry.at.wrapping_sub(self.base) as usize;
        let (name, value) = self.bytes.get(start..)?.split_at(entry.name as usize);
        Some((name, &value[..entry.value as usize]))
    }

    /// Adds a field in front of the others. It is left out if it is larger than the table, which is
    /// then empty.
    pub(super) fn insert(&mut self, name: &[u8], value: &[u8]) {
        let Some(size) = self.fitting_size(name.len(), value.len()) else {
            return self.evict_all();
        };
        self.reserve(name.len() + value.len());
        self.evict(self.maximum - size);
        let at = self.end();
        self.bytes.extend_from_slice(name);
        self.bytes.extend_from_slice(value);
        self.push(at, name.len(), value.len());
    }

    /// Adds a field that has the name of the entry at `place`. Returns whether there is such an
    /// entry, and the field fits into the table. If not, nothing changes.
    pub(super) fn insert_named(&mut self, place: u32, value: &[u8]) -> bool {
        let Some(named) = self.entries.get(place as usize).copied() else { return false };
        let name = named.name as usize;
        let Some(size) = self.fitting_size(name, value.len()) else { return false };
        self.reserve(name + value.len());
        // Eviction leaves the bytes of the name where they are: it may be evicted, section 4.4.
        self.evict(self.maximum - size);
        let start = named.at.wrapping_sub(self.base) as usize;
        let at = self.end();
        self.bytes.extend_from_within(start..start + name);
        self.bytes.extend_from_slice(value);
        self.push(at, name, value.len());
        true
    }

    /// Evicts all entries.
    pub(super) fn evict_all(&mut self) {
        self.evict(0);
        self.forget_if_empty();
    }

    /// The place of the newest entry with this name and value, and of the newest one with this
    /// name.
    pub(super) fn find(&self, name: &[u8], value: &[u8]) -> (Option<u32>, Option<u32>) {
        let mut named = None;
        for (place, entry) in (0..).zip(&self.entries) {
            if entry.name as usize != name.len() {
                continue;
            }
            let start = entry.at.wrapping_sub(self.base) as usize;
            let (entry_name, rest) = self.bytes[start..].split_at(name.len());
            if entry_name != name {
                continue;
            }
            named = named.or(Some(place));
            if &rest[..entry.value as usize] == value {
                return (Some(place), named);
            }
        }
        (None, named)
    }

    /// The size of an entry, if it fits into the table alone.
    fn fitting_size(&self, name: usize, value: usize) -> Option<u32> {
        let size = name.saturating_add(value).saturating_add(Field::OVERHEAD as usize);
        u32::try_from(size).ok().filter(|size| *size <= self.maximum)
    }

    /// Makes room for this many bytes in the buffer. Bytes of entries that were evicted before go,
    /// but at most a quarter of the table's maximum stays unused.
    fn reserve(&mut self, more: usize) {
        if self.bytes.len() + more <= self.bytes.capacity() {
            return;
        }
        self.bytes.drain(..self.start);
        // Positions are modulo 2^32.
        self.base = self.base.wrapping_add(self.start as u32);
        self.start = 0;
        let needed = self.bytes.len() + more;
        let maximum = self.maximum as usize;
        let wanted = (2 * needed).min(maximum + maximum / 4).max(needed);
        self.bytes.reserve_exact(wanted - self.bytes.len());
    }

    /// Evicts entries until the table has at most `size` bytes.
    fn evict(&mut self, size: u32) {
        while self.size > size {
            let Some(entry) = self.entries.pop_back() else { return };
            self.size -= entry.size();
            self.start += (entry.name + entry.value) as usize;
        }
    }

    /// Gives the memory back if the table is empty.
    fn forget_if_empty(&mut self) {
        if self.entries.is_empty() {
            *self = Self::new(self.maximum);
        }
    }

    /// The position behind the last byte.
    fn end(&self) -> u32 {
        // Positions are modulo 2^32.
        self.base.wrapping_add(self.bytes.len() as u32)
    }

    /// Adds the entry whose bytes are the last ones. It fits into the table, and so do its lengths
    /// into a `u32`.
    fn push(&mut self, at: u32, name: usize, value: usize) {
        let entry = Entry { at, name: name as u32, value: value as u32 };
        self.size += entry.size();
        self.entries.push_front(entry);
    }
}

// === impl Entry ===

impl Entry {
    fn size(&self) -> u32 {
        self.name + self.value + Field::OVERHEAD
    }
}

#[cfg(test)]
mod tests;
