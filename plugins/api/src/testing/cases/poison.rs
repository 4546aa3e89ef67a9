//! G6: one bad record never takes another with it, whatever the destination answers to its batch.

use serde_json::json;

use crate::{
    operation::Action,
    testing::{
        driver::{Driver, Tuning},
        history::{Change, INDEXES},
        subject::{Fault, Poison, Subject},
        trial::Trial,
    },
    verdict::ReasonCode,
};

/// Makes a record poisonous.
pub(super) const MARK: &str = "this-is-poison";

/// 400 that tells which record it is.
pub async fn poison_that_is_named_goes_alone<S: Subject, D: Driver>() {
    poison_goes_alone::<S, D>(Poison::Named, &[ReasonCode::Rejected, ReasonCode::TooLarge]).await;
}

/// 400 that does not.
pub async fn poison_without_a_name_goes_alone<S: Subject, D: Driver>() {
    poison_goes_alone::<S, D>(Poison::Anonymous, &[ReasonCode::Rejected]).await;
}

/// 500 for it alone, which may be a shard that is down, while others pass.
pub async fn poison_that_shows_as_an_item_error_goes_alone<S: Subject, D: Driver>() {
    poison_goes_alone::<S, D>(Poison::ItemError, &[ReasonCode::PoisonSuspected]).await;
}

/// 500, as if the service were down, while other requests pass.
pub async fn poison_that_shows_as_500_goes_alone<S: Subject, D: Driver>() {
    poison_goes_alone::<S, D>(Poison::ServerError, &[ReasonCode::PoisonSuspected]).await;
}

/// No answer, while other requests pass.
pub async fn poison_that_shows_as_a_time_out_goes_alone<S: Subject, D: Driver>() {
    poison_goes_alone::<S, D>(Poison::Hang, &[ReasonCode::PoisonSuspected]).await;
}

/// The bad record stands in a batch between good ones of its own object, and among others.
async fn poison_goes_alone<S: Subject, D: Driver>(poison: Poison, codes: &[ReasonCode]) {
    let mut trial = Trial::<S, D>::start_with(Tuning { operations_max: 8, attempts_max: 3 }).await;
    if !trial.inject(Fault::Poison { mark: MARK.to_owned(), poison }).await {
        return;
    }
    // Each of them takes long to be found by time-outs alone.
    let indexes = if poison == Poison::Hang { &INDEXES[..1] } else { &INDEXES };
    for index in indexes {
        let mut changes = trial.history.saves(index, 12);
        changes.push(trial.history.save(index, "bad"));
        changes.push(trial.history.change(Action::Save, index, "bad", json!({ "mark": MARK })));
        changes.push(trial.history.change(Action::PartialUpdate, index, "bad", json!({ "after": true })));
        if poison != Poison::Hang {
            changes.push(trial.history.change(Action::Save, index, "worse", json!({ "mark": MARK })));
        }
        changes.extend(trial.history.saves(index, 12));
        trial.accept(changes).await;
    }
    trial.until("it fails or is found", |progress| progress.failing || progress.settled).await;
    // Newer ones of objects that are under suspicion; a save could take the place of what is bad.
    for index in indexes {
        let mut newer = trial.history.saves(index, 12);
        newer.push(trial.history.change(Action::PartialUpdate, index, "bad", json!({ "newer": true })));
        trial.accept(newer).await;
    }
    trial.settle_among_others().await;
    trial.judge(is_bad).await;
    for rejected in trial.rejected() {
        assert!(codes.contains(&rejected.reason.code), "{rejected:?}");
    }
}

fn is_bad(change: &Change) -> bool {
    String::from_utf8_lossy(&change.body).contains(MARK)
}
