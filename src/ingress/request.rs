//! Reads an `UpsertObjectsRequest` from its bytes: the few fields that matter before any payload, then one payload
//! after another, all of them slices. A request of millions of empty payloads costs nothing but its own bytes.

use super::wire::{Fields, Malformed, Wire};

/// A request, its payloads unread.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request<'a> {
    pub(crate) index_name: &'a [u8],
    /// An `ActionType`, or a number that is none.
    pub(crate) action_type: i32,
    pub(crate) idempotency_key: &'a [u8],
    /// How many [`Request::payloads`] there are.
    pub(crate) payload_count: usize,
    message: &'a [u8],
}

/// A `SyncPayload`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Payload<'a> {
    pub(crate) object_id: &'a [u8],
    /// The Struct's bytes; absent is not the same as empty.
    pub(crate) data: Option<&'a [u8]>,
    /// The Struct came in pieces, which protobuf would merge; no encoder writes it so.
    pub(crate) data_twice: bool,
}

const WRONG_WIRE_TYPE: Malformed = Malformed::new("a field has the wrong wire type");

impl<'a> Request<'a> {
    /// # Errors
    /// If the bytes are no `UpsertObjectsRequest`; a payload's own bytes are looked at by [`Payload::read`].
    pub(crate) fn read(message: &'a [u8]) -> Result<Self, Malformed> {
        let mut request =
            Self { index_name: &[], action_type: 0, idempotency_key: &[], payload_count: 0, message };
        let mut fields = Fields::new(message);
        while let Some(field) = fields.next()? {
            match field {
                (1, Wire::Bytes(name)) => request.index_name = name,
                // An enum is the varint's low 32 bits, as protobuf has it.
                (2, Wire::Varint(value)) => request.action_type = value as i32,
                (3, Wire::Bytes(_)) => request.payload_count += 1,
                (4, Wire::Bytes(key)) => request.idempotency_key = key,
                (1..=4, _) => return Err(WRONG_WIRE_TYPE),
                _ => {}
            }
        }
        Ok(request)
    }

    /// Each payload's bytes, in order.
    pub(crate) fn payloads(&self) -> impl Iterator<Item = &'a [u8]> {
        let mut fields = Fields::new(self.message);
        std::iter::from_fn(move || {
            loop {
                // No error is left: `read` went through the same fields.
                match fields.next().ok()?? {
                    (3, Wire::Bytes(payload)) => return Some(payload),
                    _ => continue,
                }
            }
        })
    }
}

impl<'a> Payload<'a> {
    /// # Errors
    /// If the bytes are no `SyncPayload`; the Struct's own bytes are not looked at.
    pub(crate) fn read(message: &'a [u8]) -> Result<Self, Malformed> {
        let mut payload = Self { object_id: &[], data: None, data_twice: false };
        let mut fields = Fields::new(message);
        while let Some(field) = fields.next()? {
            match field {
                (1, Wire::Bytes(id)) => payload.object_id = id,
                (2, Wire::Bytes(data)) => payload.data_twice |= payload.data.replace(data).is_some(),
                (1 | 2, _) => return Err(WRONG_WIRE_TYPE),
                _ => {}
            }
        }
        Ok(payload)
    }
}
