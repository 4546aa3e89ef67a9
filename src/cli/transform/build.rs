//! `transform build`: cargo, for the target that makes components, and a look at what comes out.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use indicatif::HumanBytes;
use serde::{Deserialize, Serialize};

use super::{EXIT_CODES, Outcome, Streams, Unusable, subject};
use crate::{
    cli::{
        output::{BAD, GOOD, NAME, styled},
        text,
    },
    transform::{Engine, Module},
};

/// What cargo calls components for WASI 0.2.
const TARGET: &str = "wasm32-wasip2";

/// Build a transform's module with cargo, and see whether an agent would load it.
#[derive(Debug, clap::Args)]
#[command(after_help = format!("\
Examples:
  sync-agent transform build
  sync-agent transform build transforms/no-emails --json | jq -r .modules[0].path

{EXIT_CODES}"))]
pub(super) struct Build {
    /// The project's folder
    #[arg(value_name = "DIR", default_value = ".")]
    dir: PathBuf,
    /// Print JSON instead of text
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report {
    modules: Vec<Built>,
}

#[derive(Serialize)]
struct Built {
    path: PathBuf,
    bytes: u64,
    /// Absent if no agent would load it.
    #[serde(skip_serializing_if = "Option::is_none")]
    sha256: Option<String>,
    /// Why no agent would load it.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
}

/// A line of what cargo tells programs, as far as it matters here.
#[derive(Deserialize)]
struct Message {
    reason: String,
    #[serde(default)]
    filenames: Vec<PathBuf>,
}

impl Build {
    pub(super) fn run(&self, streams: &mut Streams<'_>) -> anyhow::Result<Outcome> {
        let shown = self.dir.display();
        if !self.dir.join("Cargo.toml").is_file() {
            let words = format!(
                "there is no Cargo.toml in {shown}: go to a transform's folder, or make one with `sync-agent transform new NAME`"
            );
            return Err(Unusable(words).into());
        }
        if !has_target(&self.dir).map_err(|error| no_cargo(&error))? {
            writeln!(streams.errors, "{}", missing_target(&self.dir))?;
            return Ok(Outcome::Failed);
        }
        let cargo = Command::new("cargo")
            .args(["build", "--release", "--target", TARGET, "--message-format=json-render-diagnostics"])
            .current_dir(&self.dir)
            .stdin(Stdio::null())
            .stderr(Stdio::inherit())
            .output()
            .map_err(|error| no_cargo(&error))?;
        if !cargo.status.success() {
            return Ok(Outcome::Failed);
        }
        let paths = modules(&cargo.stdout);
        if paths.is_empty() {
            writeln!(
                streams.errors,
                "cargo built no module in {shown}: its Cargo.toml needs `[lib]` with `crate-type = [\"cdylib\"]`"
            )?;
            return Ok(Outcome::Failed);
        }
        let report =
            Report { modules: paths.iter().map(|path| look_at(path)).collect::<anyhow::Result<_>>()? };
        if self.json {
            serde_json::to_writer_pretty(&mut *streams.out, &report).map_err(io::Error::from)?;
            writeln!(streams.out)?;
        } else {
            report.modules.iter().try_for_each(|built| write_text(built, streams))?;
        }
        let all_load = report.modules.iter().all(|built| built.problem.is_none());
        Ok(if all_load { Outcome::Done } else { Outcome::Failed })
    }
}

/// Whether the toolchain that the project uses has the target's library. Asking it lets rustup bring what the project's
/// `rust-toolchain.toml` names.
fn has_target(dir: &Path) -> io::Result<bool> {
    let rustc = Command::new("rustc")
        .args(["--print", "target-libdir", "--target", TARGET])
        .current_dir(dir)
        .stderr(Stdio::inherit())
        .output()?;
    let libraries = String::from_utf8_lossy(&rustc.stdout);
    Ok(rustc.status.success() && Path::new(libraries.trim()).is_dir())
}

fn missing_target(dir: &Path) -> String {
    format!(
        "Rust's target {TARGET} is missing. Add it, in {}:\n  {}",
        dir.display(),
        styled(NAME, format_args!("rustup target add {TARGET}"))
    )
}

fn no_cargo(error: &io::Error) -> Unusable {
    match error.kind() {
        io::ErrorKind::NotFound => {
            Unusable("Rust is not installed, or not in the PATH: see https://rustup.rs".to_owned())
        }
        _ => Unusable(format!("cargo cannot be run: {error}")),
    }
}

/// The components among what cargo says it made.
fn modules(messages: &[u8]) -> Vec<PathBuf> {
    let lines = messages.split(|byte| *byte == b'\n');
    let made = lines
        .filter_map(|line| serde_json::from_slice(line).ok())
        .filter(|message: &Message| message.reason == "compiler-artifact");
    let files = made.flat_map(|message| message.filenames);
    files.filter(|path| path.extension().is_some_and(|extension| extension == "wasm")).collect()
}

/// Without its config, so `init` is not asked.
fn look_at(path: &Path) -> anyhow::Result<Built> {
    let wasm = fs::read(path).map_err(|error| Unusable(format!("{}: {error}", path.display())))?;
    let engine = Engine::new().map_err(|error| subject::no_engine(&error))?;
    let loaded = Module::compile(&engine, &wasm);
    Ok(Built {
        path: path.to_owned(),
        bytes: wasm.len() as u64,
        sha256: loaded.as_ref().ok().map(|module| module.digest().to_string()),
        problem: loaded.err().map(|error| error.to_string()),
    })
}

fn write_text(built: &Built, streams: &mut Streams<'_>) -> anyhow::Result<()> {
    let here = std::env::current_dir().unwrap_or_default();
    let path = built.path.strip_prefix(&here).unwrap_or(&built.path).display();
    let bytes = HumanBytes(built.bytes);
    match (&built.problem, &built.sha256) {
        (Some(problem), _) => {
            let problem = text::printable(problem);
            writeln!(
                streams.out,
                "{} {path}, {bytes}: no agent would load it: {problem}",
                styled(BAD, "refused")
            )?;
        }
        (None, sha256) => {
            let sha256 = sha256.as_deref().unwrap_or_default();
            writeln!(streams.out, "{} {path}, {bytes}, sha256 {sha256}", styled(GOOD, "built"))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_are_found_among_cargos_messages() {
        let messages = br#"{"reason":"compiler-artifact","filenames":["/t/libserde.rlib"]}
not json
{"reason":"compiler-artifact","filenames":["/t/a.wasm"]}
{"reason":"build-finished","success":true}
"#;
        assert_eq!(modules(messages), [PathBuf::from("/t/a.wasm")]);
    }
}
