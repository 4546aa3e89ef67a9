//! Builds the WebAssembly components of `tests/guests` and the examples of `transforms`, once for each run of the tests.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

/// The bytes of a component of `tests/guests`. The first call in a process lets cargo look whether they are up to date;
/// cargo itself keeps several processes apart.
///
/// # Panics
/// With cargo's words if they do not build.
#[must_use]
pub fn guest(name: &str) -> Vec<u8> {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    read(FOLDER.get_or_init(|| built("tests/guests")), name)
}

/// The bytes of an example of `transforms/examples`, or of `transforms/unchanged`.
///
/// # Panics
/// As [`guest`].
#[must_use]
pub fn example(name: &str) -> Vec<u8> {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    read(FOLDER.get_or_init(|| built("transforms")), name)
}

/// Where all guests are built, however many workspaces they come from: what these share is compiled once.
#[must_use]
pub fn target() -> PathBuf {
    root().join("target/guests")
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn built(workspace: &str) -> PathBuf {
    build(&root().join(workspace), &target()).unwrap_or_else(|error| panic!("{error}"))
}

fn read(folder: &Path, name: &str) -> Vec<u8> {
    let file = folder.join(format!("{}.wasm", name.replace('-', "_")));
    fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

/// Builds a crate or workspace for transforms and tells where its modules are.
///
/// # Errors
/// With cargo's words.
pub fn build(manifest_folder: &Path, target: &Path) -> io::Result<PathBuf> {
    build_with(manifest_folder, target, "--locked")
}

/// As [`build`], for a project that may complete its lock file but must not need the network.
///
/// # Errors
/// As [`build`].
pub fn build_offline(manifest_folder: &Path, target: &Path) -> io::Result<PathBuf> {
    build_with(manifest_folder, target, "--offline")
}

fn build_with(manifest_folder: &Path, target: &Path, sources: &str) -> io::Result<PathBuf> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["build", "--release", sources, "--quiet", "--target", "wasm32-wasip2", "--manifest-path"]);
    command.arg(manifest_folder.join("Cargo.toml")).arg("--target-dir").arg(target);
    // What the cargo that runs the tests was told is not for this one.
    for name in ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "CARGO_BUILD_TARGET", "CARGO_TARGET_DIR"] {
        command.env_remove(name);
    }
    let output = command.output()?;
    if output.status.success() {
        return Ok(target.join("wasm32-wasip2/release"));
    }
    let words = String::from_utf8_lossy(&output.stderr);
    Err(io::Error::other(format!("{} does not build: {words}", manifest_folder.display())))
}

/// A build of the guest `stamps`, which writes its number into each record.
///
/// # Panics
/// If it cannot be built.
#[must_use]
pub fn stamps(number: u32) -> Vec<u8> {
    const MARK: &[u8] = b"stamps-build:0000000000";
    let mut wasm = guest("stamps");
    // The compiler may have kept the mark itself once more; with its digits it stands in one place.
    let place = wasm.windows(MARK.len()).position(|window| window == MARK);
    let end = place.expect("the guest holds its mark") + MARK.len();
    wasm[end - 10..end].copy_from_slice(format!("{number:010}").as_bytes());
    wasm
}
