//! `dead-letters show`: everything that is known of one letter.

use std::io::{self, Write};

use super::{FAILURE, HEADING, LABEL, Outcome, json};
use crate::{
    cli::text,
    dead_letter::{Change, Filed, LetterId, Stage, View},
    transform::Digest,
};

/// One dead letter with everything that is known of it.
#[derive(Debug, clap::Args)]
pub(super) struct Show {
    /// The letter's ID, as `list` prints it
    #[arg(value_parser = clap::value_parser!(u64).range(..=i64::MAX as u64))]
    id: u64,
    /// The destination that it belongs to; needed where several have a letter of this ID
    #[arg(long, value_name = "NAME")]
    pub(super) destination: Option<String>,
    /// Print one line of JSON
    #[arg(long)]
    pub(super) json: bool,
}

pub(super) fn execute(
    show: &Show,
    views: &[(String, View)],
    out: &mut dyn Write,
    errors: &mut dyn Write,
) -> anyhow::Result<Outcome> {
    let mut found = Vec::new();
    for (destination, view) in views {
        found.extend(view.get(LetterId(show.id))?.map(|filed| (destination, filed)));
    }
    match found.as_slice() {
        [] => {
            writeln!(
                errors,
                "no dead letter {}; `sync-agent dead-letters list` shows what there is",
                show.id
            )?;
            Ok(Outcome::NothingFound)
        }
        [(destination, filed)] if show.json => {
            json::write(out, destination, filed, json::Data::Present)?;
            Ok(Outcome::Done)
        }
        [(destination, filed)] => {
            write_letter(out, destination, filed)?;
            Ok(Outcome::Done)
        }
        several => {
            let names: Vec<&str> = several.iter().map(|(destination, _)| destination.as_str()).collect();
            let names = names.join(", ");
            writeln!(
                errors,
                "several destinations have a dead letter {}: choose with --destination: {names}",
                show.id
            )?;
            Ok(Outcome::Ambiguous)
        }
    }
}

fn write_letter(out: &mut dyn Write, destination: &str, filed: &Filed) -> io::Result<()> {
    let letter = &filed.letter;
    let stale = if filed.stale { ", stale: something newer of its object was delivered since" } else { "" };
    let stale = if filed.purged {
        ", purged: its object was deleted since, and with it the data here"
    } else {
        stale
    };
    writeln!(out, "{HEADING}dead letter {} of {destination}{HEADING:#}{stale}", filed.id)?;
    let attempts = match (letter.stage, letter.attempts) {
        (Stage::Transform | Stage::Admit, _) => "never sent".into(),
        (Stage::Delivery, 1) => "sent once".into(),
        (Stage::Delivery, attempts) => format!("sent {attempts} times"),
    };
    let source = &letter.source;
    let fields = [
        ("stage", format!("{}, {attempts}", letter.stage.as_str())),
        ("accepted", text::time(source.accepted_at)),
        ("dead-lettered", text::time(letter.dead_lettered_at)),
        ("request id", source.request_id.to_string()),
        ("log id", source.log_id.to_string()),
        ("position", format!("{}, operation {}", source.position, source.number)),
        ("version", letter.version.to_string()),
    ];
    writeln!(
        out,
        "{LABEL}{:13}{LABEL:#} {FAILURE}{}{FAILURE:#}",
        "reason",
        text::printable(&letter.reason.to_string())
    )?;
    let caller = source.caller.as_deref().map(|caller| ("caller", text::printable(caller).to_string()));
    let module = letter.module.map(|module| ("module", Digest(module).to_string()));
    for (label, value) in fields.into_iter().chain(caller).chain(module) {
        writeln!(out, "{LABEL}{label:13}{LABEL:#} {value}")?;
    }
    write_change(out, "record", &letter.record)?;
    match (&letter.operation, letter.stage) {
        (Some(operation), _) => write_change(out, "operation", operation),
        (None, Stage::Transform) => writeln!(out, "\n{LABEL}no operation: the transform failed{LABEL:#}"),
        (None, Stage::Admit | Stage::Delivery) => {
            writeln!(out, "\n{LABEL}the operation is the record{LABEL:#}")
        }
    }
}

fn write_change(out: &mut dyn Write, name: &str, change: &Change) -> io::Result<()> {
    let Change { action, key, body } = change;
    let (index, object_id) = (text::printable(&key.index), text::printable(&key.object_id));
    writeln!(out, "\n{HEADING}{name}{HEADING:#}: {} {object_id} in {index}", action.as_str())?;
    if !body.is_empty() {
        writeln!(out, "{}", text::indented(&String::from_utf8_lossy(body)))?;
    }
    Ok(())
}
