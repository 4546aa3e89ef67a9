//! `transform inspect`: what a module is, and whether an agent would load it.

use std::io;

use indicatif::{HumanBytes, HumanCount};
use ring::digest;
use serde::Serialize;
use wasmtime::component::Component;

use super::{
    EXIT_CODES, Outcome, Streams,
    subject::{self, Subject},
};
use crate::{
    cli::{
        output::{BAD, GOOD, HEADING, NAME, styled},
        text,
    },
    transform::{Digest, LoadError, LogTarget},
};

/// See what a module needs, and whether an agent would load it.
///
/// It is compiled, started with the given config and tried on a small record, as an agent does before it lets a module
/// serve. If that does not work, the answer says what to do.
#[derive(Debug, clap::Args)]
#[command(after_help = format!("\
Examples:
  sync-agent transform inspect redact.wasm --config '{{ fields = [\"email\"] }}'
  sync-agent transform inspect redact.wasm --json | jq -r .sha256    # to pin it in the agent's config

{EXIT_CODES}"))]
pub(super) struct Inspect {
    #[command(flatten)]
    subject: subject::Arguments,
    /// Print JSON instead of text
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report {
    path: String,
    bytes: usize,
    sha256: String,
    loads: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
    /// The world that it was built for; absent if it is none that can be told.
    #[serde(skip_serializing_if = "Option::is_none")]
    world: Option<String>,
    imports: Vec<String>,
    exports: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    compile_ms: Option<u128>,
    /// What one instance holds after its trial.
    #[serde(skip_serializing_if = "Option::is_none")]
    memory_bytes: Option<usize>,
}

impl Inspect {
    pub(super) fn run(&self, streams: &mut Streams<'_>) -> anyhow::Result<Outcome> {
        let wasm = self.subject.read()?;
        let loaded = self.subject.load(&subject::engine()?, &wasm);
        let report = self.report(&wasm, loaded);
        if self.json {
            serde_json::to_writer_pretty(&mut *streams.out, &report).map_err(io::Error::from)?;
            writeln!(streams.out)?;
        } else {
            write_text(&report, streams)?;
        }
        Ok(if report.loads { Outcome::Done } else { Outcome::Failed })
    }

    fn report(&self, wasm: &[u8], loaded: Result<Subject, LoadError>) -> Report {
        let (imports, exports) = match &loaded {
            Ok(subject) => (subject.module.imports(), subject.module.exports()),
            Err(_) => names(wasm).unwrap_or_default(),
        };
        let mut digest = [0; digest::SHA256_OUTPUT_LEN];
        digest.copy_from_slice(digest::digest(&digest::SHA256, wasm).as_ref());
        let subject = loaded.as_ref().ok();
        let started = subject.and_then(|subject| subject.start(LogTarget::Nowhere).ok());
        Report {
            path: self.subject.module.display().to_string(),
            bytes: wasm.len(),
            sha256: Digest(digest).to_string(),
            loads: loaded.is_ok(),
            world: world(&exports),
            imports,
            exports,
            compile_ms: subject.map(|subject| subject.compile_took.as_millis()),
            memory_bytes: started.map(|instance| instance.memory_bytes()),
            problem: loaded.err().map(|error| error.to_string()),
        }
    }
}

/// The contract that the exports belong to.
fn world(exports: &[String]) -> Option<String> {
    let transformer = exports.iter().find(|name| name.starts_with("sync-agent:transform/transformer"))?;
    let (_, version) = transformer.split_once('@')?;
    Some(format!("sync-agent:transform/transform@{version}"))
}

/// Imports and exports of a component that the agent refuses.
fn names(wasm: &[u8]) -> Option<(Vec<String>, Vec<String>)> {
    let engine = wasmtime::Engine::default();
    let component = Component::from_binary(&engine, wasm).ok()?;
    let component_type = component.component_type();
    let imports = component_type.imports(&engine).map(|(name, _)| name.to_owned()).collect();
    let exports = component_type.exports(&engine).map(|(name, _)| name.to_owned()).collect();
    Some((imports, exports))
}

fn write_text(report: &Report, streams: &mut Streams<'_>) -> io::Result<()> {
    let out = &mut *streams.out;
    writeln!(out, "{}, {}", styled(HEADING, text::printable(&report.path)), HumanBytes(report.bytes as u64))?;
    let mut rows = vec![("sha256", report.sha256.clone())];
    rows.push(("world", report.world.clone().unwrap_or_else(|| "none that an agent knows".to_owned())));
    for (label, names) in [("imports", &report.imports), ("exports", &report.exports)] {
        let mut labels = [label].into_iter().chain(std::iter::repeat(""));
        rows.extend(names.iter().zip(&mut labels).map(|(name, label)| (label, name.clone())));
    }
    if let Some(compile_ms) = report.compile_ms {
        rows.push((
            "compiles",
            format!("in {} ms", HumanCount(u64::try_from(compile_ms).unwrap_or(u64::MAX))),
        ));
    }
    if let Some(memory_bytes) = report.memory_bytes {
        rows.push(("holds", format!("{} in each instance", HumanBytes(memory_bytes as u64))));
    }
    for (label, value) in rows {
        writeln!(out, "  {NAME}{label:8}{NAME:#} {}", text::printable(&value))?;
    }
    match &report.problem {
        None => writeln!(out, "  {NAME}loads{NAME:#}    {}", styled(GOOD, "yes")),
        Some(problem) => {
            writeln!(out, "  {NAME}loads{NAME:#}    {}: {}", styled(BAD, "no"), text::printable(problem))
        }
    }
}
