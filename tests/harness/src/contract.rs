//! The published contract, written down a second time and by hand.
//!
//! Not the agent's generated code, on purpose: producers in the field were generated from a contract of their own, so
//! a change of ours that breaks them breaks every scenario.

use std::fmt;

/// The method's path on the wire.
pub const UPSERT_OBJECTS: &str = "/sync.v1.SyncService/UpsertObjects";

/// The name under which the agent reports its health.
pub const SERVICE: &str = "sync.v1.SyncService";

/// What to do with the objects of a request, with the contract's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Action {
    /// Replaces first-level attributes, creates what is missing.
    PartialUpdate = 1,
    /// Replaces the object.
    Save = 2,
    /// Replaces first-level attributes of an object that exists.
    PartialUpdateNoCreate = 3,
    /// Removes the object.
    Delete = 4,
}

impl Action {
    /// Whether the object's state no longer depends on what came before.
    #[must_use]
    pub fn replaces(self) -> bool {
        matches!(self, Self::Save | Self::Delete)
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::PartialUpdate => "partial_update",
            Self::Save => "save",
            Self::PartialUpdateNoCreate => "partial_update_no_create",
            Self::Delete => "delete",
        })
    }
}

/// `sync.v1.UpsertObjectsRequest`
#[derive(Clone, PartialEq, prost::Message)]
pub struct UpsertObjectsRequest {
    /// The index.
    #[prost(string, tag = "1")]
    pub index_name: String,
    /// An [`Action`].
    #[prost(int32, tag = "2")]
    pub action_type: i32,
    /// The objects.
    #[prost(message, repeated, tag = "3")]
    pub payloads: Vec<SyncPayload>,
}

/// `sync.v1.SyncPayload`
#[derive(Clone, PartialEq, prost::Message)]
pub struct SyncPayload {
    /// The object's id.
    #[prost(string, tag = "1")]
    pub object_id: String,
    /// Its attributes.
    #[prost(message, optional, tag = "2")]
    pub data: Option<prost_types::Struct>,
}

/// `sync.v1.UpsertObjectsResponse`
#[derive(Clone, PartialEq, prost::Message)]
pub struct UpsertObjectsResponse {
    /// The request's id.
    #[prost(string, tag = "1")]
    pub request_id: String,
    /// For people.
    #[prost(string, tag = "2")]
    pub message: String,
}
