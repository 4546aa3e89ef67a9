//! Reads everything that lies in a log's directory and tells all that is not as it should be.

mod beside;
mod segment;

use std::path::{Path, PathBuf};

use plugin_api::identity::Position;

use self::segment::Before;
use super::stopped::{Sighted, StoppedLog};
use crate::log::sections::FormatError;

/// What is not as it should be, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// The file.
    pub path: PathBuf,
    /// The byte in it, where there is one to look at.
    pub at: Option<u64>,
    /// What was found, and what it means.
    pub what: String,
    /// What to do.
    pub advice: String,
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// No record is lost by it, and the agent goes on by itself.
    Harmless,
    /// Records cannot be read or are gone, or the agent halts here.
    Grave,
}

/// What [`StoppedLog::verify`] read.
#[derive(Clone, Debug, Default)]
pub struct Verified {
    /// Everything that was found, in the order of the files.
    pub findings: Vec<Finding>,
    /// Segments.
    pub segments: u64,
    /// Sound frames: requests.
    pub frames: u64,
    /// Records in them.
    pub records: u64,
    /// Bytes of the segments.
    pub bytes: u64,
    /// The oldest position.
    pub start: Position,
    /// The position after the last record.
    pub end: Position,
}

impl Verified {
    /// The worst of the findings.
    #[must_use]
    pub fn severity(&self) -> Option<Severity> {
        self.findings.iter().map(|finding| finding.severity).max()
    }

    fn harmless(&mut self, path: &Path, at: Option<u64>, what: impl Into<String>, advice: impl Into<String>) {
        self.add(Severity::Harmless, path, at, what.into(), advice.into());
    }

    fn grave(&mut self, path: &Path, at: Option<u64>, what: impl Into<String>, advice: impl Into<String>) {
        self.add(Severity::Grave, path, at, what.into(), advice.into());
    }

    fn add(&mut self, severity: Severity, path: &Path, at: Option<u64>, what: String, advice: String) {
        self.findings.push(Finding { severity, path: path.to_owned(), at, what, advice });
    }

    /// Tells of a file that cannot be used; if it is sound, another version of the agent can.
    fn unusable(&mut self, path: &Path, error: &FormatError, broken: impl FnOnce(&mut Self, &str)) {
        match error {
            FormatError::Broken(what) => broken(self, what),
            FormatError::Unusable(what) => self.grave(path, None, what.as_str(), NEWER),
        }
    }
}

const NEWER: &str = "run the version of the agent that wrote it, or a newer one; nothing is damaged";
const RESTORE: &str = "restore it from a copy of the log";

impl StoppedLog {
    /// Reads every byte of the log; calls `read` with the number of bytes that were read since its last call.
    #[must_use]
    pub fn verify(&self, read: &mut dyn FnMut(u64)) -> Verified {
        let mut verified = Verified { bytes: self.bytes(), ..Verified::default() };
        self.verify_identity(&mut verified);
        let mut before = Before { end: self.start(), ..Before::default() };
        for (index, segment) in self.segments.iter().enumerate() {
            self.verify_header(
                segment,
                index.checked_sub(1).map(|index| &self.segments[index]),
                &mut verified,
            );
            before = self.verify_segment(segment, before, &mut verified, read);
            verified.segments += 1;
        }
        verified.start.offset = self.start();
        verified.end.offset = before.end;
        self.verify_beside(before.end, &mut verified);
        verified
    }

    /// Whether every segment is of one log, which is another one than the identity says.
    fn is_of_others(&self) -> bool {
        let mut ids = self.segments.iter().filter_map(|segment| Some(segment.header.as_ref().ok()?.log_id));
        let first = ids.next().filter(|id| *id != self.log_id);
        first.is_some_and(|first| self.segments.len() > 1 && ids.all(|id| id == first))
    }

    /// A segment's header, and whether the segment before it is the one that it names (rule 10).
    fn verify_header(&self, segment: &Sighted, previous: Option<&Sighted>, verified: &mut Verified) {
        let path = &segment.path;
        let header = match &segment.header {
            Ok(header) => header,
            Err(FormatError::Unusable(what)) => return verified.grave(path, Some(0), what.as_str(), NEWER),
            Err(FormatError::Broken(what)) => {
                let skipped = segment.skips.covering(0).is_some();
                let what = format!("the header is rotten: {what}");
                return match segment.nonce {
                    Some(_) if skipped => {
                        verified.harmless(
                            path,
                            Some(0),
                            format!("{what}; `log skip` has passed over it"),
                            "nothing",
                        );
                    }
                    Some(_) => {
                        let what =
                            format!("{what}; the next segment's header says what it held, no record is lost");
                        let advice = format!(
                            "restore it from a copy of the log, or pass over the header with `sync-agent log skip 0:{}`",
                            segment.base
                        );
                        verified.grave(path, Some(0), what, advice);
                    }
                    None => {
                        let what = format!("{what}, and without it nothing in this segment can be read");
                        verified.grave(path, Some(0), what, RESTORE);
                    }
                };
            }
        };
        if header.log_id != self.log_id || header.base != segment.base {
            let what = format!(
                "this is the segment of log {} that begins at 0:{}, and has no place in log {}",
                header.log_id, header.base, self.log_id
            );
            return verified.grave(
                path,
                Some(0),
                what,
                if self.is_of_others() {
                    "all segments are of one other log: it is the file `identity` that has no place here; restore it \
                     from a copy of this directory"
                } else {
                    "take it away, and restore the one that belongs here, if any"
                },
            );
        }
        let Some(previous) = previous else { return };
        let is_linked = previous.nonce.is_none_or(|nonce| nonce == header.previous.nonce);
        if !is_linked || header.previous.end != header.base {
            let what = format!(
                "the segment before this one is missing: it ended at 0:{}, and {} is not it",
                header.previous.end,
                previous.path.display()
            );
            verified.grave(path, Some(0), what, "restore what is missing from a copy of the log");
        }
    }
}
