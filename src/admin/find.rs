//! Where an object is: reads all that the log holds, and what the dead letters say.
//!
//! By what producers name it: where a transform chooses another id, only dead letters tell of that.

use std::{
    collections::{BTreeMap, HashSet, VecDeque},
    path::PathBuf,
    sync::Arc,
};

use memchr::memmem;
use plugin_api::identity::Position;
use tokio::task::spawn_blocking;

use super::{
    error::ControlError,
    reports::{Arrival, FoundChange, FoundLetter, FoundReport},
    requests::Find,
    time::Time,
};
use crate::{
    dead_letter::{Filed, Filter, Order, StoreError, View},
    log::interface::{Frame, Gap, Log, ReadError},
    record::{payload_index, read_payload},
};

/// Changes that are told, the newest.
const CHANGES_MAX: usize = 100;
/// Letters that are told for each destination, the newest.
const LETTERS_MAX: u64 = 100;

/// A destination whose records are looked at.
#[derive(Clone, Debug)]
pub struct Searched {
    /// Its name.
    pub destination: String,
    /// The first record that was to reach it.
    pub since: Position,
    /// Every record before this one is settled.
    pub delivered: Position,
    /// Where its dead letters lie; there need not be any.
    pub store: PathBuf,
}

/// Reads the log from its start to its end as that is now, and every destination's dead letters.
///
/// # Errors
/// If the log is closed, or the system cannot read it. What is rotten is told in the report.
pub async fn find(
    log: &dyn Log,
    destinations: Vec<Searched>,
    asked: &Find,
) -> Result<FoundReport, ControlError> {
    let mut scan = Scan::new(log, asked);
    scan.run().await?;
    let mut unread = scan.unread;
    let mut letters = Vec::new();
    let mut watched = Vec::new();
    for searched in destinations {
        let gaps = match log.gaps(&searched.destination).await {
            Ok(gaps) => gaps,
            Err(error) => {
                unread.push(format!("gaps of {}: {error}", searched.destination));
                Vec::new()
            }
        };
        let found = match letters_of(searched.store.clone(), asked).await {
            Ok(found) => found,
            Err(error) => {
                unread.push(format!("dead letters of {}: {error}", searched.destination));
                Vec::new()
            }
        };
        let here = found.iter().filter(|filed| filed.letter.source.log_id == log.id());
        let dead_lettered = here.map(|filed| filed.letter.source.position).collect();
        letters.extend(found.iter().map(|filed| letter(&searched.destination, filed)));
        watched.push(Watched { searched, gaps, dead_lettered });
    }
    let change = |mut change: FoundChange| {
        let arrivals = watched.iter().filter_map(|watched| watched.arrival(change.position));
        change.destinations = arrivals.collect();
        change
    };
    Ok(FoundReport {
        index: asked.index.clone(),
        object_id: asked.object_id.clone(),
        oldest: scan.oldest,
        end: scan.end,
        changes_total: scan.total,
        changes: scan.changes.into_iter().map(change).collect(),
        letters,
        unread,
    })
}

/// A destination with what it did not receive.
struct Watched {
    searched: Searched,
    gaps: Vec<Gap>,
    dead_lettered: HashSet<Position>,
}

impl Watched {
    /// What became of the change at that position; `None` where it was never to reach this destination.
    fn arrival(&self, at: Position) -> Option<(String, Arrival)> {
        let Self { searched, gaps, dead_lettered } = self;
        let missed = |gap: &Gap| gap.from <= at && at < gap.to;
        let arrival = match at {
            at if dead_lettered.contains(&at) => Arrival::DeadLettered,
            at if at < searched.since => return None,
            at if at >= searched.delivered => Arrival::Pending,
            _ if gaps.iter().any(missed) => Arrival::Missed,
            _ => Arrival::Delivered,
        };
        Some((searched.destination.clone(), arrival))
    }
}

/// The way through the log.
struct Scan<'a> {
    log: &'a dyn Log,
    asked: &'a Find,
    object_id: memmem::Finder<'a>,
    oldest: Position,
    at: Position,
    end: Position,
    total: u64,
    changes: VecDeque<FoundChange>,
    unread: Vec<String>,
}

impl<'a> Scan<'a> {
    fn new(log: &'a dyn Log, asked: &'a Find) -> Self {
        let (status, object_id) = (log.status(), memmem::Finder::new(&asked.object_id));
        let (oldest, end) = (status.start, status.end);
        Self {
            log,
            asked,
            object_id,
            oldest,
            at: oldest,
            end,
            total: 0,
            changes: VecDeque::new(),
            unread: Vec::new(),
        }
    }

    async fn run(&mut self) -> Result<(), ControlError> {
        while self.at < self.end {
            match self.read().await {
                Ok(()) => {}
                // Given back to the disk meanwhile.
                Err(ReadError::BelowStart { start, .. }) if start > self.at => {
                    (self.oldest, self.at) = (start, start);
                    self.changes.retain(|change| change.position >= start);
                }
                Err(error @ ReadError::GivenUp { to, .. }) if to > self.at => {
                    self.unread.push(error.to_string());
                    self.at = to;
                }
                Err(
                    error @ (ReadError::Rotten { .. }
                    | ReadError::BelowStart { .. }
                    | ReadError::GivenUp { .. }),
                ) => {
                    self.unread.push(format!("{error}; nothing after that was looked at"));
                    self.end = self.at;
                }
                Err(error @ (ReadError::Io { .. } | ReadError::Closed)) => {
                    let advice = "see to the disk, or start the agent again, then ask again";
                    return Err(ControlError::failed(format!("the log cannot be read: {error}"), advice));
                }
            }
        }
        Ok(())
    }

    /// As far as one reader comes.
    async fn read(&mut self) -> Result<(), ReadError> {
        let mut reader = self.log.read_from(self.at).await?;
        while self.at < self.end {
            for frame in reader.next().await? {
                self.look_at(&frame);
                self.at = frame.position.plus(frame.records.into());
            }
        }
        Ok(())
    }

    fn look_at(&mut self, frame: &Frame) {
        let of_index = payload_index(&frame.payload).is_ok_and(|index| index == self.asked.index);
        // Reading the records costs more than a look whether the id is in there at all.
        if frame.position >= self.end || !of_index || self.object_id.find(&frame.payload).is_none() {
            return;
        }
        let records = match read_payload(&frame.payload, frame.records) {
            Ok(records) => records,
            Err(error) => return self.unread.push(format!("request {}: {error}", frame.request_id)),
        };
        for (number, record) in (0..).zip(records) {
            if *record.object_id != *self.asked.object_id {
                continue;
            }
            self.total += 1;
            if self.changes.len() == CHANGES_MAX {
                self.changes.pop_front();
            }
            self.changes.push_back(FoundChange {
                position: frame.position.plus(number),
                action: record.action.as_str().to_owned(),
                request_id: frame.request_id.to_string(),
                version: frame.version.0 + number,
                accepted_at: Time(frame.accepted_at),
                destinations: BTreeMap::new(),
            });
        }
    }
}

/// The newest letters of the object, oldest first, without their bodies.
async fn letters_of(store: PathBuf, asked: &Find) -> Result<Vec<Filed>, StoreError> {
    let (index, object_id): (Arc<str>, Arc<str>) =
        (asked.index.as_str().into(), asked.object_id.as_str().into());
    let closed = StoreError::Closed { path: store.clone() };
    let read = move || {
        if !store.exists() {
            return Ok(Vec::new());
        }
        let view = View::open(&store)?;
        let limit = Some(LETTERS_MAX);
        let filter = Filter { index: Some(index), object: Some(object_id), limit, ..Filter::default() };
        let mut found = Vec::new();
        for filed in view.letters(filter, Order::NewestFirst) {
            let mut filed = filed?;
            filed.letter.record.body.clear();
            filed.letter.operation.iter_mut().for_each(|operation| operation.body.clear());
            found.push(filed);
        }
        found.reverse();
        Ok(found)
    };
    spawn_blocking(read).await.unwrap_or(Err(closed))
}

fn letter(destination: &str, filed: &Filed) -> FoundLetter {
    let letter = &filed.letter;
    FoundLetter {
        destination: destination.to_owned(),
        id: filed.id.0,
        stale: filed.stale,
        position: letter.source.position,
        request_id: letter.source.request_id.to_string(),
        reason: letter.reason.to_string(),
        dead_lettered_at: Time(letter.dead_lettered_at),
    }
}
