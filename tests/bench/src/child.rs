//! This binary's other lives: servers that must not share a process with the load, and jobs ([`crate::job`]).
//!
//! A child that serves prints where it serves, answers every line on its stdin with a count, and ends with its stdin, so that none
//! outlives its parent.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::SocketAddr,
    process::{ChildStdin, ChildStdout, Command, Stdio},
};

use anyhow::Context as _;
use clap::ValueEnum;
use fakes::algolia::{Detail, FakeAlgolia, Options};
use harness::{
    server::{accept_all, serve},
    usage::Usage,
};
use tokio::net::TcpListener;

use crate::{
    appenders::Appenders, drain::Drain, job, plain::Plain, reopen::Reopen, retention::Follow, rival::Rival,
};

/// What a child serves or does.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Role {
    /// gRPC, decoded in full and dropped.
    Decode,
    /// A fake Algolia that counts operations.
    Algolia,
    /// A job: appenders to a log.
    Log,
    /// A job: a plain file.
    Plain,
    /// A job: appenders to fjall.
    Fjall,
    /// A job: a reader of a whole log.
    Drain,
    /// A job: opening a log.
    Reopen,
    /// A job: a destination that follows.
    Follow,
}

/// A child's life.
pub(crate) fn main(role: Role) -> anyhow::Result<()> {
    match role {
        Role::Decode => tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(decode()),
        Role::Algolia => {
            tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(algolia())
        }
        Role::Log => job::main::<Appenders>(),
        Role::Plain => job::main::<Plain>(),
        Role::Fjall => job::main::<Rival>(),
        Role::Drain => job::main::<Drain>(),
        Role::Reopen => job::main::<Reopen>(),
        Role::Follow => job::main::<Follow>(),
    }
}

async fn decode() -> anyhow::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    say(listener.local_addr()?)?;
    tokio::spawn(serve(listener, accept_all()));
    answer(|| 0).await
}

async fn algolia() -> anyhow::Result<()> {
    let options = Options {
        app_id: "app".to_owned(),
        api_key: "key".to_owned(),
        detail: Detail::Counts,
        ..Options::default()
    };
    let fake = FakeAlgolia::start(options).await?;
    say(fake.url())?;
    answer(move || fake.operation_count()).await
}

fn say(word: impl std::fmt::Display) -> anyhow::Result<()> {
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{word}")?;
    Ok(stdout.flush()?)
}

/// Answers until stdin ends, on a thread of its own: reading it blocks.
async fn answer(count: impl Fn() -> u64 + Send + 'static) -> anyhow::Result<()> {
    let answered = tokio::task::spawn_blocking(move || {
        std::io::stdin().lines().try_for_each(|line| line.map_err(Into::into).and_then(|_| say(count())))
    });
    answered.await?
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
        writeln!(self.stdin)?;
        let line = self.line()?;
        line.parse().with_context(|| format!("not a count: {line:?}"))
    }

    pub(crate) fn usage(&self) -> anyhow::Result<Usage> {
        Usage::of(self.process.id()).context("usage of a child")
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
