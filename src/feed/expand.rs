//! What a record becomes at a destination: operations.

use std::sync::Arc;

use bytes::Bytes;
use plugin_api::{
    identity::Version,
    operation::{Action, Key, Operation, Origin, Source},
};

use crate::{log::interface::Frame, record::Record, transform::Product};

/// One record of a frame, on its way to a destination that calls its index `name`.
#[derive(Clone, Copy)]
pub(super) struct Routed<'a> {
    pub(super) frame: &'a Frame,
    /// Its number in the frame.
    pub(super) number: u64,
    pub(super) record: &'a Record,
    pub(super) name: &'a Arc<str>,
}

impl Routed<'_> {
    /// The record itself.
    pub(super) fn as_it_came(self) -> Operation {
        let Record { action, object_id, body, .. } = self.record;
        self.operation(*action, object_id.clone(), body.clone(), 0, None)
    }

    /// The record itself, on which a module failed.
    pub(super) fn failed(self, module: Option<[u8; 32]>) -> Operation {
        Operation { origin: Some(self.origin(module)), ..self.as_it_came() }
    }

    /// The record with another body.
    pub(super) fn replaced(self, body: Bytes, module: Option<[u8; 32]>) -> Operation {
        let Record { action, object_id, .. } = self.record;
        self.operation(*action, object_id.clone(), body, 0, Some(self.origin(module)))
    }

    /// One of several operations in the record's place, `number` of them from 0.
    pub(super) fn produced(
        self,
        number: u32,
        Product { action, object_id, body }: &Product,
        origin: Arc<Origin>,
    ) -> Operation {
        self.operation(*action, object_id.clone(), body.clone(), number, Some(origin))
    }

    /// The record, as its letters must have it.
    pub(super) fn origin(self, module: Option<[u8; 32]>) -> Arc<Origin> {
        let Record { action, object_id, body, .. } = self.record;
        Arc::new(Origin { action: *action, object_id: object_id.clone(), body: body.clone(), module })
    }

    fn operation(
        self,
        action: Action,
        object_id: Arc<str>,
        body: Bytes,
        number: u32,
        origin: Option<Arc<Origin>>,
    ) -> Operation {
        let Frame { version, log_id, position, request_id, accepted_at, attributes, .. } = self.frame;
        Operation {
            action,
            record_index: self.record.index.clone(),
            key: Key { index: self.name.clone(), object_id },
            body,
            version: Version(version.0 + self.number),
            origin,
            source: Source {
                log_id: *log_id,
                position: position.plus(self.number),
                number,
                request_id: *request_id,
                accepted_at: *accepted_at,
                caller: attributes.caller.clone(),
            },
        }
    }
}
