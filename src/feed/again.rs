//! Records that do not come from the log but again, from dead letters.

use bytes::Bytes;
use plugin_api::{
    identity::Version,
    operation::{Action, Key, Source},
};

use crate::{
    log::interface::{Attributes, Frame},
    record::Record,
};

/// A record as it was accepted.
#[derive(Clone, Debug)]
pub struct Again {
    /// Where it came from; the number does not count.
    pub source: Source,
    /// Its version.
    pub version: Version,
    /// What to do.
    pub action: Action,
    /// With which object, by the name that the producer gave the index.
    pub key: Key,
    /// One JSON object as UTF-8 text; empty for a delete.
    pub body: Bytes,
}

impl Again {
    /// The same as the log would have it, in a request of its own.
    pub(super) fn into_frame(self) -> (Frame, Vec<Record>) {
        let Self { source, version, action, key: Key { index, object_id }, body } = self;
        let frame = Frame {
            log_id: source.log_id,
            position: source.position,
            version,
            accepted_at: source.accepted_at,
            records: 1,
            request_id: source.request_id,
            attributes: Attributes { caller: source.caller, ..Attributes::default() },
            payload: Bytes::new(),
        };
        (frame, vec![Record { action, index, object_id, body }])
    }
}
