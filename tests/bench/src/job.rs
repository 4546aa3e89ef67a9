//! Jobs: work that runs in a process of its own, so that its memory and CPU time are nobody else's.
//!
//! The parent sends the job as a line of JSON and gets what came of it as another one.

use std::{
    io::{BufRead as _, Write as _},
    process::{Command, Stdio},
    time::Instant,
};

use anyhow::{Context as _, ensure};
use clap::ValueEnum as _;
use harness::usage::Usage;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::child::Role;

/// Work for a child.
pub(crate) trait Job: Serialize + DeserializeOwned {
    /// The child that does it.
    const ROLE: Role;
    /// What comes of it.
    type Outcome: Serialize + DeserializeOwned;

    /// Does it, in the child.
    fn work(self) -> anyhow::Result<Self::Outcome>;

    /// Has a new child do it, and waits.
    fn run(&self) -> anyhow::Result<Self::Outcome> {
        let role = Self::ROLE.to_possible_value().context("every role has a name")?;
        let name = role.get_name();
        let mut command = Command::new(std::env::current_exe().context("find this binary")?);
        command.arg("--child").arg(name).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn().with_context(|| format!("start a child for {name}"))?;
        let mut stdin = process.stdin.take().context("its stdin is a pipe")?;
        writeln!(stdin, "{}", serde_json::to_string(self)?)
            .with_context(|| format!("tell {name} its job"))?;
        drop(stdin);
        let output = process.wait_with_output()?;
        ensure!(output.status.success(), "the child for {name} ended with {}", output.status);
        serde_json::from_slice(&output.stdout).with_context(|| format!("read what {name} did"))
    }
}

/// A child's life with a job.
pub(crate) fn main<J: Job>() -> anyhow::Result<()> {
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line).context("read the job")?;
    let job: J = serde_json::from_str(&line).context("understand the job")?;
    let outcome = serde_json::to_string(&job.work()?)?;
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{outcome}")?;
    Ok(stdout.flush()?)
}

/// What the measured part of a job took.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Cost {
    /// By the clock.
    pub(crate) seconds: f64,
    /// Of every thread of the child.
    pub(crate) cpu_seconds: f64,
    /// The most that the child ever had, its preparation included.
    pub(crate) resident_bytes_max: u64,
}

/// Measures a part of a job.
#[derive(Debug)]
pub(crate) struct Meter {
    start: Instant,
    before: Usage,
}

impl Meter {
    pub(crate) fn start() -> anyhow::Result<Self> {
        let before = usage()?;
        Ok(Self { start: Instant::now(), before })
    }

    pub(crate) fn stop(&self) -> anyhow::Result<Cost> {
        let seconds = self.start.elapsed().as_secs_f64();
        let Usage { cpu, resident_bytes_max, .. } = usage()?;
        Ok(Cost { seconds, cpu_seconds: (cpu - self.before.cpu).as_secs_f64(), resident_bytes_max })
    }
}

fn usage() -> anyhow::Result<Usage> {
    Usage::of(std::process::id()).context("usage of this process")
}
