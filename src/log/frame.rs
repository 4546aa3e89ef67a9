//! The bytes of a frame: one request in a segment. `FORMAT.md` has the table.
//!
//! Decoding checks magic, length, checksum and attributes in this order and never panics: the bytes come from a disk.
//! The checksum begins with the segment's nonce, so that no other segment's bytes, and nothing that a producer can
//! send, pass for a frame.

use bytes::{Buf, Bytes};
use plugin_api::identity::{LogId, Position, RequestId, Timestamp, Version};
use uuid::Uuid;

use super::{
    checksum,
    interface::{Append, Attributes, Frame, Idempotency},
    sections::{self, FormatError, SECTION_BYTES},
};

/// The largest frame, in bytes; checked before anything is allocated.
pub(super) const FRAME_BYTES_MAX: usize = 64 << 20;

/// Bytes before the attributes.
pub(super) const FIXED_BYTES: usize = 68;

/// Three bytes in a row that UTF-8 never has: a payload's text cannot be taken for the start of a frame, so that
/// looking for frames behind a broken one has few candidates.
pub(super) const MAGIC: [u8; 4] = [0xF5, 0xFE, 0xFF, 0x01];

const CODEC_RAW: u8 = 0;

const TAG_IDEMPOTENCY: u16 = 1;
const TAG_CALLER: u16 = 2;
const TAG_TRACEPARENT: u16 = 3;

/// What the writer gives a request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stamp {
    pub(super) offset: u64,
    pub(super) version: u64,
    pub(super) time: Timestamp,
    pub(super) group_delta: u32,
    pub(super) request_id: RequestId,
}

/// Bytes that a request takes in a segment.
pub(super) fn size_of(request: &Append) -> usize {
    FIXED_BYTES + attributes_size(&request.attributes) + request.payload.len()
}

/// Bytes that attributes take.
pub(super) fn attributes_size(attributes: &Attributes) -> usize {
    let Attributes { idempotency, caller, traceparent } = attributes;
    let lengths = [
        idempotency.as_ref().map(|it| it.digest.len() + it.key.len()),
        caller.as_ref().map(|caller| caller.len()),
        traceparent.as_ref().map(String::len),
    ];
    lengths.into_iter().flatten().map(|length| length + SECTION_BYTES).sum()
}

/// The payload of a frame, as much as its head needs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Payload {
    pub(super) records: u32,
    pub(super) length: usize,
    /// CRC32C of its bytes.
    pub(super) checksum: u32,
}

/// Appends the head of a frame, everything before its payload. The caller has checked that [`size_of`] is at most
/// [`FRAME_BYTES_MAX`].
pub(super) fn encode_head(
    out: &mut Vec<u8>,
    nonce: u64,
    stamp: &Stamp,
    attributes: &Attributes,
    payload: Payload,
) {
    let start = out.len();
    let attributes_length = attributes_size(attributes);
    let size = u32::try_from(FIXED_BYTES + attributes_length + payload.length);
    let size = size.expect("appends are bounded by FRAME_BYTES_MAX");
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&size.to_le_bytes());
    out.extend_from_slice(&[0; 4]); // The checksum comes last.
    out.extend_from_slice(&[0, CODEC_RAW, 0, 0]);
    out.extend_from_slice(&stamp.offset.to_le_bytes());
    out.extend_from_slice(&stamp.version.to_le_bytes());
    out.extend_from_slice(&stamp.time.0.to_le_bytes());
    out.extend_from_slice(&stamp.group_delta.to_le_bytes());
    out.extend_from_slice(&payload.records.to_le_bytes());
    out.extend_from_slice(stamp.request_id.0.as_bytes());
    out.extend_from_slice(&(attributes_length as u32).to_le_bytes());
    encode_attributes(out, attributes);
    debug_assert_eq!(out.len() - start + payload.length, size as usize, "attributes_size and encode agree");
    let checksum = checksum::combine(checksum(&out[start..], nonce), payload.checksum, payload.length);
    out[start + 8..start + 12].copy_from_slice(&checksum.to_le_bytes());
}

/// Appends a request's whole frame.
#[cfg(test)]
pub(super) fn encode(out: &mut Vec<u8>, nonce: u64, stamp: &Stamp, request: &Append) {
    let Append { records, payload, attributes } = request;
    let facts = Payload { records: *records, length: payload.len(), checksum: crc32c::crc32c(payload) };
    encode_head(out, nonce, stamp, attributes, facts);
    out.extend_from_slice(payload);
}

/// The length that a frame claims, once its first bytes are one's and the length can be one's.
pub(super) fn claimed_length(head: &[u8]) -> Result<usize, FormatError> {
    let Some(head) = head.get(..FIXED_BYTES) else {
        return Err(FormatError::broken("a frame's head is cut off"));
    };
    if head[..4] != MAGIC {
        return Err(FormatError::broken("no frame begins here"));
    }
    let length = (&head[4..]).get_u32_le() as usize;
    if (FIXED_BYTES..=FRAME_BYTES_MAX).contains(&length) {
        return Ok(length);
    }
    Err(FormatError::broken(format!("a frame of {length} bytes, the limit is {FRAME_BYTES_MAX}")))
}

/// Whether these bytes are a whole frame of this segment; then its group_delta.
pub(super) fn verify(bytes: &[u8], nonce: u64) -> Result<u32, FormatError> {
    let length = claimed_length(bytes)?;
    if length != bytes.len() {
        return Err(FormatError::broken(format!("{} bytes of a frame of {length} bytes", bytes.len())));
    }
    let (stored, computed) = ((&bytes[8..]).get_u32_le(), checksum(bytes, nonce));
    if stored != computed {
        return Err(FormatError::broken(format!("checksum {computed:#010x}, stored is {stored:#010x}")));
    }
    Ok((&bytes[40..]).get_u32_le())
}

/// The offset of a frame's first record; the frame is verified.
pub(super) fn offset_of(bytes: &[u8]) -> u64 {
    (&bytes[16..]).get_u64_le()
}

/// Reads a whole frame; also returns its group_delta. The payload is a slice of `bytes`.
pub(super) fn decode(bytes: &Bytes, nonce: u64, log_id: LogId) -> Result<(Frame, u32), FormatError> {
    let group_delta = verify(bytes, nonce)?;
    match parse(bytes, log_id) {
        Ok(frame) => Ok((frame, group_delta)),
        // The checksum is right: this is what was written, and must not be taken for a torn write.
        Err(FormatError::Broken(what)) => Err(FormatError::newer(format_args!("a sound frame has {what}"))),
        Err(unusable @ FormatError::Unusable(_)) => Err(unusable),
    }
}

fn parse(bytes: &Bytes, log_id: LogId) -> Result<Frame, FormatError> {
    let mut head = &bytes[12..FIXED_BYTES];
    let (flags, codec, _) = (head.get_u8(), head.get_u8(), head.get_u16_le());
    if flags != 0 || codec != CODEC_RAW {
        return Err(FormatError::newer(format_args!("a frame has flags {flags:#04x} and codec {codec}")));
    }
    let position = Position { partition: 0, offset: head.get_u64_le() };
    let version = Version(head.get_u64_le());
    let accepted_at = Timestamp(head.get_u64_le());
    head.advance(4);
    let records = head.get_u32_le();
    let request_id = RequestId(Uuid::from_u128(head.get_u128()));
    let attributes_length = head.get_u32_le() as usize;
    if records == 0 || attributes_length > bytes.len() - FIXED_BYTES {
        return Err(FormatError::broken(format!(
            "{records} records, {attributes_length} bytes of attributes"
        )));
    }
    let payload_at = FIXED_BYTES + attributes_length;
    let attributes = decode_attributes(&bytes[FIXED_BYTES..payload_at])?;
    let payload = bytes.slice(payload_at..);
    Ok(Frame { log_id, position, version, accepted_at, records, request_id, attributes, payload })
}

fn checksum(frame: &[u8], nonce: u64) -> u32 {
    let checksum = crc32c::crc32c_append(crc32c::crc32c(&nonce.to_le_bytes()), &frame[..8]);
    crc32c::crc32c_append(checksum, &frame[12..])
}

fn encode_attributes(out: &mut Vec<u8>, attributes: &Attributes) {
    let Attributes { idempotency, caller, traceparent } = attributes;
    if let Some(Idempotency { key, digest }) = idempotency {
        sections::put_with(out, TAG_IDEMPOTENCY, |out| {
            out.extend_from_slice(digest);
            out.extend_from_slice(key.as_bytes());
        });
    }
    if let Some(caller) = caller {
        sections::put(out, TAG_CALLER, caller.as_bytes());
    }
    if let Some(traceparent) = traceparent {
        sections::put(out, TAG_TRACEPARENT, traceparent.as_bytes());
    }
}

fn decode_attributes(bytes: &[u8]) -> Result<Attributes, FormatError> {
    let mut attributes = Attributes::default();
    sections::for_each(bytes, |tag, value| {
        match tag {
            TAG_IDEMPOTENCY => {
                let (digest, key) = value
                    .split_first_chunk()
                    .ok_or_else(|| FormatError::broken("an idempotency digest is cut off"))?;
                attributes.idempotency = Some(Idempotency { key: sections::text(key)?, digest: *digest });
            }
            TAG_CALLER => attributes.caller = Some(sections::text(value)?.into()),
            TAG_TRACEPARENT => attributes.traceparent = Some(sections::text(value)?),
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    Ok(attributes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NONCE: u64 = 0x1234_5678_9abc_def0;
    const LOG: LogId = LogId(Uuid::from_u128(7));

    fn requests() -> impl Strategy<Value = Append> {
        let idempotency = proptest::option::of((".{0,20}", any::<[u8; 32]>()));
        let text = || proptest::option::of(".{0,20}");
        let payload = proptest::collection::vec(any::<u8>(), 0..200);
        (1..u32::MAX, payload, idempotency, text(), text()).prop_map(
            |(records, payload, idempotency, caller, traceparent)| {
                let idempotency = idempotency.map(|(key, digest)| Idempotency { key, digest });
                let caller = caller.map(String::into);
                Append { records, payload, attributes: Attributes { idempotency, caller, traceparent } }
            },
        )
    }

    fn stamp(seed: u64) -> Stamp {
        Stamp {
            offset: seed,
            version: seed.wrapping_mul(3),
            time: Timestamp(seed.wrapping_mul(5)),
            group_delta: seed as u32,
            request_id: RequestId(Uuid::from_u128(u128::from(seed) << 64 | 1)),
        }
    }

    fn encoded(stamp: &Stamp, request: &Append) -> Vec<u8> {
        let mut bytes = Vec::new();
        encode(&mut bytes, NONCE, stamp, request);
        bytes
    }

    proptest! {
        /// What goes in comes out, and only with the segment's own nonce.
        #[test]
        fn round_trip(request in requests(), seed in any::<u64>()) {
            let stamp = stamp(seed);
            let bytes = Bytes::from(encoded(&stamp, &request));
            prop_assert_eq!(bytes.len(), size_of(&request));
            prop_assert_eq!(claimed_length(&bytes).unwrap(), bytes.len());
            let (frame, group_delta) = decode(&bytes, NONCE, LOG).unwrap();
            prop_assert_eq!(group_delta, stamp.group_delta);
            prop_assert_eq!(frame.position, Position { partition: 0, offset: stamp.offset });
            prop_assert_eq!(frame.version, Version(stamp.version));
            prop_assert_eq!(frame.accepted_at, stamp.time);
            prop_assert_eq!(frame.request_id, stamp.request_id);
            prop_assert_eq!(frame.records, request.records);
            prop_assert_eq!(frame.attributes, request.attributes);
            prop_assert_eq!(&frame.payload[..], &request.payload[..]);
            prop_assert!(matches!(decode(&bytes, NONCE + 1, LOG), Err(FormatError::Broken(_))));
        }

        /// Bytes that are no frame are an error, never a panic.
        #[test]
        fn arbitrary_bytes(mut bytes in proptest::collection::vec(any::<u8>(), 0..200), sound in any::<bool>()) {
            if sound && bytes.len() >= FIXED_BYTES {
                bytes[..4].copy_from_slice(&MAGIC);
                let length = bytes.len() as u32;
                bytes[4..8].copy_from_slice(&length.to_le_bytes());
                let checksum = checksum(&bytes, NONCE);
                bytes[8..12].copy_from_slice(&checksum.to_le_bytes());
            }
            let _ = decode(&bytes.into(), NONCE, LOG);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        /// Every single flipped bit, and every cut, is found.
        #[test]
        fn damage_is_found(request in requests()) {
            let bytes = encoded(&stamp(9), &request);
            for bit in 0..bytes.len() * 8 {
                let mut damaged = bytes.clone();
                damaged[bit / 8] ^= 1 << (bit % 8);
                let read = decode(&damaged.into(), NONCE, LOG);
                prop_assert!(matches!(read, Err(FormatError::Broken(_))), "bit {}: {:?}", bit, read);
            }
            for length in 0..bytes.len() {
                prop_assert!(decode(&bytes[..length].to_vec().into(), NONCE, LOG).is_err());
            }
        }
    }

    /// A zero tail is never a valid frame (rule 4), and a length is bounded before anything is allocated.
    #[test]
    fn zeros_and_huge_lengths() {
        assert!(claimed_length(&[0; 4096]).is_err());
        let request = Append { records: 1, payload: vec![b'x'; 10], attributes: Attributes::default() };
        let mut bytes = encoded(&stamp(1), &request);
        bytes[4..8].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(claimed_length(&bytes).is_err());
        bytes[4..8].copy_from_slice(&3u32.to_le_bytes());
        assert!(claimed_length(&bytes).is_err());
    }

    /// A sound frame of a newer version is told from rot: it must never be cut.
    #[test]
    fn newer_frames() {
        let request = Append { records: 1, payload: vec![b'x'; 10], attributes: Attributes::default() };
        for at in [12, 13] {
            let mut bytes = encoded(&stamp(1), &request);
            bytes[at] = 1;
            let checksum = checksum(&bytes, NONCE);
            bytes[8..12].copy_from_slice(&checksum.to_le_bytes());
            assert!(matches!(decode(&bytes.into(), NONCE, LOG), Err(FormatError::Unusable(_))));
        }
    }
}
