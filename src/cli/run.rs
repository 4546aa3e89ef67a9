//! `run`: the agent until a signal ends it.

use std::{path::PathBuf, process::ExitCode, time::Duration};

use anyhow::Context;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::output;
use crate::{
    agent::{Agent, Start, Stopped},
    config::{self, ProcessEnvironment},
    runtime::machine,
    telemetry::{LogFormat, start_logging},
};

/// Exit codes beside success: a config with errors, and an agent that could not start or go on.
const CONFIG_ERRORS: u8 = 2;
const FAILED: u8 = 1;

/// Run the agent.
///
/// Serves producers until SIGTERM or Ctrl-C: then it takes no more requests, answers those it has, lets the requests
/// to destinations end, and exits. A second signal exits at once. Nothing is lost either way.
///
/// The config's file, the files of its secrets and its modules are followed: what is changed serves within seconds, or is
/// refused with every error while the old one serves on. SIGHUP reads them at once.
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
    /// Exit on a config or a module with errors, rather than serve with the last ones that were accepted
    #[arg(long)]
    pub strict: bool,
    /// How long requests to destinations may take to end after a signal, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 20)]
    pub grace: u64,
}

/// Runs the agent in the process's own environment.
///
/// # Errors
/// If the agent cannot start.
pub async fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let path = arguments.config.as_deref();
    let start = match config::load(path, &ProcessEnvironment) {
        Ok(loaded) => Start { last_accepted_modules: !arguments.strict, ..Start::strictly(loaded) },
        Err(errors) => {
            output::complain(&errors.render(true));
            let last = path.filter(|_| !arguments.strict);
            match last.and_then(|path| Start::with_last_accepted(path, errors)) {
                Some(start) => start,
                None => return Ok(ExitCode::from(CONFIG_ERRORS)),
            }
        }
    };
    start_logging(arguments.log_format)?;
    prepare(start.loaded.config.limits.connections_max);
    if let Some(errors) = &start.refused {
        tracing::error!(
            errors = errors.errors.len(),
            "config is refused, and the agent serves with the last one that it had accepted: mend the file, it is followed",
        );
    }
    for overridden in &start.loaded.overrides {
        tracing::info!(
            variable = %overridden.variable, value = %overridden.value, became = %overridden.became,
            "environment variable overrides the config",
        );
    }
    serve(start, Duration::from_secs(arguments.grace)).await
}

/// What does not succeed is said, and the agent does without.
fn prepare(connections_max: usize) {
    /// For what is not a producer's connection: the log, the destinations, the admin API.
    const OTHER_FILES: u64 = 512;
    if let Err(error) = machine::keep_memory_private() {
        tracing::warn!(%error, "a core dump of this process would hold keys and records");
    }
    let needed = connections_max as u64 + OTHER_FILES;
    match machine::open_files_max() {
        Ok(Some(allowed)) if allowed < needed => {
            tracing::warn!(
                allowed,
                needed,
                "too few files may be open for limits.connections_max: raise RLIMIT_NOFILE, or lower it"
            );
        }
        Ok(_) => {}
        Err(error) => tracing::warn!(%error, "the limit of open files cannot be raised"),
    }
}

async fn serve(start: Start, grace: Duration) -> anyhow::Result<ExitCode> {
    let mut signals = Signals::new().context("signals cannot be handled")?;
    let mut reload = signal(SignalKind::hangup()).context("signals cannot be handled")?;
    for warning in config::warnings(&start.loaded.config) {
        tracing::warn!("{warning}");
    }
    let agent = Agent::start(start).await?;
    let healthy = loop {
        tokio::select! {
            // A panic first: after it, nothing that the agent says can be relied on.
            biased;
            () = agent.panicked() => break false,
            _ = signals.next() => break true,
            _ = reload.recv() => {
                tracing::info!("SIGHUP: the config is read again");
                // What came of it is in the log.
                let _ = agent.reload().await;
            }
        }
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
