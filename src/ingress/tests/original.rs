//! A client generated before our additions to the contract, and raw messages.

use bytes::{Buf, BufMut, Bytes};
use prost::Message;
use tonic::{
    Code,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
};

use super::*;

/// `SyncPayload` as it was first published.
#[derive(Clone, PartialEq, prost::Message)]
struct OriginalPayload {
    #[prost(string, tag = "1")]
    object_id: String,
    #[prost(message, optional, tag = "2")]
    data: Option<Struct>,
}

/// `UpsertObjectsRequest` as it was first published.
#[derive(Clone, PartialEq, prost::Message)]
struct OriginalRequest {
    #[prost(string, tag = "1")]
    index_name: String,
    #[prost(int32, tag = "2")]
    action_type: i32,
    #[prost(message, repeated, tag = "3")]
    payloads: Vec<OriginalPayload>,
}

/// `UpsertObjectsResponse` as it was first published.
#[derive(Clone, PartialEq, prost::Message)]
struct OriginalResponse {
    #[prost(string, tag = "1")]
    request_id: String,
    #[prost(string, tag = "2")]
    message: String,
}

/// Sends and receives messages as bytes.
#[derive(Clone, Copy, Default)]
pub(super) struct RawClientCodec;

impl Codec for RawClientCodec {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        *self
    }

    fn decoder(&mut self) -> Self {
        *self
    }
}

impl Encoder for RawClientCodec {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, message: Bytes, out: &mut EncodeBuf<'_>) -> Result<(), Status> {
        out.put(message);
        Ok(())
    }
}

impl Decoder for RawClientCodec {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, message: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(message.copy_to_bytes(message.remaining())))
    }
}

/// A producer with the original contract needs no change: its two actions are accepted and it reads the answer.
#[tokio::test]
async fn the_original_client_works_unchanged() {
    let server = Running::start(limits());
    let mut grpc = tonic::client::Grpc::new(server.channel().await);
    for action_type in [1, 2] {
        let data = Some(object([("name", text("Lamp"))]));
        let request = OriginalRequest {
            index_name: "products".into(),
            action_type,
            payloads: vec![OriginalPayload { object_id: "1".into(), data }],
        };
        grpc.ready().await.unwrap();
        let path = http::uri::PathAndQuery::from_static("/sync.v1.SyncService/UpsertObjects");
        let message = tonic::Request::new(Bytes::from(request.encode_to_vec()));
        let answer = grpc.unary(message, path, RawClientCodec).await.unwrap().into_inner();
        let answer = OriginalResponse::decode(answer).unwrap();
        assert_eq!(answer.message, "accepted 1 record");
        Uuid::parse_str(&answer.request_id).unwrap();
    }
    assert_eq!(server.log.appends.lock().unwrap().len(), 2);
}

/// Maps are encoded in any order, differently by one client from one time to the next: a repeated request is recognised
/// all the same, and another content is told from it.
#[tokio::test]
async fn a_repeat_may_order_its_maps_otherwise() {
    let server = Running::start(limits());
    let mut grpc = tonic::client::Grpc::new(server.channel().await);
    let [red, large, small] = [("color", "red"), ("size", "L"), ("size", "S")]
        .map(|(name, value)| object([(name, text(value))]).encode_to_vec());
    let mut answers = Vec::new();
    for data in [[&red[..], &large], [&large, &red], [&red, &small]] {
        let data = data.concat();
        let payload = [&[0x0a, 1, b'1', 0x12, data.len() as u8][..], &data].concat();
        let head = b"\x0a\x08products\x10\x02\x22\x03key\x1a";
        let message = [&head[..], &[payload.len() as u8], &payload].concat();
        grpc.ready().await.unwrap();
        let path = http::uri::PathAndQuery::from_static("/sync.v1.SyncService/UpsertObjects");
        let answer = grpc.unary(tonic::Request::new(Bytes::from(message)), path, RawClientCodec).await;
        answers.push(answer.map_or_else(|status| status.code(), |_| Code::Ok));
    }
    assert_eq!(answers, [Code::Ok, Code::Ok, Code::AlreadyExists]);
    assert_eq!(server.log.appends.lock().unwrap().len(), 1);
}
