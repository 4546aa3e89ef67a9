//! One write may take several requests: of a partial update it is known only from the answer that there is nothing to
//! update, and that it must be sent as a whole object.
//!
//! Whatever follows such an operation on its key within the batch is sent again behind it, since it was applied before
//! it (G4); but where a save or delete follows, which replaces all that was before it, nothing is. Every round settles at
//! least the first of the operations that it sends again, so the rounds come to an end.

use std::collections::{HashMap, HashSet};

use plugin_api::{
    operation::{Key, Operation},
    verdict::{Reason, ReasonCode, Verdict, WriteError},
};

use crate::{
    classify::Fate,
    encode::{Form, Line},
    settings::PartialUpdates,
};

/// Requests of one write, at most; what is left then the agent sends again.
pub(crate) const ROUNDS_MAX: usize = 8;

/// The operations of a batch on their way through the rounds.
pub(crate) struct Rounds<'a> {
    /// What the next request carries.
    lines: Vec<Line<'a>>,
    verdicts: Vec<Option<Verdict>>,
}

impl<'a> Rounds<'a> {
    /// All operations of a batch, in the forms in which they are sent at first.
    pub(crate) fn new(operations: &'a [Operation], partial_updates: PartialUpdates) -> Self {
        let line =
            |(place, operation)| Line { place, operation, form: Form::first(operation, partial_updates) };
        Self {
            lines: operations.iter().enumerate().map(line).collect(),
            verdicts: vec![None; operations.len()],
        }
    }

    /// What the next request carries, in order; empty once all is settled.
    pub(crate) fn lines(&self) -> &[Line<'a>] {
        &self.lines
    }

    /// Takes what became of each line.
    pub(crate) fn settle(&mut self, mut fates: Vec<Fate>) {
        pass_over_replaced(&self.lines, &mut fates);
        let mut again: HashMap<&Key, Following> = HashMap::new();
        for (line, fate) in std::mem::take(&mut self.lines).into_iter().zip(fates) {
            let key = &line.operation.key;
            let behind = if again.is_empty() { None } else { again.get(key) };
            match (behind, fate) {
                (Some(Following::NextRound), _) => self.lines.push(line),
                // The agent sends it again behind the one that was not applied.
                (Some(Following::Agent(reason)), _) => {
                    self.verdicts[line.place] = Some(Verdict::Retry(reason.clone()));
                }
                (None, Fate::Again(form)) => {
                    again.insert(key, Following::NextRound);
                    self.lines.push(Line { form, ..line });
                }
                (None, Fate::Done(verdict)) => {
                    if let Verdict::Retry(reason) = &verdict {
                        again.insert(key, Following::Agent(reason.clone()));
                    }
                    self.verdicts[line.place] = Some(verdict);
                }
            }
        }
    }

    /// The request of a later round failed. What earlier ones settled stands, and only what is left is sent again.
    ///
    /// # Errors
    /// The same error, where it would come again and one operation of several is its cause: the batch is divided then.
    pub(crate) fn fail(&mut self, error: WriteError) -> Result<(), WriteError> {
        let verdict = match &error {
            WriteError::Throttled { reason, .. }
            | WriteError::Unavailable { reason, .. }
            | WriteError::Unknown { reason, .. }
            | WriteError::Misconfigured { reason, .. } => Verdict::Retry(reason.clone()),
            WriteError::TooLarge { reason } | WriteError::BatchRejected { reason, .. } => {
                if self.lines.len() > 1 {
                    return Err(error);
                }
                Verdict::Reject(reason.clone())
            }
        };
        for line in self.lines.drain(..) {
            self.verdicts[line.place] = Some(verdict.clone());
        }
        Ok(())
    }

    /// A verdict for each operation of the batch, in its order.
    pub(crate) fn into_verdicts(self) -> Vec<Verdict> {
        let unsettled = || {
            let words = format!("not settled within {ROUNDS_MAX} requests");
            Verdict::Retry(Reason::new(ReasonCode::Unavailable, words))
        };
        self.verdicts.into_iter().map(|verdict| verdict.unwrap_or_else(unsettled)).collect()
    }
}

/// What a later save or delete of the request has replaced need not be sent again: it would only bring back for a moment
/// what is gone.
fn pass_over_replaced(lines: &[Line<'_>], fates: &mut [Fate]) {
    if !fates.iter().any(|fate| matches!(fate, Fate::Again(_))) {
        return;
    }
    let mut replaced: HashSet<&Key> = HashSet::new();
    for (line, fate) in lines.iter().zip(fates).rev() {
        let key = &line.operation.key;
        match (&fate, line.form) {
            (Fate::Again(_), _) if replaced.contains(key) => *fate = Fate::Done(Verdict::Superseded),
            (Fate::Done(Verdict::Written | Verdict::Superseded), Form::Index(_) | Form::Delete(_)) => {
                replaced.insert(key);
            }
            _ => {}
        }
    }
}

/// Who sends again what follows on a key.
enum Following {
    NextRound,
    Agent(Reason),
}
