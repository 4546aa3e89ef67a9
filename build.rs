//! Compiles `proto/` without protoc, into two descriptor sets.
//!
//! The untouched set serves reflection and the client. The server is generated from a patched one, in which
//! every `google.protobuf.Struct` of our messages is `optional bytes`: on the wire a message and a byte string
//! look the same, so ingress receives the record's bytes as they came and builds no tree.

use std::{env, error::Error, fs, path::PathBuf};

use prost::Message;
use prost_types::{
    DescriptorProto, FieldDescriptorProto, FileDescriptorSet, OneofDescriptorProto,
    field_descriptor_proto::Type,
};

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=proto");
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let published = protox::compile(["sync/v1/sync.proto"], ["proto"])?;
    fs::write(out.join("descriptor_set.bin"), published.encode_to_vec())?;

    generate(&out, "client", published.clone(), true)?;
    let mut patched = published;
    for file in patched.file.iter_mut().filter(|file| file.package() == "sync.v1") {
        file.message_type.iter_mut().for_each(struct_as_bytes);
    }
    generate(&out, "server", patched, false)
}

/// Writes the generated module to `OUT_DIR/<folder>/sync.v1.rs`: a client on the real types, or a server on raw
/// bytes.
fn generate(
    out: &std::path::Path,
    folder: &str,
    set: FileDescriptorSet,
    client: bool,
) -> Result<(), Box<dyn Error>> {
    let folder = out.join(folder);
    fs::create_dir_all(&folder)?;
    tonic_prost_build::configure()
        .build_client(client)
        .build_server(!client)
        .bytes(".sync.v1")
        .out_dir(folder)
        .compile_fds(set)?;
    Ok(())
}

/// Turns each Struct field into `optional bytes`, so that an absent object still differs from an empty one.
fn struct_as_bytes(message: &mut DescriptorProto) {
    for index in 0..message.field.len() {
        let field: &mut FieldDescriptorProto = &mut message.field[index];
        if field.type_name() != ".google.protobuf.Struct" {
            continue;
        }
        field.set_type(Type::Bytes);
        field.type_name = None;
        field.proto3_optional = Some(true);
        field.oneof_index = Some(message.oneof_decl.len() as i32);
        let name = Some(format!("_{}", field.name()));
        message.oneof_decl.push(OneofDescriptorProto { name, options: None });
    }
}
