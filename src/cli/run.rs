//! `run`: the agent until a signal ends it.

use std::{path::PathBuf, process::ExitCode, time::Duration};

use anyhow::Context;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::output;
use crate::{
    agent::{Agent, Stopped},
    config::{self, Config, ProcessEnvironment},
    telemetry::{LogFormat, start_logging},
};

/// Exit codes beside success: a config with errors, and an agent that could not start or go on.
const CONFIG_ERRORS: u8 = 2;
const FAILED: u8 = 1;

/// Run the agent.
///
/// Serves producers until SIGTERM or Ctrl-C: then it takes no more requests, answers those it has, lets the requests
/// to destinations end, and exits. A second signal exits at once. Nothing is lost either way.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Without a config file, ALGOLIA_APP_ID and ALGOLIA_API_KEY make Algolia the destination of every index; without these,
records go to files under ./sync-agent-data/out.

Examples:
  sync-agent run                          files, on 127.0.0.1:50051
  sync-agent run --config agent.toml      see `sync-agent check agent.toml` for what it will do
  RUST_LOG=debug sync-agent run --log-format json

Exit codes:
  0    stopped by a signal, everything came to its end
  1    could not start, or had to stop
  2    the config has errors
  128+N  ended at once by a second signal N")]
pub struct Arguments {
    /// The config file
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// How log lines look
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    pub log_format: LogFormat,
    /// How long requests to destinations may take to end after a signal, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 20)]
    pub grace: u64,
}

/// Runs the agent in the process's own environment.
///
/// # Errors
/// If the agent cannot start.
pub async fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let loaded = match config::load(arguments.config.as_deref(), &ProcessEnvironment) {
        Ok(loaded) => loaded,
        Err(errors) => {
            output::complain(&errors.render(true));
            return Ok(ExitCode::from(CONFIG_ERRORS));
        }
    };
    start_logging(arguments.log_format)?;
    for overridden in &loaded.overrides {
        tracing::info!(
            variable = %overridden.variable, value = %overridden.value, became = %overridden.became,
            "environment variable overrides the config",
        );
    }
    serve(&loaded.config, Duration::from_secs(arguments.grace)).await
}

async fn serve(config: &Config, grace: Duration) -> anyhow::Result<ExitCode> {
    let mut signals = Signals::new().context("signals cannot be handled")?;
    if !config.listen.grpc.ip().is_loopback() {
        tracing::warn!(address = %config.listen.grpc, "every client that reaches this address may write to every index");
    }
    let agent = Agent::start(config).await?;
    let healthy = tokio::select! {
        // A panic first: after it, nothing that the agent says can be relied on.
        biased;
        () = agent.panicked() => false,
        _ = signals.next() => true,
    };
    tracing::info!(grace_seconds = grace.as_secs(), "stopping; a second signal exits at once");
    let stopped = tokio::select! {
        // The second signal must win over a stop that hangs.
        biased;
        number = signals.next() => {
            tracing::warn!("exiting at once");
            return Ok(ExitCode::from(128 + number));
        }
        stopped = agent.stop(grace) => stopped,
    };
    match stopped {
        Stopped::Whole => tracing::info!("stopped"),
        Stopped::DeliveryGivenUp => {
            tracing::warn!("stopped; requests in flight are sent again after the next start")
        }
    }
    Ok(if healthy { ExitCode::SUCCESS } else { ExitCode::from(FAILED) })
}

/// The signals that end the agent.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    pub(super) fn new() -> std::io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// The number of the next one.
    pub(super) async fn next(&mut self) -> u8 {
        tokio::select! {
            // In any order: both mean the same.
            biased;
            _ = self.terminate.recv() => 15,
            _ = self.interrupt.recv() => 2,
        }
    }
}
