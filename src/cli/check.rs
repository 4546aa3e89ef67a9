//! `check`: validates a config, tries the modules that it names, and prints what the agent would do with it, or what a
//! caller might do with the agent. Connects to nothing, creates nothing.

use std::{path::PathBuf, process::ExitCode, sync::Arc};

use anyhow::Context;

use super::{may::May, output, plan::Plan};
use crate::{
    config::{self, Config, ConfigErrors, Environment, Loaded, ProcessEnvironment},
    runtime::SystemClock,
    transform::{Engine, ModuleError, ModuleErrors, Modules},
};

/// The exit code where the caller may do nothing.
const MAY_NOTHING: u8 = 1;
/// The exit code for a config with errors.
const CONFIG_ERRORS: u8 = 2;

/// Check a config and show the plan.
///
/// Tells every error at once, with its line and what would be accepted. Environment variables and secret files are
/// read as `run` would read them; secrets are shown by their source only. Modules of transforms are compiled and tried.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  sync-agent check agent.toml          what the agent would do with this file
  sync-agent check                     what it would do without a file
  sync-agent check agent.toml --json   the same, or { \"errors\": [...] }, for programs
  sync-agent check agent.toml --as spiffe://cluster.local/ns/shop/sa/checkout
                                       what this caller may do to which indexes

Exit codes:
  0  the config is fine
  1  it is, but --as names a caller who may do nothing
  2  it has errors")]
pub struct Arguments {
    /// The config file; without one, the config that `run` would use
    #[arg(value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Show what a caller may do instead, by its SPIFFE ID or another name of its certificate; "" is one without a name
    #[arg(long = "as", value_name = "CALLER")]
    pub caller: Option<String>,
    /// Print JSON instead of text
    #[arg(long)]
    pub json: bool,
}

/// Runs the command in the process's own environment.
///
/// # Errors
/// If stdout cannot be written.
pub fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    check(arguments, &ProcessEnvironment)
}

fn check(arguments: &Arguments, environment: &dyn Environment) -> anyhow::Result<ExitCode> {
    match accepted(arguments, environment)? {
        Ok(loaded) => {
            let may = arguments.caller.as_deref().map(|caller| May::new(&loaded.config, caller));
            let printed = match (&may, arguments.json) {
                (Some(may), true) => output::print_json(may),
                (Some(may), false) => output::print(&may.to_text()),
                (None, true) => output::print_json(&Plan::new(&loaded)),
                (None, false) => output::print(&Plan::new(&loaded).to_text()),
            };
            printed.context("cannot write to stdout")?;
            Ok(match may {
                Some(may) if may.is_nothing() => ExitCode::from(MAY_NOTHING),
                _ => ExitCode::SUCCESS,
            })
        }
        Err(errors) => {
            if arguments.json {
                output::print_json(&errors).context("cannot write to stdout")?;
            } else {
                output::complain(&errors.render(true));
            }
            Ok(ExitCode::from(CONFIG_ERRORS))
        }
    }
}

/// The config, if the agent would start with it.
fn accepted(
    arguments: &Arguments,
    environment: &dyn Environment,
) -> anyhow::Result<Result<Loaded, ConfigErrors>> {
    let loaded = match config::load(arguments.config.as_deref(), environment) {
        Ok(loaded) => loaded,
        Err(errors) => return Ok(Err(errors)),
    };
    Ok(match try_modules(&loaded.config)? {
        Ok(()) => Ok(loaded),
        Err(ModuleErrors(errors)) => {
            let refused: Vec<_> = errors.iter().map(ModuleError::in_config).collect();
            Err(loaded.refused(&refused))
        }
    })
}

fn try_modules(config: &Config) -> anyhow::Result<Result<(), ModuleErrors>> {
    if config.transforms.is_empty() {
        return Ok(Ok(()));
    }
    let engine =
        Engine::new().map_err(|error| anyhow::anyhow!("this machine cannot run transforms: {error:#}"))?;
    Ok(Modules::load(&config.transforms, engine, None, Arc::new(SystemClock)).map(drop))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::FixedEnvironment;

    /// What scripts rely on: 0 for a config without errors, 2 for one with.
    #[test]
    fn the_exit_code_tells_whether_there_are_errors() {
        let code = |variables: &[(&'static str, &'static str)], json| {
            let arguments = Arguments { config: None, caller: None, json };
            check(&arguments, &FixedEnvironment::new(variables, &[])).unwrap()
        };
        for json in [false, true] {
            assert_eq!(code(&[], json), ExitCode::SUCCESS);
            assert_eq!(code(&[("GRPC_PORT", "none")], json), ExitCode::from(2));
        }
    }

    /// What the agent would not start with is no plan.
    #[test]
    fn a_module_that_would_be_refused_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let (module, file) = (folder.path().join("a.wasm"), folder.path().join("agent.toml"));
        let text = format!(
            "[destinations.out]\ntype = \"file\"\ndir = \"out\"\n[transforms.a]\npath = {module:?}\n"
        );
        std::fs::write(&file, text).unwrap();
        let arguments = Arguments { config: Some(file), caller: None, json: false };
        let code = || check(&arguments, &FixedEnvironment::new(&[], &[])).unwrap();
        assert_eq!(code(), ExitCode::from(2), "it is missing");
        std::fs::write(&module, "not a module").unwrap();
        assert_eq!(code(), ExitCode::from(2));
        std::fs::write(&module, harness::guests::guest("stamps")).unwrap();
        assert_eq!(code(), ExitCode::SUCCESS);
        assert!(!std::path::Path::new("sync-agent-data/transforms").exists(), "check creates nothing");
    }
}
