//! `sync-agent transform`: the data team's tools, from an empty folder to a module that can go live.
//!
//! `new` writes the `kit` into a project, `build` compiles it. `inspect`, `test` and `bench` run a module as the agent
//! would: the `subject` is that module with its config; `lines` reads records and says what they became, and `diff` what
//! differs. `resume` asks a running agent.
//!
//! Whatever comes from a record or a module is escaped before it reaches a terminal.

mod kit;
mod new;

mod build;

mod subject;

mod inspect;

mod diff;
mod lines;
mod test;
mod trial;

mod bench;

mod resume;

#[cfg(test)]
mod tests;

use std::{
    io::{self, Write},
    process::ExitCode,
};

pub(super) use diff::change;
pub(super) use lines::{Becomes, Operation};

/// What all of the commands have to say at the end of their help.
const EXIT_CODES: &str = "\
Exit codes:
  0  as it should be
  1  not so: it does not build or load, a record fails, or something differs
  2  the command line is wrong, or a file cannot be read or written";

/// Write, test and measure transforms.
///
/// A transform is a WebAssembly module that sees each record of an index before any destination does: it changes it,
/// drops it, or makes several of it. A bad record costs itself alone, a bad module is refused, and a good one goes live
/// within seconds after its file was replaced, without a restart.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
From nothing to a module:
  sync-agent transform new my-transform && cd my-transform
  cargo test                                # on the fixtures, natively
  sync-agent transform build
  sync-agent transform test target/wasm32-wasip2/release/my_transform.wasm \\
    --input fixtures/input.ndjson --expect fixtures/expect.ndjson

Then name it in the agent's config, and at an index:
  [transforms.my-transform]
  path = \"my_transform.wasm\"
  [[indexes]]
  match = \"products\"
  destinations = [\"search\"]
  transform = \"my-transform\"")]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    #[command(flatten)]
    OnModule(OnModule),
    Resume(resume::Resume),
}

/// What needs no agent.
#[derive(Debug, clap::Subcommand)]
enum OnModule {
    New(new::New),
    Build(build::Build),
    Inspect(inspect::Inspect),
    Test(test::Test),
    Bench(bench::Bench),
}

/// How a command ended, as an exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Done = 0,
    Failed = 1,
    Unusable = 2,
}

/// Where a command writes.
struct Streams<'a> {
    out: &'a mut dyn Write,
    errors: &'a mut dyn Write,
}

/// Carries the command out. A reader of our output that goes away is no error.
///
/// # Errors
/// If the output cannot be written, the machine cannot run WebAssembly, or no agent answers.
pub fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let command = match &arguments.command {
        Command::OnModule(command) => command,
        Command::Resume(resume) => return resume.run(),
    };
    let mut out = io::BufWriter::new(anstream::stdout());
    let mut errors = anstream::stderr();
    let mut streams = Streams { out: &mut out, errors: &mut errors };
    match execute(command, &mut streams) {
        Err(error) if is_broken_pipe(&error) => Ok(ExitCode::SUCCESS),
        Err(error) => Err(error),
        Ok(outcome) => Ok(ExitCode::from(outcome as u8)),
    }
}

fn execute(command: &OnModule, streams: &mut Streams<'_>) -> anyhow::Result<Outcome> {
    let done = match command {
        OnModule::New(new) => new.run(streams),
        OnModule::Build(build) => build.run(streams),
        OnModule::Inspect(inspect) => inspect.run(streams),
        OnModule::Test(test) => test.run(streams),
        OnModule::Bench(bench) => bench.run(streams),
    };
    let outcome = match done {
        Err(error) => match error.downcast::<Unusable>() {
            Ok(Unusable(words)) => {
                writeln!(streams.errors, "{words}")?;
                Outcome::Unusable
            }
            Err(error) => return Err(error),
        },
        Ok(outcome) => outcome,
    };
    streams.out.flush()?;
    Ok(outcome)
}

/// What was given cannot be used; it says why.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Unusable(String);

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}
