//! G3, G5: what an operator must mend. A refused index gives up its own records alone, a refused destination none.

use crate::{
    testing::{
        driver::Driver,
        history::Change,
        subject::{Fault, Subject},
        trial::Trial,
    },
    verdict::ReasonCode,
};

const REFUSED: &str = "refused";

/// One index is misconfigured; it is taken again once that is mended.
pub async fn a_refused_index_goes_alone<S: Subject, D: Driver>() {
    let mut trial = Trial::<S, D>::start().await;
    if !trial.inject(Fault::RefusedIndex(REFUSED.to_owned())).await {
        return;
    }
    for _ in 0..6 {
        trial.accept_mixed(10).await;
        let mut changes = trial.history.saves(REFUSED, 3);
        changes.push(trial.history.delete(REFUSED, "saved-0"));
        trial.accept(changes).await;
    }
    trial.settle().await;
    trial.judge(|change| *change.key.index == *REFUSED).await;
    for rejected in trial.rejected() {
        assert_eq!(rejected.reason.code, ReasonCode::IndexRefused, "{rejected:?}");
    }
    trial.subject.recover().await;
    let mended = trial.history.changes().len() as u64;
    let saves = trial.history.saves(REFUSED, 3);
    trial.accept(saves).await;
    trial.settle().await;
    let was_refused = |change: &Change| *change.key.index == *REFUSED && change.number < mended;
    trial.judge(was_refused).await;
}

/// Keys or plan keep everything out; all of it arrives once that is mended, by itself.
pub async fn a_refused_destination_loses_nothing<S: Subject, D: Driver>() {
    let mut trial = Trial::<S, D>::start().await;
    trial.accept_mixed(30).await;
    trial.settle().await;
    if !trial.inject(Fault::Refused).await {
        return;
    }
    trial.accept_mixed(60).await;
    trial.until("it fails", |progress| progress.failing).await;
    trial.work_for(std::time::Duration::from_millis(100)).await;
    trial.subject.recover().await;
    trial.settle().await;
    trial.judge(|_| false).await;
}
