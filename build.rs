//! Compiles `proto/` without protoc, into a client, a server and the descriptor set for reflection; and, for the demo,
//! two of the guests in `transforms/`, so that an installed binary has them.
//!
//! Reflection and the client get the contract as it is published. The server is generated with
//! `UpsertObjectsRequest` as raw bytes: ingress reads the wire format itself, once, and builds no tree, so that a
//! request of a million empty payloads costs no more memory than its own bytes.

use std::{
    env,
    error::Error,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use prost::Message;
use prost_types::FileDescriptorSet;
use tonic_prost_build::Builder;

/// The guests that the binary embeds.
const GUESTS: [&str; 2] = ["redact", "unchanged"];
const GUEST_TARGET: &str = "wasm32-wasip2";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build.rs");
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
    generate(server, out.join("server"), published)?;

    if env::var_os("CARGO_FEATURE_DEMO").is_some() {
        build_guests(&out)?;
    }
    Ok(())
}

/// Writes the generated module to `folder/sync.v1.rs`.
fn generate(builder: Builder, folder: PathBuf, set: FileDescriptorSet) -> Result<(), Box<dyn Error>> {
    fs::create_dir_all(&folder)?;
    builder.out_dir(folder).compile_fds(set)?;
    Ok(())
}

/// Writes the guests to `out/NAME.wasm`, by a cargo of their own: their workspace, target and profile are others. What
/// cannot be done is an error of the build that says what to do.
fn build_guests(out: &Path) -> Result<(), Box<dyn Error>> {
    for path in ["Cargo.toml", "Cargo.lock", "sdk", "unchanged", "examples/redact"] {
        println!("cargo::rerun-if-changed=transforms/{path}");
    }
    if !has_guest_target()? {
        println!(
            "cargo::error=the demo's transform is built for {GUEST_TARGET}, which this toolchain lacks: add it with \
             `rustup target add {GUEST_TARGET}`, or build with --no-default-features"
        );
        return Ok(());
    }
    let target_dir = out.join("guests");
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or("cargo".into()));
    cargo.args(["build", "--release", "--locked", "--manifest-path", "transforms/Cargo.toml"]);
    cargo.args(["--target", GUEST_TARGET, "--target-dir"]).arg(&target_dir);
    for guest in GUESTS {
        cargo.args(["--package", guest]);
    }
    for (name, _) in env::vars_os() {
        if name.to_str().is_some_and(is_of_the_outer_build) {
            cargo.env_remove(name);
        }
    }
    // Present and empty: flags of a config file do not apply to guests either.
    cargo.env("CARGO_ENCODED_RUSTFLAGS", "");
    let built = cargo.output()?;
    if !built.status.success() {
        println!("cargo::error=the demo's transform cannot be built; cargo says:");
        for line in String::from_utf8_lossy(&built.stderr).lines() {
            println!("cargo::error={line}");
        }
        return Ok(());
    }
    for guest in GUESTS {
        let name = format!("{guest}.wasm");
        fs::copy(target_dir.join(GUEST_TARGET).join("release").join(&name), out.join(&name))?;
    }
    Ok(())
}

fn has_guest_target() -> Result<bool, Box<dyn Error>> {
    let rustc = env::var_os("RUSTC").unwrap_or("rustc".into());
    let printed =
        Command::new(rustc).args(["--print", "target-libdir", "--target", GUEST_TARGET]).output()?;
    let libraries = String::from_utf8_lossy(&printed.stdout).into_owned();
    Ok(printed.status.success() && Path::new(libraries.trim()).is_dir())
}

/// What says how the agent itself is compiled. Where crates come from, and the jobserver, are for guests, too.
fn is_of_the_outer_build(name: &str) -> bool {
    ["CARGO_BUILD_", "CARGO_PROFILE_", "CARGO_TARGET_"].iter().any(|prefix| name.starts_with(prefix))
        || ["RUSTFLAGS", "RUSTC_WRAPPER", "RUSTC_WORKSPACE_WRAPPER"].contains(&name)
}
