//! The list of the destinations that a log has served, and the bytes of its file: whoever is not on it is new.

use std::collections::BTreeSet;

use plugin_api::identity::LogId;

use super::{
    cursor,
    directory::{Directory, at, halted},
    interface::LogError,
    sections::{self, FormatError, MUST_UNDERSTAND},
    small_file::{self, Kind},
};

const TAG_DESTINATION: u16 = 1 | MUST_UNDERSTAND;

/// Reads the list; the inner error says why the list cannot be used.
pub(super) fn read(directory: &Directory) -> Result<Result<BTreeSet<String>, String>, LogError> {
    let path = directory.destinations();
    let Some(bytes) = directory.files.read_small(&path).map_err(at(&path))? else {
        return Ok(Err("the list of destinations is missing".to_owned()));
    };
    match decode(directory.log_id, &bytes) {
        Ok(listed) => Ok(Ok(listed)),
        Err(FormatError::Broken(what)) => Ok(Err(what)),
        Err(FormatError::Unusable(what)) => Err(halted(&path, what)),
    }
}

/// Replaces the list.
pub(super) fn write(directory: &Directory, listed: &BTreeSet<String>) -> Result<(), LogError> {
    let bytes = small_file::encode(Kind::Destinations, directory.log_id, |out| {
        for destination in listed {
            sections::put(out, TAG_DESTINATION, destination.as_bytes());
        }
    });
    directory.replace(&directory.destinations(), &bytes)
}

/// Every destination that has a cursor's file, sound or not.
pub(super) fn with_cursor(directory: &Directory) -> Result<BTreeSet<String>, LogError> {
    let path = directory.cursors();
    let names = directory.files.list_sorted(&path).map_err(at(&path))?;
    Ok(names.iter().filter_map(|name| cursor::destination_of(name.to_str()?)).collect())
}

/// Decodes the list; it must be this log's.
pub(super) fn decode(log_id: LogId, bytes: &[u8]) -> Result<BTreeSet<String>, FormatError> {
    let (found_id, body) = small_file::decode(Kind::Destinations, bytes)?;
    if found_id != log_id {
        return Err(FormatError::broken(format!("the list belongs to log {found_id}")));
    }
    let mut listed = BTreeSet::new();
    sections::for_each(body, |tag, value| {
        if tag == TAG_DESTINATION {
            listed.insert(sections::text(value)?);
        }
        Ok(tag == TAG_DESTINATION)
    })?;
    Ok(listed)
}
