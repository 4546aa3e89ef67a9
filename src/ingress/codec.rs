//! How tonic reads and writes the messages of our service: the request stays as it came, the response is prost's.

use bytes::{Buf, Bytes};
use tonic::{
    Status,
    codec::{BufferSettings, Codec, DecodeBuf, Decoder},
};
use tonic_prost::ProstEncoder;

use crate::contract::server::UpsertObjectsResponse;

/// The codec that `build.rs` names.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct RawCodec;

/// Hands a message over without a copy.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RawDecoder;

/// A response is an id and a few words.
const RESPONSE_BUFFER_BYTES: usize = 128;

impl Codec for RawCodec {
    type Encode = UpsertObjectsResponse;
    type Decode = Bytes;
    type Encoder = ProstEncoder<UpsertObjectsResponse>;
    type Decoder = RawDecoder;

    fn encoder(&mut self) -> Self::Encoder {
        ProstEncoder::new(BufferSettings::new(RESPONSE_BUFFER_BYTES, RESPONSE_BUFFER_BYTES))
    }

    fn decoder(&mut self) -> Self::Decoder {
        RawDecoder
    }
}

impl Decoder for RawDecoder {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, message: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(message.copy_to_bytes(message.remaining())))
    }
}
