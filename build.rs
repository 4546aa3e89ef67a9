//! Compiles `proto/` without protoc, into a client, a server and the descriptor set for reflection.
//!
//! Reflection and the client get the contract as it is published. The server is generated with
//! `UpsertObjectsRequest` as raw bytes: ingress reads the wire format itself, once, and builds no tree, so that a
//! request of a million empty payloads costs no more memory than its own bytes.

use std::{env, error::Error, fs, path::PathBuf};

use prost::Message;
use prost_types::FileDescriptorSet;
use tonic_prost_build::Builder;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=proto");
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let published = protox::compile(["sync/v1/sync.proto"], ["proto"])?;
    fs::write(out.join("descriptor_set.bin"), published.encode_to_vec())?;

    let client = tonic_prost_build::configure().build_server(false);
    generate(client, out.join("client"), published.clone())?;
    let server = tonic_prost_build::configure()
        .build_client(false)
        .extern_path(".sync.v1.UpsertObjectsRequest", "::prost::bytes::Bytes")
        .codec_path("crate::ingress::RawCodec");
    generate(server, out.join("server"), published)
}

/// Writes the generated module to `folder/sync.v1.rs`.
fn generate(builder: Builder, folder: PathBuf, set: FileDescriptorSet) -> Result<(), Box<dyn Error>> {
    fs::create_dir_all(&folder)?;
    builder.out_dir(folder).compile_fds(set)?;
    Ok(())
}
