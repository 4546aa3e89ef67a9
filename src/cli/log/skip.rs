//! `log skip`: gives up what is rotten, after showing what that means.
//!
//! The dead letters are written first: if it ends in between, doing it again ends in the same state, and no reader
//! passes over anything before.

use std::io;

use indicatif::{HumanBytes, HumanCount};
use plugin_api::identity::Position;

use super::{Outcome, Session, dump::position, progress::Progress};
use crate::{
    cli::{
        output::{BAD, GOOD, NAME, styled},
        text,
    },
    dead_letter::{Cause, Range, record_range, store_path},
    log::inspect::{Rotten, Sought},
};

/// Give up records that cannot be read any more, so that delivery goes on behind them.
///
/// The agent never does this on its own: where its log is rotten, whoever needs what lies there waits until the segment
/// is restored from a copy, or until you give up what is broken. Every destination that still needed it gets the range
/// into its dead letters (cause `rotten`), and its records count as dead-lettered. No byte of the segment is changed.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  sync-agent log skip                 what is rotten, and where
  sync-agent log skip 0:1234          show what would be given up there, and ask
  sync-agent log skip 0:1234 --yes    give it up

A range once given up stays so, even if the segment is restored later.

Exit codes:
  0  it is given up, or was before; without a position: nothing is rotten
  1  nothing can be given up there, or it could not be done
  2  it was not confirmed, the command line is wrong or the config has errors
  4  without a position: something is rotten")]
pub(super) struct Skip {
    /// A position in what is to be given up (0:1234, or 1234)
    #[arg(value_name = "POSITION", value_parser = position)]
    position: Option<Position>,
    /// Do not ask
    #[arg(long, requires = "position")]
    yes: bool,
}

impl Skip {
    pub(super) fn run(&self, session: &mut Session<'_>) -> anyhow::Result<Outcome> {
        let Some(position) = self.position else { return list(session) };
        let rotten = match session.log.seek_rotten(position)? {
            Sought::Rotten(rotten) => rotten,
            Sought::GivenUp => {
                writeln!(session.out, "{position} was given up before; nothing to do")?;
                return Ok(Outcome::Done);
            }
            Sought::Not(what) => {
                let hint = "`sync-agent log skip` shows what is rotten";
                writeln!(session.errors, "nothing is given up: {what}; {hint}")?;
                return Ok(Outcome::CannotSkip);
            }
        };
        rotten.iter().try_for_each(|rotten| show(session, rotten))?;
        session.out.flush()?;
        if !self.yes && !confirmed(session, position)? {
            return Ok(Outcome::Unconfirmed);
        }
        for rotten in &rotten {
            file(session, rotten)?;
        }
        session.log.give_up(&rotten, session.now)?;
        writeln!(session.out, "{}; start the agent", styled(GOOD, "given up"))?;
        Ok(Outcome::Done)
    }
}

/// Everything that is rotten.
fn list(session: &mut Session<'_>) -> anyhow::Result<Outcome> {
    let progress = Progress::new(session.log.bytes());
    let rotten = session.log.rotten(&mut |bytes| progress.read(bytes));
    progress.finish();
    let rotten = rotten?;
    if rotten.is_empty() {
        writeln!(session.out, "nothing is rotten that could be given up")?;
        return Ok(Outcome::Done);
    }
    rotten.iter().try_for_each(|rotten| show(session, rotten))?;
    writeln!(
        session.out,
        "\nrestore these segments from a copy of the log, or name a position: `sync-agent log skip {}`",
        rotten[0].positions().0
    )?;
    Ok(Outcome::Grave)
}

/// What would be given up, and whose it is.
fn show(session: &mut Session<'_>, rotten: &Rotten) -> io::Result<()> {
    let file = rotten.path.strip_prefix(&session.dir).unwrap_or(&rotten.path).display();
    let ((from_at, to_at), (from, to)) = (rotten.bytes(), rotten.positions());
    let out = &mut *session.out;
    writeln!(
        out,
        "{} {file}, byte {from_at} to before {to_at} ({}): {}",
        styled(BAD, "rotten:"),
        HumanBytes(to_at - from_at),
        text::printable(&rotten.what)
    )?;
    if rotten.records() == 0 {
        return writeln!(
            out,
            "  the segment's header; no record is lost with it, the next segment says what it held"
        );
    }
    writeln!(out, "  {from} to before {to}: {} records", HumanCount(rotten.records()))?;
    let needs = session.log.who_needs(rotten);
    if needs.is_empty() {
        writeln!(out, "  every destination has them, or has no use for them")?;
    }
    for (destination, _, records) in needs {
        let name = styled(NAME, text::printable(&destination));
        writeln!(
            out,
            "  {name} has not received {} of them: they go into its dead letters",
            HumanCount(records)
        )?;
    }
    Ok(())
}

/// Asks whoever sits at the terminal.
fn confirmed(session: &mut Session<'_>, position: Position) -> io::Result<bool> {
    let Some(terminal) = &mut session.terminal else {
        writeln!(session.errors, "nothing is given up: confirm with --yes")?;
        return Ok(false);
    };
    write!(session.errors, "Type `yes` to give up what cannot be read at {position}: ")?;
    session.errors.flush()?;
    let mut answer = String::new();
    terminal.read_line(&mut answer)?;
    if answer.trim() == "yes" {
        return Ok(true);
    }
    writeln!(session.errors, "nothing is given up")?;
    Ok(false)
}

/// Puts the range into the dead letters of everyone who needs it.
fn file(session: &Session<'_>, rotten: &Rotten) -> anyhow::Result<()> {
    for (destination, first, records) in session.log.who_needs(rotten) {
        let range = Range {
            log_id: session.log.log_id(),
            first,
            end: rotten.positions().1,
            index: None,
            records,
            cause: Cause::Rotten,
            message: session.log.told(rotten, first),
            recorded_at: session.now,
        };
        record_range(&store_path(session.data_dir, &destination), &range)?;
    }
    Ok(())
}
