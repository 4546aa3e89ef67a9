//! The checker's output.

use std::{fmt, sync::Arc};

/// One operation that broke a guarantee.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The index.
    pub index: Arc<str>,
    /// The object's id.
    pub object_id: String,
    /// The operation's sequence number; `None` for a delete that nobody sent.
    pub sequence: Option<u64>,
    /// What is wrong, in words.
    pub problem: String,
}

/// What a history shows. The lists break a guarantee; the counts are allowed by at-least-once delivery.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// Acknowledged, and neither applied, superseded nor dead-lettered (G1, G3).
    pub lost: Vec<Finding>,
    /// The newest acknowledged operation of a key is not what the destination ended with (G4).
    pub stale: Vec<Finding>,
    /// An older operation was applied after a newer one of its key, with neither a restart nor a resend to explain it
    /// (G4).
    pub disordered: Vec<Finding>,
    /// Part of a request with an unknown outcome was applied and part of it not (G1).
    pub torn: Vec<Finding>,
    /// Applied or dead-lettered, but never sent, or refused (G1).
    pub unsent: Vec<Finding>,
    /// Another operation has the same identity, so that a reader would drop one of them, or its request id leads to
    /// another request (G3).
    pub misidentified: Vec<Finding>,
    /// The version is not above that of a record before it, so that a destination which compares versions would keep
    /// the older one (G4).
    pub misversioned: Vec<Finding>,

    /// Operations applied, repeats included.
    pub applied: u64,
    /// Operations that were applied before, by identity where there is one.
    pub duplicated: u64,
    /// Times that a key went back to an older operation after a restart.
    pub rewound: u64,
    /// Times that a key went back to an older operation because a request's answer did not arrive.
    pub resent: u64,
    /// Acknowledged operations that a later one replaced before they were sent.
    pub superseded: u64,
    /// Acknowledged operations that were dead-lettered.
    pub dead_lettered: u64,
}

impl Findings {
    /// Whether every guarantee held.
    #[must_use]
    pub fn hold(&self) -> bool {
        self.broken().iter().all(|(_, findings)| findings.is_empty())
    }

    /// Fails the test, with the first findings of each kind, unless every guarantee held.
    ///
    /// # Panics
    /// If one did not.
    #[track_caller]
    pub fn assert_hold(&self) {
        assert!(self.hold(), "{self}");
    }

    fn broken(&self) -> [(&'static str, &Vec<Finding>); 7] {
        [
            ("lost", &self.lost),
            ("stale", &self.stale),
            ("disordered", &self.disordered),
            ("torn", &self.torn),
            ("unsent", &self.unsent),
            ("misidentified", &self.misidentified),
            ("misversioned", &self.misversioned),
        ]
    }
}

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 5;
        writeln!(
            f,
            "applied {}, duplicated {}, rewound {}, resent {}, superseded {}, dead-lettered {}",
            self.applied, self.duplicated, self.rewound, self.resent, self.superseded, self.dead_lettered
        )?;
        for (kind, findings) in self.broken() {
            if findings.is_empty() {
                continue;
            }
            writeln!(f, "{kind}: {}", findings.len())?;
            for Finding { index, object_id, sequence, problem } in findings.iter().take(SHOWN) {
                let sequence = sequence.map_or("delete".to_owned(), |sequence| sequence.to_string());
                writeln!(f, "  {index} {object_id} {sequence}: {problem}")?;
            }
        }
        Ok(())
    }
}
