//! What a destination holds and has applied, against what was accepted.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    history::{Change, History},
    subject::{State, Subject},
};
use crate::{
    destination::Capabilities,
    operation::{Action, Key},
};

/// Every object ends as it must once all is applied but what was rejected, and no key's operations went out of order.
pub(super) async fn judge<S: Subject>(subject: &S, history: &History, rejected: &BTreeSet<u64>) {
    let state = subject.state().await;
    judge_objects(history, &state, rejected);
    let mut by_key: BTreeMap<&Key, Vec<(Action, u64)>> = BTreeMap::new();
    for one in state.applied.iter().flatten() {
        let Some(sequence) = one.sequence else { continue };
        assert!(!rejected.contains(&sequence), "{one:?} was applied and rejected");
        by_key.entry(&one.key).or_default().push((one.action, sequence));
    }
    let capabilities = subject.destination().capabilities();
    for (key, applied) in by_key {
        let is_of_key = |change: &&Change| change.key == *key && !rejected.contains(&change.number);
        let changes = history.changes().iter().filter(is_of_key).collect();
        Order { key, changes, capabilities }.judge(&applied);
    }
}

fn judge_objects(history: &History, state: &State, rejected: &BTreeSet<u64>) {
    let expected = history.objects(|change| rejected.contains(&change.number));
    let keys: BTreeSet<&Key> = expected.keys().chain(state.objects.keys()).collect();
    for key in keys {
        let is_of_key = |change: &&Change| change.key == *key;
        let changes: Vec<_> = history.changes().iter().filter(is_of_key).collect();
        let (is, must_be) = (state.objects.get(key), expected.get(key));
        assert_eq!(is, must_be, "{key:?} is not what it must be after {changes:#?}");
    }
}

/// The order of one key's operations.
struct Order<'a> {
    key: &'a Key,
    /// What was accepted of it and not rejected.
    changes: Vec<&'a Change>,
    capabilities: Capabilities,
}

impl Order<'_> {
    /// They are applied in order. A resend starts over further back, and nothing newer comes before it has caught up.
    /// Where versions are checked, no save or delete is applied over anything newer; where operations are coalesced,
    /// nothing is passed over but what a later save or delete takes the place of.
    fn judge(&self, applied: &[(Action, u64)]) {
        let Self { key, changes, capabilities } = self;
        let with_body = changes.iter().filter(|change| change.action != Action::Delete);
        let must_be: BTreeSet<u64> = with_body.map(|change| change.number).collect();
        let (mut newest, mut last) = (None, None);
        for (action, sequence) in applied {
            assert!(must_be.contains(sequence), "{key:?}: {sequence} was never accepted");
            let sequence = Some(*sequence);
            let holds = if capabilities.versioned {
                newest <= sequence || !matches!(action, Action::Save | Action::Delete)
            } else if capabilities.coalesces {
                newest >= sequence || self.is_replaced(last, sequence)
            } else {
                newest >= sequence || newest == last
            };
            assert!(holds, "{key:?}: {sequence:?} is out of order: {applied:?}, accepted {must_be:?}");
            (newest, last) = (newest.max(sequence), sequence);
        }
        if !capabilities.versioned && !capabilities.coalesces {
            let is: BTreeSet<u64> = applied.iter().map(|(_, sequence)| *sequence).collect();
            assert_eq!(is, must_be, "{key:?}: something was left out");
        }
    }

    /// Whether a save or delete takes the place of each change after `last` and before `next`.
    fn is_replaced(&self, last: Option<u64>, next: Option<u64>) -> bool {
        let replaces = |change: &&&Change| {
            matches!(change.action, Action::Save | Action::Delete) && Some(change.number) <= next
        };
        let newest = self.changes.iter().rfind(replaces).map(|change| change.number);
        let is_between = |change: &&&Change| Some(change.number) > last && Some(change.number) < next;
        self.changes.iter().filter(is_between).all(|change| Some(change.number) <= newest)
    }
}
