//! The module that a command runs, with its config and limits, as an agent's config would give them.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::anyhow;
use serde_json::{Map, Value};

use super::Unusable;
use crate::transform::{CallError, Engine, Instance, Limits, LoadError, LogTarget, Module};

/// Which module, and what the agent's config would say of it.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The module
    #[arg(value_name = "MODULE.wasm")]
    pub(super) module: PathBuf,
    /// The transform's `config` table, as TOML or JSON: '{ fields = ["email"] }'
    #[arg(long, value_name = "TABLE", default_value = "{}", value_parser = config)]
    config: Map<String, Value>,
    /// The index that the transform is told
    #[arg(long, value_name = "NAME", default_value = "test")]
    pub(super) index: String,
    /// CPU time that it may have for a call, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 250, value_parser = clap::value_parser!(u64).range(1..=60_000))]
    cpu_ms_max: u64,
    /// Memory that it may have, in MiB
    #[arg(long, value_name = "MIB", default_value_t = 64, value_parser = clap::value_parser!(u64).range(16..=4_096))]
    memory_mib_max: u64,
}

/// A module that an agent would load.
pub(super) struct Subject {
    pub(super) module: Module,
    pub(super) compile_took: Duration,
    config: String,
    index: String,
    pub(super) limits: Limits,
}

impl Arguments {
    /// The file's bytes.
    pub(super) fn read(&self) -> anyhow::Result<Vec<u8>> {
        read(&self.module)
    }

    /// Compiles the module and tries it, as an agent does before it lets it serve.
    pub(super) fn load(&self, engine: &Arc<Engine>, wasm: &[u8]) -> Result<Subject, LoadError> {
        let started = Instant::now();
        let module = Module::compile(engine, wasm)?;
        let subject = self.subject(module, started.elapsed());
        subject.module.smoke(&subject.config, &subject.limits)?;
        Ok(subject)
    }

    /// A module with this one's limits.
    fn subject(&self, module: Module, compile_took: Duration) -> Subject {
        let memory_bytes_max = usize::try_from(self.memory_mib_max << 20).unwrap_or(usize::MAX);
        Subject {
            module,
            compile_took,
            config: Value::Object(self.config.clone()).to_string(),
            index: self.index.clone(),
            limits: Limits { cpu_max: Duration::from_millis(self.cpu_ms_max), memory_bytes_max },
        }
    }
}

impl Subject {
    /// An instance that nobody has called.
    pub(super) fn start(&self, log: LogTarget) -> Result<Instance, CallError> {
        Instance::start(&self.module, &self.index, &self.config, &self.limits, log).map_err(|error| {
            match error {
                LoadError::Start { error } | LoadError::Smoke { error, .. } => error,
                other => CallError::Trapped { reason: other.to_string() },
            }
        })
    }
}

/// The engine that the agent runs transforms on.
pub(super) fn engine() -> anyhow::Result<Arc<Engine>> {
    Engine::new().map_err(|error| no_engine(&error))
}

pub(super) fn no_engine(error: &wasmtime::Error) -> anyhow::Error {
    anyhow!("this machine cannot run WebAssembly: {error:#}")
}

/// A file whose absence is the caller's mistake.
pub(super) fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    fs::read(path).map_err(|error| Unusable(format!("{}: cannot be read: {error}", path.display())).into())
}

/// A table as JSON, or as it stands in the agent's config.
fn config(text: &str) -> Result<Map<String, Value>, String> {
    if let Ok(Value::Object(table)) = serde_json::from_str(text) {
        return Ok(table);
    }
    let line = text.replace('\n', " ");
    let parsed: Result<toml::Table, _> = toml::from_str(&format!("config = {line}"));
    match parsed.map(|mut table| table.remove("config").map(json)) {
        Ok(Some(Value::Object(table))) => Ok(table),
        Ok(_) => Err("not a table such as { fields = [\"email\"] }".to_owned()),
        Err(error) => Err(format!("not a table such as {{ fields = [\"email\"] }}: {}", error.message())),
    }
}

fn json(value: toml::Value) -> Value {
    match value {
        toml::Value::String(text) => text.into(),
        toml::Value::Integer(integer) => integer.into(),
        toml::Value::Float(float) => float.into(),
        toml::Value::Boolean(boolean) => boolean.into(),
        toml::Value::Datetime(time) => time.to_string().into(),
        toml::Value::Array(items) => items.into_iter().map(json).collect(),
        toml::Value::Table(table) => table.into_iter().map(|(key, value)| (key, json(value))).collect(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// The table can be copied from the agent's config, or come from a program.
    #[test]
    fn the_config_is_toml_or_json() {
        let expected = json!({"fields": ["email"], "max": 3, "since": "2026-01-01"});
        for text in [
            r#"{ fields = ["email"], max = 3, since = 2026-01-01 }"#,
            r#"{"fields": ["email"], "max": 3, "since": "2026-01-01"}"#,
        ] {
            assert_eq!(config(text).map(Value::Object), Ok(expected.clone()), "{text}");
        }
        for text in ["[]", "3", "fields", "{", "{}\nother = 1"] {
            assert!(config(text).unwrap_err().starts_with("not a table"), "{text}");
        }
    }
}
