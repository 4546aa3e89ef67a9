//! Request ids: UUIDv8 values that lead back to their records without an index and cannot be guessed.
//!
//! Of the 122 free bits, from the left: 2 for the layout (0: this one), 24 of the log's id, 48 of the request's first
//! offset, 48 of an HMAC-SHA256 over layout, log id, offset and version. The key stays in the log's directory. An id
//! is checked against the one in the frame that it leads to: an offset that was given out anew, after a restore, has
//! another version and so another id.

use plugin_api::identity::{LogId, RequestId};
use ring::hmac;
use uuid::Uuid;

/// Bytes of the key.
pub(super) const KEY_BYTES: usize = 32;

const LAYOUT: u8 = 0;
const OFFSET_BITS: u32 = 48;
const MAC_BITS: u32 = 48;
const LOG_BITS: u32 = 24;

/// Makes and reads the ids of one log.
#[derive(Debug)]
pub(super) struct RequestIds {
    log_id: LogId,
    key: hmac::Key,
}

impl RequestIds {
    pub(super) fn new(log_id: LogId, key: &[u8; KEY_BYTES]) -> Self {
        Self { log_id, key: hmac::Key::new(hmac::HMAC_SHA256, key) }
    }

    /// The id of the request that begins at `offset` (of which 48 bits are used: 2.8e14 records) with `version`.
    pub(super) fn make(&self, offset: u64, version: u64) -> RequestId {
        let mut message = [0; 33];
        message[0] = LAYOUT;
        message[1..17].copy_from_slice(self.log_id.0.as_bytes());
        message[17..25].copy_from_slice(&offset.to_le_bytes());
        message[25..].copy_from_slice(&version.to_le_bytes());
        let tag = hmac::sign(&self.key, &message);
        let mac =
            tag.as_ref().iter().take(MAC_BITS as usize / 8).fold(0, |mac, byte| mac << 8 | u128::from(*byte));
        let bits = u128::from(LAYOUT) << LOG_BITS | self.log_bits();
        let bits = bits << OFFSET_BITS | (u128::from(offset) & mask(OFFSET_BITS));
        RequestId(spread(bits << MAC_BITS | mac))
    }

    /// The offset that an id of this log leads to; it still has to be checked against the frame there.
    pub(super) fn offset_of(&self, id: RequestId) -> Option<u64> {
        let bits = gather(id.0)?;
        let offset = (bits >> MAC_BITS) & mask(OFFSET_BITS);
        let of_this_log =
            bits >> (MAC_BITS + OFFSET_BITS) == u128::from(LAYOUT) << LOG_BITS | self.log_bits();
        of_this_log.then(|| u64::try_from(offset).expect("48 bits fit"))
    }

    fn log_bits(&self) -> u128 {
        self.log_id.0.as_u128() & mask(LOG_BITS)
    }
}

fn mask(bits: u32) -> u128 {
    (1 << bits) - 1
}

/// Puts 122 bits around a UUID's version (8) and variant (RFC 9562, section 5.8).
fn spread(bits: u128) -> Uuid {
    let (a, b, c) = (bits >> 74, (bits >> 62) & mask(12), bits & mask(62));
    Uuid::from_u128(a << 80 | 0x8 << 76 | b << 64 | 0b10 << 62 | c)
}

fn gather(id: Uuid) -> Option<u128> {
    let id = id.as_u128();
    let is_version_8 = (id >> 76) & 0xf == 0x8 && (id >> 62) & 0b11 == 0b10;
    is_version_8.then(|| (id >> 80) << 74 | ((id >> 64) & mask(12)) << 62 | (id & mask(62)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ids(log: u128, key: u8) -> RequestIds {
        RequestIds::new(LogId(Uuid::from_u128(log)), &[key; KEY_BYTES])
    }

    proptest! {
        /// An id leads to its offset, is a UUIDv8, and depends on log, key, offset and version.
        #[test]
        fn round_trip(log in any::<u128>(), offset in 0..1u64 << 48, version in any::<u64>()) {
            let ids = ids(log, 1);
            let id = ids.make(offset, version);
            prop_assert_eq!(ids.offset_of(id), Some(offset));
            prop_assert_eq!(id.0.get_version_num(), 8);
            prop_assert_eq!(id.0.get_variant(), uuid::Variant::RFC4122);
            prop_assert_ne!(id, ids.make(offset, version.wrapping_add(1)));
            prop_assert_ne!(id, ids.make((offset + 1) % (1 << 48), version));
            prop_assert_ne!(id, super::tests::ids(log, 2).make(offset, version));
            prop_assert_eq!(super::tests::ids(log ^ 1, 1).offset_of(id), None);
            prop_assert_eq!(gather(spread(id.0.as_u128() & mask(122))), Some(id.0.as_u128() & mask(122)));
        }
    }

    /// Ids of other kinds lead nowhere.
    #[test]
    fn foreign_ids() {
        let ids = ids(5, 1);
        assert_eq!(ids.offset_of(RequestId(Uuid::nil())), None);
        assert_eq!(ids.offset_of(RequestId(Uuid::from_u128(u128::MAX))), None);
        let other_layout = ids.make(1, 1).0.as_u128() | 1 << 127;
        assert_eq!(ids.offset_of(RequestId(Uuid::from_u128(other_layout))), None);
    }
}
