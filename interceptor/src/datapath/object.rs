//! Takes the maps out of a loaded object by name, and adds the name of the map to errors.

use aya::maps::{Map, MapError};

use super::error::DatapathError;

/// Takes the map `name` out of `object`.
pub(super) fn take(object: &mut aya::Ebpf, name: &'static str) -> Result<Map, DatapathError> {
    object.take_map(name).ok_or_else(|| missing(name))
}

/// The object has no map or program of this name: it was built from other sources than the daemon.
pub(super) fn missing(name: &'static str) -> DatapathError {
    in_map(name)(MapError::InvalidName { name: name.into() })
}

/// Adds the name of the map to an error.
pub(super) fn in_map(name: &'static str) -> impl Fn(MapError) -> DatapathError {
    move |source| DatapathError::Map { name, source }
}
