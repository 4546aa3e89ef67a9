//! The proof: what the agent says became of every record, and whether the destinations really hold it.
//!
//! The agent's numbers come from its lanes; what a destination holds is counted without it: the files are read back,
//! the fakes are asked for their objects, the dead letters are read from their store.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    io::{BufRead, BufReader},
    path::Path,
};

use anyhow::Context;
use plugin_api::identity::Position;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    plan::{INDEX, Plan},
    play::{Addition, Outage, Played},
    stage::{ALGOLIA, COPY, ELASTIC, Stage},
};
use crate::{
    cli::text::grouped,
    dead_letter::{Filter, Order, View, store_path},
    delivery::Snapshot,
};

/// See the module's text.
#[derive(Debug, Serialize)]
pub(super) struct Proof {
    /// Every account is balanced and every check holds.
    pub(super) holds: bool,
    /// Records that the agent acknowledged to the producer.
    pub(super) acknowledged: u64,
    pub(super) seconds: f64,
    pub(super) records_per_second: f64,
    pub(super) accounts: Vec<Account>,
    pub(super) checks: Vec<Check>,
    pub(super) transformed: Transformed,
    pub(super) dead_letters: Vec<DeadLetter>,
}

/// What the agent says became of a destination's records: accepted = all the others.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Account {
    pub(super) destination: String,
    /// The equation holds, nothing is pending, and all that was acknowledged was accepted.
    pub(super) holds: bool,
    pub(super) accepted: u64,
    pub(super) written: u64,
    pub(super) superseded: u64,
    pub(super) skipped: u64,
    pub(super) dead_lettered: u64,
    pub(super) pending: u64,
}

/// A claim with its numbers, and whether it is true.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Check {
    pub(super) holds: bool,
    pub(super) claim: String,
}

/// A part of the first product, before the transform and after it.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Transformed {
    pub(super) object_id: String,
    pub(super) sent: Value,
    /// At Algolia.
    pub(super) arrived: Value,
}

/// A letter as its store has it.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct DeadLetter {
    pub(super) destination: String,
    pub(super) id: u64,
    pub(super) object_id: String,
    pub(super) reason: String,
    pub(super) attempts: u32,
}

impl Proof {
    /// Reads everything and judges it.
    pub(super) async fn take(stage: &Stage, plan: Plan, played: Played) -> anyhow::Result<Self> {
        let end = stage.log().end;
        let lanes = stage.agent.lanes();
        let accounts: Vec<_> =
            lanes.iter().map(|lane| Account::new(lane, end, played.acknowledged)).collect();
        let names: Vec<_> = lanes.iter().map(|lane| lane.destination.to_string()).collect();
        let (files_dir, copy_dir, data_dir) = (stage.files_dir(), stage.copy_dir(), stage.data_dir());
        let (objects, documents) = (stage.algolia.objects(INDEX), stage.elasticsearch.objects(INDEX));
        // Reads tens of thousands of lines and compares as many objects.
        let judge = move || {
            let dead_letters = read_letters(&data_dir, &names)?;
            let journal = Journal::read(&files_dir)?;
            // Without it, nothing is there.
            let copy = if copy_dir.exists() { Journal::read(&copy_dir)? } else { Journal::default() };
            let checks = vec![
                check_files(&journal, played.acknowledged),
                check_objects(ALGOLIA, &objects, &plan.objects()),
                check_objects(ELASTIC, &documents, &plan.documents()),
                check_transform(plan, &journal, &[&objects, &documents]),
                check_letters(&dead_letters, plan),
                check_outage(played.outage),
                check_copy(&copy, played.acknowledged, played.addition),
            ];
            anyhow::Ok((checks, transformed(plan, &objects), dead_letters))
        };
        let (checks, transformed, dead_letters) =
            tokio::task::spawn_blocking(judge).await.context("the proof stopped")??;
        let seconds = played.took.as_secs_f64();
        Ok(Self {
            holds: played.acknowledged == plan.records()
                && accounts.len() == 4
                && accounts.iter().all(|account| account.holds)
                && checks.iter().all(|check| check.holds),
            acknowledged: played.acknowledged,
            seconds: (seconds * 1000.0).round() / 1000.0,
            records_per_second: (played.acknowledged as f64 / seconds.max(1e-9)).round(),
            accounts,
            checks,
            transformed,
            dead_letters,
        })
    }
}

impl Account {
    fn new(lane: &Snapshot, end: Position, acknowledged: u64) -> Self {
        let (accepted, pending, totals) = (lane.accepted(end), lane.pending(end), lane.totals);
        let settled = totals.written + totals.superseded + totals.skipped + totals.dead_lettered;
        Self {
            destination: lane.destination.to_string(),
            holds: accepted == acknowledged && accepted == settled + pending && pending == 0,
            accepted,
            written: totals.written,
            superseded: totals.superseded,
            skipped: totals.skipped,
            dead_lettered: totals.dead_lettered,
            pending,
        }
    }
}

/// What the file destination's files hold.
#[derive(Debug, Default)]
struct Journal {
    lines: u64,
    bytes: u64,
    /// Lines with an address.
    addresses: u64,
    /// Different records, by their number in the log.
    records: BTreeSet<u64>,
}

#[derive(Deserialize)]
struct Line {
    position: LinePosition,
}

#[derive(Deserialize)]
struct LinePosition {
    offset: u64,
}

impl Journal {
    fn read(dir: &Path) -> anyhow::Result<Self> {
        let mut journal = Self::default();
        for entry in fs::read_dir(dir).with_context(|| dir.display().to_string())? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "ndjson") {
                journal.read_file(&path).with_context(|| path.display().to_string())?;
            }
        }
        Ok(journal)
    }

    fn read_file(&mut self, path: &Path) -> anyhow::Result<()> {
        for line in BufReader::with_capacity(1 << 20, File::open(path)?).split(b'\n') {
            let line = line?;
            let Line { position } = serde_json::from_slice(&line)?;
            self.lines += 1;
            self.bytes += line.len() as u64 + 1;
            self.addresses += u64::from(has_address(&line));
            self.records.insert(position.offset);
        }
        Ok(())
    }
}

/// The log is new, so its records are numbered from 0.
fn check_files(journal: &Journal, records: u64) -> Check {
    let found = journal.records.len() as u64;
    let repeated = match journal.lines - found {
        0 => String::new(),
        repeated => format!(", {} of them twice", grouped(repeated)),
    };
    Check {
        holds: journal.records.iter().copied().eq(0..records),
        claim: format!(
            "files: {} of {} records found when read back ({:.1} MB{repeated})",
            grouped(found),
            grouped(records),
            journal.bytes as f64 / 1e6,
        ),
    }
}

/// All of them, attribute by attribute: an update that was lost, or came before its save, shows here.
fn check_objects(
    destination: &str,
    objects: &BTreeMap<String, Value>,
    expected: &BTreeMap<String, Value>,
) -> Check {
    let right = expected.iter().filter(|(id, object)| objects.get(*id) == Some(object)).count();
    let strange = objects.keys().filter(|id| !expected.contains_key(*id)).count();
    let mut claim = format!(
        "{destination}: {} of {} objects there, every attribute as last sent",
        grouped(right as u64),
        grouped(expected.len() as u64),
    );
    if strange > 0 {
        claim += &format!("; {} that should not be there", grouped(strange as u64));
    }
    Check { holds: right == expected.len() && strange == 0, claim }
}

/// What must not arrive anywhere is looked for by its looks, not by the names that the transform was told.
fn check_transform(plan: Plan, journal: &Journal, stored: &[&BTreeMap<String, Value>]) -> Check {
    let objects = stored.iter().flat_map(|objects| objects.values());
    let found = objects.filter(|object| has_address(object.to_string().as_bytes())).count() as u64;
    let claim = format!(
        "transform: of {} e-mail addresses sent, {} in the files and {} in objects",
        grouped(plan.with_address()),
        grouped(journal.addresses),
        grouped(found),
    );
    Check { holds: journal.addresses == 0 && found == 0, claim }
}

/// Nothing else in a product has an at sign.
fn has_address(text: &[u8]) -> bool {
    memchr::memchr(b'@', text).is_some()
}

fn transformed(plan: Plan, objects: &BTreeMap<String, Value>) -> Transformed {
    let part = |object: &Value| object.get("supplier").cloned().unwrap_or_default();
    let (object_id, sent) = plan.first();
    let arrived = objects.get(&object_id).map(part).unwrap_or_default();
    Transformed { sent: part(&sent), arrived, object_id }
}

fn check_letters(letters: &[DeadLetter], plan: Plan) -> Check {
    let poison = plan.poison();
    let holds = matches!(letters, [letter] if letter.destination == ALGOLIA && letter.object_id == poison);
    let found = letters.len();
    let claim = format!("dead letters: {found} found; the poison record {poison}, and no other");
    Check { holds, claim }
}

/// G5: what fails holds up nobody else.
fn check_outage(outage: Outage) -> Check {
    let mut claim = format!(
        "outage: in {:.1} s without elastic {} accepted, {} written to files, {} to algolia",
        outage.took.as_secs_f64(),
        grouped(outage.acknowledged),
        grouped(outage.written_to_files),
        grouped(outage.written_to_algolia),
    );
    if !outage.breaker_opened {
        claim += "; its breaker never opened";
    }
    let went_on = outage.acknowledged > 0 && outage.written_to_files > 0 && outage.written_to_algolia > 0;
    Check { holds: outage.breaker_opened && went_on && outage.waiting > 0, claim }
}

/// A destination that is added to a running agent gets what the log still has, through the transform.
fn check_copy(copy: &Journal, records: u64, addition: Addition) -> Check {
    let claim = format!(
        "{COPY}: added to the config while it ran, {} of {} records there {:.1} s later",
        grouped(copy.records.len() as u64),
        grouped(records),
        addition.took.as_secs_f64(),
    );
    Check { holds: copy.records.iter().copied().eq(0..records) && copy.addresses == 0, claim }
}

fn read_letters(data_dir: &Path, destinations: &[String]) -> anyhow::Result<Vec<DeadLetter>> {
    let mut letters = Vec::new();
    for destination in destinations {
        let view = View::open(&store_path(data_dir, destination))?;
        for filed in view.letters(Filter::default(), Order::OldestFirst) {
            let filed = filed?;
            letters.push(DeadLetter {
                destination: destination.clone(),
                id: filed.id.0,
                object_id: filed.letter.record.key.object_id.to_string(),
                reason: filed.letter.reason.to_string(),
                attempts: filed.letter.attempts,
            });
        }
    }
    Ok(letters)
}
