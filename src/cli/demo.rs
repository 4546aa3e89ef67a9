//! `demo`: the agent at work before a newcomer's eyes, and a proof at the end that nothing was lost.
//!
//! Everything in it is real (gRPC, log, lanes, dead letters, config) but for Algolia and Elasticsearch, which are the
//! tests' fakes. The `plan` says what is sent (`product` makes it up); the `stage` is the directory with the agent and the
//! fakes on it; the `play` sends, lets Elasticsearch fail and waits; the `screen` shows it and the `narrator` tells it; the `proof` compares
//! what the agent says with what is really there; `text` has the words.

mod product;

mod plan;

mod stage;

mod play;

mod narrator;
mod screen;

mod proof;

mod text;

#[cfg(test)]
mod tests;

use std::{
    convert::Infallible,
    net::{SocketAddr, TcpListener},
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

use anyhow::Context;
use tokio::time::{MissedTickBehavior, interval};

use self::{plan::Plan, play::play, proof::Proof, screen::Screen, stage::Stage};
use super::{output, run::Signals};
use crate::telemetry::{LogFormat, start_logging};

const DEFAULT_DIR: &str = "sync-agent-data/demo";
/// The producer is paced to take this long: enough to watch, short enough not to be bored.
const PACE: Duration = Duration::from_secs(15);
/// How often a kept demo looks for something new.
const KEPT_TICK: Duration = Duration::from_millis(200);

/// See the agent at work: one run of about 20 seconds.
///
/// Starts an agent, sends tens of thousands of generated products to it over gRPC, and delivers them to files, to a
/// fake Algolia, which refuses one poison record, and to a fake Elasticsearch, which is down for a while. Then compares
/// what was sent with what is there. Nothing leaves this machine, and nothing is left running.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Exit codes:
  0      nothing was lost
  1      the proof does not hold, or the demo could not run
  128+N  ended by signal N")]
pub struct Arguments {
    /// How many records to send, 1,000 to 200,000
    #[arg(long, value_name = "N", default_value_t = 30_000, value_parser = clap::value_parser!(u64).range(1_000..=200_000))]
    records: u64,
    /// Where config, log and files go; made anew each time
    #[arg(long, value_name = "DIR", default_value = DEFAULT_DIR)]
    dir: PathBuf,
    /// Keep the agent and the fakes running until Ctrl-C
    #[arg(long)]
    keep: bool,
    /// Print the proof as JSON and nothing else
    #[arg(long, conflicts_with = "keep")]
    json: bool,
}

/// Runs the command.
///
/// # Errors
/// If the demo cannot be set up or has to stop.
pub async fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    // The agent's warnings are part of the show; only who asks for logs gets them.
    let logs = std::env::var_os("RUST_LOG").is_some_and(|filter| !filter.is_empty());
    if logs {
        start_logging(LogFormat::Text)?;
    }
    let mut signals = Signals::new().context("signals cannot be handled")?;
    let mut screen = if arguments.json { Screen::quiet() } else { Screen::for_streams(logs) };
    let stage = Stage::start(&arguments.dir, listen(arguments.keep)).await?;
    let ended = until_signal(&mut signals, perform(arguments, &stage, &mut screen)).await;
    screen.clear();
    let ended = match ended {
        Ended::Signal(number) => {
            output::complain("stopped before the end, so nothing is proven\n");
            Ok(ExitCode::from(128 + number))
        }
        Ended::Done(Err(error)) => Err(error),
        Ended::Done(Ok(holds)) => {
            if arguments.keep {
                let Ended::Signal(_) = until_signal(&mut signals, keep(&stage)).await;
            }
            Ok(if holds { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
    };
    stage.stop().await;
    ended
}

/// How something ended.
enum Ended<T> {
    Signal(u8),
    Done(T),
}

async fn until_signal<T>(signals: &mut Signals, work: impl Future<Output = T>) -> Ended<T> {
    tokio::select! {
        // A signal ends whatever is going on.
        biased;
        number = signals.next() => Ended::Signal(number),
        done = work => Ended::Done(done),
    }
}

/// Whether the proof holds.
async fn perform(arguments: &Arguments, stage: &Stage, screen: &mut Screen) -> anyhow::Result<bool> {
    let plan = Plan::new(arguments.records);
    if !arguments.json {
        output::complain(&text::heading(plan, stage));
    }
    play::poison(stage, plan);
    let played = play(stage, plan, PACE, screen).await?;
    let proof = Proof::take(stage, plan, played).await?;
    screen.clear();
    let printed = match arguments.json {
        true => output::print_json(&proof),
        false => output::print(&text::proof(&proof)).and_then(|()| match arguments.keep {
            true => output::print(&text::kept(stage)),
            false => output::print(&text::next(&stage.dir, arguments.dir.as_os_str() != DEFAULT_DIR)),
        }),
    };
    printed.context("cannot write to stdout")?;
    Ok(proof.holds)
}

/// Tells what comes in.
async fn keep(stage: &Stage) -> Infallible {
    let mut seen = stage.log().end;
    let mut ticks = interval(KEPT_TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let (end, lanes) = (stage.log().end, stage.agent.lanes());
        if end != seen && lanes.iter().all(|lane| lane.pending(end) == 0) {
            seen = end;
            output::complain(&text::standing(&lanes, end));
        }
    }
}

/// A kept agent listens where `send` looks for one, unless that port is taken.
fn listen(keep: bool) -> SocketAddr {
    let known = text::default_target();
    let any = SocketAddr::new(known.ip(), 0);
    if keep && TcpListener::bind(known).is_ok() { known } else { any }
}
