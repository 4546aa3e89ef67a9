//! Builds the WebAssembly components of `tests/guests`, once for each run of the tests.

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
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let folder = FOLDER.get_or_init(|| {
        build(&root.join("tests/guests"), &root.join("target/guests"))
            .unwrap_or_else(|error| panic!("{error}"))
    });
    let file = folder.join(format!("{}.wasm", name.replace('-', "_")));
    fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

/// Builds a crate or workspace for transforms and tells where its modules are.
///
/// # Errors
/// With cargo's words.
pub fn build(manifest_folder: &Path, target: &Path) -> io::Result<PathBuf> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args([
        "build",
        "--release",
        "--locked",
        "--quiet",
        "--target",
        "wasm32-wasip2",
        "--manifest-path",
    ]);
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
