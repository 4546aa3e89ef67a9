//! What a simulation went through, so that a run that misses a kind of event is seen to prove nothing.

use std::{
    collections::BTreeMap,
    fmt,
    path::{Component, Path},
};

use super::disk::{Fault, Struck};
use crate::log::tests::faulty::Call;

/// Counts by name.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    events: BTreeMap<Event, u64>,
    /// By fault, operation, and what kind of file it was for.
    struck: BTreeMap<(&'static str, String), u64>,
}

/// What must have happened at least once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Event {
    /// The power went.
    Cut,
    /// It went again before the log was open.
    CutWhileOpening,
    /// It went while nothing was being done.
    CutAtRest,
    /// It went after a kill, with nothing in between.
    CutAfterKill,
    Killed,
    /// An operation failed and the process went on.
    Failed,
    Closed,
    Reopened,
    /// Bytes of a torn write were found.
    TornTail,
    /// Half-made files were found.
    Leftover,
    /// What nobody had an answer for was there.
    UnansweredFound,
    /// What nobody had an answer for was gone.
    UnansweredGone,
    Group,
    Appended,
    /// Refused for want of space.
    Full,
    /// Refused after a failure.
    Poisoned,
    Rolled,
    GivenBack,
    Read,
    ReadAtTheTail,
    Subscribed,
    Committed,
    /// A cursor that nobody had an answer for was there.
    CommitInDoubtFound,
    /// A destination was left behind.
    Detached,
    /// A destination missed records while it was not configured.
    Removed,
    GapGrown,
    GapClosed,
    ResumedAtTheStart,
    ResumedAtTheEnd,
}

const EVENTS: [Event; 29] = [
    Event::Cut,
    Event::CutWhileOpening,
    Event::CutAtRest,
    Event::CutAfterKill,
    Event::Killed,
    Event::Failed,
    Event::Closed,
    Event::Reopened,
    Event::TornTail,
    Event::Leftover,
    Event::UnansweredFound,
    Event::UnansweredGone,
    Event::Group,
    Event::Appended,
    Event::Full,
    Event::Poisoned,
    Event::Rolled,
    Event::GivenBack,
    Event::Read,
    Event::ReadAtTheTail,
    Event::Subscribed,
    Event::Committed,
    Event::CommitInDoubtFound,
    Event::Detached,
    Event::Removed,
    Event::GapGrown,
    Event::GapClosed,
    Event::ResumedAtTheStart,
    Event::ResumedAtTheEnd,
];

/// So many cuts interrupt every operation.
const CUTS_FOR_ALL: u64 = 20_000;

/// The operations that a cut must have interrupted.
const OPERATIONS: [&str; 27] = [
    "create directory",
    "sync directory",
    "lock lock",
    "create key",
    "write key",
    "sync data key",
    "rename key",
    "write destinations",
    "sync data destinations",
    "rename destinations",
    "write identity",
    "sync data identity",
    "rename identity",
    "create segment",
    "allocate segment",
    "write segment",
    "truncate segment",
    "sync data segment",
    "sync all segment",
    "rename segment",
    "remove segment",
    "write cursor",
    "sync data cursor",
    "rename cursor",
    "write gaps",
    "sync data gaps",
    "rename gaps",
];

impl Tally {
    pub(super) fn count(&mut self, event: Event) {
        self.count_many(event, 1);
    }

    pub(super) fn count_many(&mut self, event: Event, many: u64) {
        *self.events.entry(event).or_default() += many;
    }

    pub(super) fn strike(&mut self, struck: &Struck) {
        let fault = match struck.fault {
            Fault::Cut => "cut",
            Fault::Kill => "kill",
            Fault::Fail => "fail",
        };
        let operation = format!("{}{}", name_of(struck.call), kind_of(struck.call, &struck.path));
        *self.struck.entry((fault, operation)).or_default() += 1;
    }

    pub(super) fn get(&self, event: Event) -> u64 {
        self.events.get(&event).copied().unwrap_or(0)
    }

    pub(super) fn add(&mut self, other: &Self) {
        for (event, count) in &other.events {
            *self.events.entry(*event).or_default() += count;
        }
        for (struck, count) in &other.struck {
            *self.struck.entry(struck.clone()).or_default() += count;
        }
    }

    /// What should have happened and did not. A log is made once a run, so that a short one may miss some operations.
    pub(super) fn missing(&self) -> Vec<String> {
        let events = EVENTS.iter().filter(|event| self.get(**event) == 0).map(|event| format!("{event:?}"));
        let struck = |cut: &&&str| !self.struck.contains_key(&("cut", (**cut).to_owned()));
        let operations = if self.get(Event::Cut) < CUTS_FOR_ALL { &[] } else { &OPERATIONS[..] };
        events.chain(operations.iter().filter(struck).map(|cut| format!("cut: {cut}"))).collect()
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (event, count) in &self.events {
            writeln!(f, "{count:>10}  {event:?}")?;
        }
        for ((fault, operation), count) in &self.struck {
            writeln!(f, "{count:>10}  {fault}: {operation}")?;
        }
        Ok(())
    }
}

fn name_of(call: Call) -> &'static str {
    match call {
        Call::CreateDirectory => "create directory",
        Call::SyncDirectory => "sync directory",
        Call::Lock => "lock",
        Call::Create => "create",
        Call::Rename => "rename",
        Call::Remove => "remove",
        Call::Write => "write",
        Call::Allocate => "allocate",
        Call::Truncate => "truncate",
        Call::SyncData => "sync data",
        Call::SyncAll => "sync all",
        Call::List | Call::Open | Call::Size | Call::Read => "look",
    }
}

/// A word for the kind of file, with a space before it; nothing for directories.
fn kind_of(call: Call, path: &Path) -> &'static str {
    if matches!(call, Call::CreateDirectory | Call::SyncDirectory) {
        return "";
    }
    let Some(Component::Normal(name)) = path.components().next_back() else { return "" };
    let name = name.to_string_lossy();
    let name = name.strip_suffix(".tmp").unwrap_or(&name);
    match name {
        "lock" => " lock",
        "identity" => " identity",
        "destinations" => " destinations",
        "request-id.key" => " key",
        "reserve" => " reserve",
        _ if name.ends_with(".seg") => " segment",
        _ if name.ends_with(".cursor") => " cursor",
        _ if name.ends_with(".gaps") => " gaps",
        _ => " other file",
    }
}
