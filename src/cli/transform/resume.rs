//! `resume`: lets a suspended transform of a running agent run again.

use std::process::ExitCode;

use crate::{
    admin::{Client, TransformReport},
    cli::{
        command::block_on,
        output::{NAME, styled},
        place::Place,
        remote,
        text::printable,
    },
};

/// Let a transform run again on every index for which it is suspended.
///
/// A transform that burns too much CPU time on an index is suspended there: its records are dead-lettered at once. A new
/// module resumes it by itself; so do ten records in a row that come to their end, of which one a second is tried.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  sync-agent transform resume redact --config agent.toml

Exit codes:
  0  it runs
  1  it could not be done; the text says why
  2  the command line is wrong, or the config does not tell where the data is")]
pub(super) struct Resume {
    #[command(flatten)]
    place: Place,
    /// The transform, as the config names it
    #[arg(value_name = "NAME")]
    name: String,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl Resume {
    pub(super) fn run(&self) -> anyhow::Result<ExitCode> {
        self.place.with_directory(|data_dir| block_on(self.resume(&Client::new(data_dir))))
    }

    async fn resume(&self, client: &Client) -> anyhow::Result<ExitCode> {
        remote::tell(client.resume_transform(&self.name).await, self.json, words, remote::success)
    }
}

fn words(report: &TransformReport) -> String {
    let name = styled(NAME, printable(&report.transform));
    match report.indexes.as_slice() {
        [] => format!("{name} was suspended nowhere.\n"),
        indexes => {
            let indexes: Vec<_> = indexes.iter().map(|index| printable(index)).collect();
            format!("{name} runs again on {}.\n", indexes.join(", "))
        }
    }
}
