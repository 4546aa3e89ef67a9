//! What lies beside the segments: identity, key, list of destinations, cursors, skipped ranges, half-made files.

use super::{NEWER, Verified};
use crate::log::{cursor, directory, inspect::StoppedLog, interface::Progress, sections::FormatError};

impl StoppedLog {
    pub(super) fn verify_identity(&self, verified: &mut Verified) {
        if let Err(error) = &self.identity {
            let path = self.path.join(directory::IDENTITY);
            verified.unusable(&path, error, |verified, what| {
                let what =
                    format!("the log's identity is broken: {what}; the agent does not start without it");
                let advice =
                    "restore it from a copy of this directory; it never changes, so that any copy will do";
                verified.grave(&path, None, what, advice);
            });
        }
        if self.ids.is_none() {
            let path = self.path.join(directory::KEY);
            let what = "the key of request ids is missing or cut off: the agent makes a new one, and old ids are still \
                        found";
            verified.harmless(&path, None, what, "nothing");
        }
    }

    /// Everything else; the log ends at `end`.
    pub(super) fn verify_beside(&self, end: u64, verified: &mut Verified) {
        if let Err(error) = &self.skipped {
            let path = self.path.join(directory::SKIPPED);
            verified.unusable(&path, error, |verified, what| {
                let what = format!(
                    "the list of ranges that were given up is broken: {what}; readers halt there again"
                );
                verified.grave(&path, None, what, "restore it from a copy, or give the ranges up once more");
            });
        }
        if let Err(error) = &self.listed {
            let path = self.path.join(directory::DESTINATIONS);
            verified.unusable(&path, error, |verified, what| {
                let what = format!(
                    "the list of destinations is broken: {what}; each that is configured or has a cursor counts as \
                     served"
                );
                verified.harmless(&path, None, what, "nothing; the agent writes it again when it starts");
            });
        }
        for (destination, progress) in &self.cursors {
            self.verify_cursor(destination, progress, end, verified);
        }
        for (destination, gaps) in &self.gaps {
            let path = self.path.join(directory::CURSORS).join(cursor::gaps_file_name(destination));
            if let Err(error) = gaps {
                verified.unusable(&path, error, |verified, what| {
                    let what = format!(
                        "the record of what destination {destination:?} has missed is broken: {what}; the agent does \
                         not start with it"
                    );
                    let advice = "restore it from a copy, or accept that this record is lost by removing the file";
                    verified.grave(&path, None, what, advice);
                });
            }
        }
        for path in &self.temporary {
            verified.harmless(
                path,
                None,
                "half made when an agent ended",
                "nothing; the agent removes it when it starts",
            );
        }
    }

    fn verify_cursor(
        &self,
        destination: &str,
        progress: &Result<Progress, FormatError>,
        end: u64,
        verified: &mut Verified,
    ) {
        let path = self.path.join(directory::CURSORS).join(cursor::file_name(destination));
        let progress = match progress {
            Ok(progress) => progress,
            Err(FormatError::Unusable(what)) => return verified.grave(&path, None, what.as_str(), NEWER),
            Err(FormatError::Broken(what)) => {
                let what = format!(
                    "the cursor of destination {destination:?} cannot be used: {what}; it restarts at the oldest \
                     position, and what it had is sent again"
                );
                let advice = "restore it from a copy, if that is not wanted; else nothing";
                return verified.harmless(&path, None, what, advice);
            }
        };
        let reached = progress.completed.last().map_or(progress.next.offset, |(_, to)| *to);
        let start = self.start();
        if progress.next.partition != 0 || reached > end {
            let what = format!(
                "destination {destination:?} has received up to {}:{reached}, but the log ends at 0:{end}: acknowledged \
                 data is gone",
                progress.next.partition
            );
            let advice = "restore the log's directory, or accept the loss by removing this file; the destination then \
                          goes on at the oldest position";
            verified.grave(&path, None, what, advice);
        } else if progress.next.offset < start && !self.is_counted(destination, progress, start) {
            // Rules 8 and 9: a segment goes after everybody has passed it, or what they miss is counted.
            let what = format!(
                "destination {destination:?} is at {}, and the log begins at 0:{start}: what lies between is gone, and \
                 no agent has given it back",
                progress.next
            );
            let advice = "restore the oldest segments from a copy of the log, or accept the loss: the agent counts it as \
                          a gap when it starts";
            verified.grave(&path, None, what, advice);
        } else if progress.next.offset < start {
            let what = format!(
                "destination {destination:?} is at {}, and the log begins at 0:{start}: what lies between is a gap for it",
                progress.next
            );
            verified.harmless(
                &path,
                None,
                what,
                "nothing; the gap is counted and goes on growing until the destination comes back",
            );
        } else if self.listed.as_ref().is_ok_and(|listed| !listed.contains(destination)) {
            let what = format!(
                "destination {destination:?} has a cursor and is not listed: a crash came in between"
            );
            verified.harmless(&path, None, what, "nothing");
        }
    }

    /// Whether a destination's gaps say what it misses of everything before `start`.
    fn is_counted(&self, destination: &str, progress: &Progress, start: u64) -> bool {
        let gaps = match self.gaps.get(destination) {
            Some(Ok(gaps)) => gaps.as_slice(),
            // That they cannot be read is a finding of its own.
            Some(Err(_)) => return true,
            None => &[],
        };
        let last = gaps.last().filter(|gap| gap.from <= progress.next);
        last.is_some_and(|gap| gap.to.offset >= start)
    }
}
