//! This binary's other lives: servers that must not share a process with the load, and jobs ([`crate::job`]).
//!
//! A child that serves prints where it serves, answers every line on its stdin with another one (see [`crate::fake`]), and
//! ends with its stdin, so that none outlives its parent.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::SocketAddr,
    process::{ChildStdin, ChildStdout, Command, Stdio},
};

use anyhow::{Context as _, ensure};
use clap::ValueEnum;
use harness::{
    server::{accept_all, serve},
    usage::Usage,
};
use tokio::{net::TcpListener, sync::mpsc};

use crate::{
    appenders::Appenders, drain::Drain, fake, job, loader::Loader, plain::Plain, reopen::Reopen,
    retention::Follow, simple::Simple,
};

/// What a child serves or does.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Role {
    /// gRPC, decoded in full and dropped.
    Decode,
    /// A fake Algolia that counts operations.
    Algolia,
    /// A fake Elasticsearch that counts operations.
    Elasticsearch,
    /// A job: appenders to a log.
    Log,
    /// A job: a plain file.
    Plain,
    /// A job: appenders to fjall.
    #[cfg(feature = "fjall")]
    Fjall,
    /// A job: a reader of a whole log.
    Drain,
    /// A job: opening a log.
    Reopen,
    /// A job: a destination that follows.
    Follow,
    /// A job: the simplest program that does what the agent does.
    Simple,
    /// A job: a bulk loader.
    Loader,
}

/// A child's life.
pub(crate) fn main(role: Role) -> anyhow::Result<()> {
    match role {
        Role::Decode => tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(decode()),
        Role::Algolia => {
            tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(fake::algolia())
        }
        Role::Elasticsearch => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(fake::elasticsearch())
        }
        Role::Log => job::main::<Appenders>(),
        Role::Plain => job::main::<Plain>(),
        #[cfg(feature = "fjall")]
        Role::Fjall => job::main::<crate::rival::Rival>(),
        Role::Drain => job::main::<Drain>(),
        Role::Reopen => job::main::<Reopen>(),
        Role::Follow => job::main::<Follow>(),
        Role::Simple => job::main::<Simple>(),
        Role::Loader => job::main::<Loader>(),
    }
}

async fn decode() -> anyhow::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    say(listener.local_addr()?)?;
    tokio::spawn(serve(listener, accept_all()));
    // Nobody asks it anything.
    while lines().recv().await.is_some() {}
    Ok(())
}

/// Prints a line for the parent.
pub(crate) fn say(word: impl std::fmt::Display) -> anyhow::Result<()> {
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{word}")?;
    Ok(stdout.flush()?)
}

/// The lines of stdin until it ends, from a thread of their own: reading it blocks.
pub(crate) fn lines() -> mpsc::UnboundedReceiver<String> {
    let (line, lines) = mpsc::unbounded_channel();
    tokio::task::spawn_blocking(move || {
        for read in std::io::stdin().lines().map_while(Result::ok) {
            // Nobody listens any more when the child ends.
            let _ = line.send(read);
        }
    });
    lines
}

/// A running child, seen from its parent; it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Child {
    process: std::process::Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
    place: String,
}

impl Child {
    pub(crate) fn start(role: Role) -> anyhow::Result<Self> {
        let name = role.to_possible_value().context("every role has a name")?;
        let mut command = Command::new(std::env::current_exe().context("find this binary")?);
        command.arg("--child").arg(name.get_name()).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn().context("start a child")?;
        let stdin = process.stdin.take().context("its stdin is a pipe")?;
        let stdout = BufReader::new(process.stdout.take().context("its stdout is a pipe")?);
        let mut child = Self { process, stdin, stdout, place: String::new() };
        child.place = child.line()?;
        Ok(child)
    }

    /// Where it serves, as a URL.
    pub(crate) fn url(&self) -> &str {
        &self.place
    }

    /// Where it serves, as an address.
    pub(crate) fn address(&self) -> anyhow::Result<SocketAddr> {
        self.place.parse().with_context(|| format!("not an address: {:?}", self.place))
    }

    /// How many operations it has applied.
    pub(crate) fn count(&mut self) -> anyhow::Result<u64> {
        let line = self.ask("")?;
        line.parse().with_context(|| format!("not a count: {line:?}"))
    }

    /// When each probe was applied that it was not asked about before, in microseconds since 1970.
    pub(crate) fn probed(&mut self) -> anyhow::Result<Vec<u64>> {
        let line = self.ask(fake::PROBED)?;
        let moments = line.split_whitespace().map(str::parse);
        moments.collect::<Result<_, _>>().with_context(|| format!("not moments: {line:?}"))
    }

    /// Has it take or refuse connections.
    pub(crate) fn set_serving(&mut self, serving: bool) -> anyhow::Result<()> {
        let word = if serving { fake::SERVE } else { fake::REFUSE };
        let answer = self.ask(word)?;
        ensure!(answer == word, "told to {word}, the child said {answer:?}");
        Ok(())
    }

    /// Has it reject every operation from now on.
    pub(crate) fn reject(&mut self) -> anyhow::Result<()> {
        let answer = self.ask(fake::REJECT)?;
        ensure!(answer == fake::REJECT, "told to {}, the child said {answer:?}", fake::REJECT);
        Ok(())
    }

    pub(crate) fn usage(&self) -> anyhow::Result<Usage> {
        Usage::of(self.process.id()).context("usage of a child")
    }

    fn ask(&mut self, line: &str) -> anyhow::Result<String> {
        writeln!(self.stdin, "{line}")?;
        self.line()
    }

    fn line(&mut self) -> anyhow::Result<String> {
        let mut line = String::new();
        self.stdout.read_line(&mut line).context("read from a child")?;
        Ok(line.trim_end().to_owned())
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // Both fail only for a process that is gone already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
