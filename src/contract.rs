//! The gRPC contract of `proto/`, as generated code.
//!
//! [`server`] takes the request as raw bytes; [`client`] has the real messages. `build.rs` tells how and why.

/// What the agent serves: its request is the undecoded message.
#[allow(missing_docs, unreachable_pub, clippy::all)]
pub mod server {
    include!(concat!(env!("OUT_DIR"), "/server/sync.v1.rs"));
}

/// What a producer in Rust uses.
#[allow(missing_docs, unreachable_pub, clippy::all)]
pub mod client {
    include!(concat!(env!("OUT_DIR"), "/client/sync.v1.rs"));
}

/// The published descriptor set, for reflection.
pub const DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptor_set.bin"));

/// The service's full name, as health checks ask for it.
pub const SERVICE_NAME: &str = "sync.v1.SyncService";
