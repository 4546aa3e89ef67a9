//! What really happened while agents were killed: a harness that never meets what it is for proves nothing.

use std::{collections::BTreeMap, fmt};

/// Something that a run is to meet, in the order in which the summary shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Happened {
    Rounds,
    Idle,
    Paused,
    Frozen,
    OpeningBeforeLog,
    OpeningAfterLog,
    Rolled,
    Committed,
    GivenBack,
    StruckRoll,
    StruckCommit,
    StruckGiveBack,
    LeftSegment,
    LeftCursor,
    Torn,
    Acknowledged,
    Unknown,
    Applied,
    Repeated,
    Refused,
    Failed,
    Throttled,
    Hung,
    Cut,
}

impl Happened {
    /// All but what is up to luck.
    const ASSURED: [Self; 17] = [
        Self::Rounds,
        Self::Paused,
        Self::Frozen,
        Self::OpeningBeforeLog,
        Self::OpeningAfterLog,
        Self::Rolled,
        Self::Committed,
        Self::GivenBack,
        Self::StruckRoll,
        Self::StruckCommit,
        Self::StruckGiveBack,
        Self::Acknowledged,
        Self::Refused,
        Self::Failed,
        Self::Throttled,
        Self::Hung,
        Self::Cut,
    ];

    fn words(self) -> &'static str {
        match self {
            Self::Rounds => "kills under load",
            Self::Idle => "of them before anything was acknowledged",
            Self::Paused => "of them after SIGSTOP and SIGCONT",
            Self::Frozen => "of them after SIGSTOP",
            Self::OpeningBeforeLog => "kills while it opened, before the log was open",
            Self::OpeningAfterLog => "kills while it opened, after that",
            Self::Rolled => "segments begun",
            Self::Committed => "cursors committed",
            Self::GivenBack => "segments given back",
            Self::StruckRoll => "kills right after a segment's temporary file appeared",
            Self::StruckCommit => "kills right after a cursor's temporary file appeared",
            Self::StruckGiveBack => "kills right after a segment was removed",
            Self::LeftSegment => "segments left under a temporary name",
            Self::LeftCursor => "cursors left under a temporary name",
            Self::Torn => "torn ends cut",
            Self::Acknowledged => "records acknowledged",
            Self::Unknown => "records without an answer",
            Self::Applied => "operations applied",
            Self::Repeated => "of them once more",
            Self::Refused => "times that Algolia refused connections",
            Self::Failed => "times that it answered 503",
            Self::Throttled => "times that it answered 429",
            Self::Hung => "times that it hung",
            Self::Cut => "times that it cut connections, before or after applying",
        }
    }
}

/// How often each happened.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally(BTreeMap<Happened, u64>);

impl Tally {
    pub(crate) fn add(&mut self, happened: Happened, times: u64) {
        *self.0.entry(happened).or_default() += times;
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        other.0.iter().for_each(|(happened, times)| self.add(*happened, *times));
    }

    /// Fails if something never happened that this is about.
    #[track_caller]
    pub(crate) fn assert_everything_happened(&self) {
        let missing = Happened::ASSURED.iter().filter(|happened| self.0.get(happened).copied() < Some(1));
        let missing: Vec<_> = missing.map(|happened| happened.words()).collect();
        assert!(missing.is_empty(), "it never came to {missing:?}:\n{self}");
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|(happened, times)| writeln!(f, "{times:>9} {}", happened.words()))
    }
}
