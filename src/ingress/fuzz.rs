//! A door for fuzzers: a message's bytes are judged as a request's, beside what prost makes of them, and a header's as a
//! caller's. Not part of the agent.

use std::time::Duration;

use bytes::Bytes;
use prost::Message as _;
use tonic::Code;

use super::{
    Entrance, Permissions, Terms,
    budget::Lease,
    caller_rates::CallerRates,
    validate::{Origin, Valid, validate},
    xfcc,
};
use crate::{
    config::{CallerRateLimit, Limits, NonIdempotent},
    contract::client::UpsertObjectsRequest,
    record::read_payload,
};

/// Whatever the bytes are: no panic, whole or not at all, and nothing is accepted that prost reads otherwise.
///
/// # Panics
/// If that is not so.
pub fn request(message: &[u8]) {
    let limits = Limits {
        record_bytes_max: 1 << 20,
        request_bytes_max: 4 << 20,
        request_records_max: 1_000,
        indexes_max: 1_000,
        non_idempotent_operations: NonIdempotent::Refuse,
        connections_max: 1,
        connection_requests_max: 1,
        decoding_bytes_max: 64 << 20,
        receive_timeout: Duration::from_secs(1),
        transforms_bytes_max: 0,
        caller_rate_limit: CallerRateLimit::default(),
    };
    let terms = Terms { limits, permissions: Permissions::default(), entrance: Entrance::default() };
    let (lease, origin) = (Lease::of_its_own(64 << 20), Origin { caller: None, traceparent: None });
    match validate(&Bytes::copy_from_slice(message), origin, &terms, &CallerRates::default(), &lease) {
        Ok(Valid { index, append, .. }) => {
            let read = UpsertObjectsRequest::decode(message).expect("what prost cannot read is not accepted");
            let records = read_payload(&append.payload.into(), append.records).expect("it can be read");
            assert_eq!(index, read.index_name);
            assert_eq!(records.len(), read.payloads.len(), "it is accepted whole");
            for (record, payload) in records.iter().zip(&read.payloads) {
                assert_eq!((&*record.index, &*record.object_id), (&*read.index_name, &*payload.object_id));
                assert_eq!(record.body.is_empty(), payload.data.is_none());
                if payload.data.is_some() {
                    serde_json::from_slice::<serde_json::Map<_, _>>(&record.body)
                        .expect("it is a JSON object");
                }
            }
        }
        Err(status) => {
            assert!(matches!(status.code(), Code::InvalidArgument | Code::ResourceExhausted), "{status}");
            assert!(!status.message().is_empty());
        }
    }
}

/// Whatever the header's bytes are: no panic, and a name is one that may be written down.
///
/// # Panics
/// If that is not so.
pub fn caller(header: &[u8]) {
    if let Some(name) = xfcc::caller([header].into_iter()) {
        assert!(!name.is_empty() && name.len() <= 512 && !name.chars().any(char::is_control), "{name:?}");
    }
}
