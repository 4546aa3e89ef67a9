//! The rules by which a history is judged.

use std::collections::BTreeMap;

use rustc_hash::{FxHashMap, FxHashSet};

use crate::history::{
    findings::{Finding, Findings},
    model::{Destination, Identity, Outcome, Request},
    table::{self, Key, KeyHistory, Occurrence},
};

/// Judges what a destination did by what producers were told. Everything must have been delivered by then: what is
/// still on its way counts as lost.
#[must_use]
pub fn check(requests: &[Request], destination: &Destination) -> Findings {
    let keys = table::build(requests, destination);
    let mut check = Check { requests, coalesces: destination.coalesces, findings: Findings::default() };
    let ids = check.request_ids();
    let mut identities = FxHashMap::default();
    let mut fates = Fates::default();
    for (key, history) in &keys {
        check.unsent(key, history);
        check.traced(key, history, &ids);
        check.repeats(key, history, &mut identities);
        check.order(key, history);
        check.fates(key, history, &mut fates);
    }
    check.versions(&identities);
    check.torn(&fates);
    check.findings
}

struct Check<'a> {
    requests: &'a [Request],
    coalesces: bool,
    findings: Findings,
}

/// By what a reader tells repeats by: the operation and its version.
type Identities<'a> = FxHashMap<&'a Identity, (&'a Key, Option<u64>, Option<u64>)>;

/// By request with an unknown outcome: operations that arrived and operations that certainly did not.
type Fates<'a> = BTreeMap<usize, (u64, Vec<(&'a Key, u64)>)>;

impl<'r> Check<'r> {
    fn unsent(&mut self, key: &Key, history: &KeyHistory<'_>) {
        for Occurrence { applied, sequence, .. } in history.applied.iter().chain(&history.dead_letters) {
            let Some(sequence) = sequence else {
                self.findings.unsent.push(finding(key, applied.sequence, "no producer sent it"));
                continue;
            };
            if let Outcome::Refused { status } = &self.requests[history.sent[sequence].request].outcome {
                let problem = format!("its producer was told {status:?}");
                self.findings.unsent.push(finding(key, Some(*sequence), problem));
            }
        }
    }

    /// The requests by the ids that producers were told, of which no two may be the same.
    fn request_ids(&mut self) -> FxHashMap<&'r str, usize> {
        let mut ids = FxHashMap::default();
        let requests = self.requests;
        for (number, request) in requests.iter().enumerate() {
            if let Outcome::Acknowledged { request_id } = &request.outcome
                && let Some(before) = ids.insert(request_id.as_str(), number)
                && let (Some(sent), Some(other)) =
                    (request.operations.first(), requests[before].operations.first())
            {
                let key = Key { index: request.index.clone(), object_id: sent.object_id.clone() };
                let problem =
                    format!("acknowledged as {request_id}, as {} {} was", other.object_id, other.sequence);
                self.findings.misidentified.push(finding(&key, Some(sent.sequence), problem));
            }
        }
        ids
    }

    /// What arrives under a request id is of the request that was acknowledged with it.
    fn traced(&mut self, key: &Key, history: &KeyHistory<'_>, ids: &FxHashMap<&str, usize>) {
        for Occurrence { applied, sequence, .. } in history.applied.iter().chain(&history.dead_letters) {
            let (Some(sequence), Some(id)) = (sequence, applied.request_id.as_deref()) else { continue };
            let request = history.sent[sequence].request;
            let told = match &self.requests[request].outcome {
                Outcome::Acknowledged { request_id } if request_id != id => request_id,
                Outcome::Unknown { .. } if ids.contains_key(id) => "nothing",
                _ => continue,
            };
            let problem = format!("arrived as request {id}, and its producer was told {told}");
            self.findings.misidentified.push(finding(key, Some(*sequence), problem));
        }
    }

    fn repeats<'a>(&mut self, key: &'a Key, history: &KeyHistory<'a>, identities: &mut Identities<'a>) {
        let mut seen = FxHashSet::default();
        for Occurrence { applied, sequence, .. } in &history.applied {
            self.findings.applied += 1;
            let again = match &applied.identity {
                None => !seen.insert(*sequence),
                Some(identity) => match identities.insert(identity, (key, *sequence, applied.version)) {
                    None => false,
                    Some(before) => {
                        if before != (key, *sequence, applied.version) {
                            let problem = format!("{identity:?} is also that of {before:?}");
                            self.findings.misidentified.push(finding(key, *sequence, problem));
                        }
                        true
                    }
                },
            };
            self.findings.duplicated += u64::from(again);
        }
    }

    fn order(&mut self, key: &Key, history: &KeyHistory<'_>) {
        let known =
            history.applied.iter().filter_map(|occurrence| Some((occurrence.sequence?, occurrence.batch)));
        let mut previous = None;
        // The first operation of the key in the batch of the previous one.
        let mut first_in_batch = 0;
        for (sequence, batch) in known.clone() {
            if let Some((before, before_batch)) = previous
                && sequence < before
            {
                if !batch_repeats(before_batch, batch, sequence, first_in_batch) {
                    let problem = format!("applied after {before}");
                    self.findings.disordered.push(finding(key, Some(sequence), problem));
                } else if before_batch.run == batch.run {
                    self.findings.resent += 1;
                } else {
                    self.findings.rewound += 1;
                }
            }
            if previous.is_none_or(|(_, before_batch)| before_batch.number != batch.number) {
                first_in_batch = sequence;
            }
            previous = Some((sequence, batch));
        }
        let newest = known.map(|(sequence, _)| sequence).max();
        if let (Some((last, _)), Some(newest)) = (previous, newest)
            && last < newest
        {
            let problem = format!("applied, but the destination ended with {last}");
            self.findings.stale.push(finding(key, Some(newest), problem));
        }
    }

    fn fates<'a>(&mut self, key: &'a Key, history: &KeyHistory<'a>, fates: &mut Fates<'a>) {
        let applied: FxHashSet<u64> =
            history.applied.iter().filter_map(|occurrence| occurrence.sequence).collect();
        let dead: FxHashSet<u64> = history.dead_letters.iter().filter_map(|letter| letter.sequence).collect();
        let replacing =
            applied.iter().copied().filter(|sequence| history.sent[sequence].action.replaces()).max();
        for (sequence, operation) in &history.sent {
            let is_applied = applied.contains(sequence);
            let is_dead = dead.contains(sequence);
            let is_superseded = self.coalesces && replacing.is_some_and(|newer| newer > *sequence);
            match &self.requests[operation.request].outcome {
                Outcome::Refused { .. } => {}
                Outcome::Acknowledged { request_id } => {
                    self.findings.dead_lettered += u64::from(is_dead);
                    self.findings.superseded += u64::from(is_superseded && !is_applied && !is_dead);
                    if !(is_applied || is_dead || is_superseded) {
                        let problem = format!("acknowledged as {request_id}, and never arrived");
                        self.findings.lost.push(finding(key, Some(*sequence), problem));
                    }
                }
                Outcome::Unknown { .. } => {
                    let (arrived, missing) = fates.entry(operation.request).or_default();
                    *arrived += u64::from(is_applied || is_dead);
                    if !(is_applied || is_dead || is_superseded) {
                        missing.push((key, *sequence));
                    }
                }
            }
        }
    }

    /// Versions rise with the positions of the records.
    fn versions(&mut self, identities: &Identities<'_>) {
        let versioned = identities.iter().filter_map(|(identity, (key, sequence, version))| {
            Some((*identity, *key, *sequence, (*version)?))
        });
        let mut versioned: Vec<_> = versioned.collect();
        versioned.sort_unstable_by_key(|(identity, ..)| *identity);
        for pair in versioned.windows(2) {
            let [(before, _, _, lower), (identity, key, sequence, version)] = pair else { continue };
            let same_log = (&before.log_id, before.partition) == (&identity.log_id, identity.partition);
            if same_log && before.position < identity.position && version <= lower {
                let problem = format!(
                    "version {version} at {}, after {lower} at {}",
                    identity.position, before.position
                );
                self.findings.misversioned.push(finding(key, *sequence, problem));
            }
        }
    }

    fn torn(&mut self, fates: &Fates<'_>) {
        for (arrived, missing) in fates.values() {
            for (key, sequence) in missing.iter().filter(|_| *arrived > 0) {
                let problem = format!("missing, though {arrived} of its request arrived");
                self.findings.torn.push(finding(key, Some(*sequence), problem));
            }
        }
    }
}

/// Whether a batch may go back to this operation: after a restart to any, since the cursor is persisted now and then;
/// after a request without an answer to none older than what that request carried.
fn batch_repeats(before: table::Batch, now: table::Batch, sequence: u64, first_in_batch: u64) -> bool {
    before.may_repeat_in(now) && (before.run != now.run || sequence >= first_in_batch)
}

fn finding(key: &Key, sequence: Option<u64>, problem: impl Into<String>) -> Finding {
    let Key { index, object_id } = key.clone();
    Finding { index, object_id, sequence, problem: problem.into() }
}
