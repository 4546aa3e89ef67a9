//! G4: a request that was given up, since its answer did not come, and that the destination applies later.
//!
//! What is promised: the same operations are sent again first, and nothing newer of their keys before that is
//! answered. So a late application before the resend changes nothing. One after newer operations changes nothing where
//! versions are checked or the plugin keeps its requests apart ([`Subject::late_is_harmless`]). Elsewhere the object
//! goes back to that older state until its next operation: that is the destination's, and no client can prevent it.

use crate::testing::{
    driver::Driver,
    subject::{Fault, Subject},
    trial::{DEADLINE, Trial},
};

const INDEX: &str = "products";

/// The late one comes before the resend.
pub async fn late_before_the_resend_changes_nothing<S: Subject, D: Driver>() {
    let mut trial = Trial::<S, D>::start().await;
    if !hold_saves(&mut trial).await {
        return;
    }
    release(&trial).await;
    trial.settle().await;
    accept_newer(&mut trial).await;
    trial.judge(|_| false).await;
}

/// The late ones, saves and a delete, come after newer ones.
pub async fn late_after_newer_ends_at_the_newest<S: Subject, D: Driver>() {
    let mut trial = Trial::<S, D>::start().await;
    if !hold_saves(&mut trial).await {
        return;
    }
    // Accepted while the outcome is unknown: sent only after the resend.
    accept_newer(&mut trial).await;
    trial.judge(|_| false).await;
    trial.inject(Fault::Hold).await;
    let delete = trial.history.delete(INDEX, "deleted");
    trial.accept(vec![delete]).await;
    trial.until("it is in flight", |progress| progress.in_flight > 0).await;
    let newer = trial.history.save(INDEX, "deleted");
    trial.accept(vec![newer]).await;
    trial.settle().await;
    trial.judge(|_| false).await;

    // Both are held until now, and applied in this order.
    assert_eq!(trial.subject.release().await, 2, "nothing was held: the test tells nothing");
    if !trial.subject.late_is_harmless() {
        let next = ["saved-0", "saved-1", "saved-2", "deleted"].map(|id| trial.history.save(INDEX, id));
        trial.accept(next.to_vec()).await;
        trial.settle().await;
        let state = trial.subject.state().await;
        return assert_eq!(state.objects, trial.history.objects(|_| false), "the next operation mends it");
    }
    trial.judge(|_| false).await;
}

/// Has saves under way whose request is held.
async fn hold_saves<S: Subject, D: Driver>(trial: &mut Trial<S, D>) -> bool {
    let before = trial.history.saves(INDEX, 3);
    trial.accept(before).await;
    trial.settle().await;
    if !trial.inject(Fault::Hold).await {
        return false;
    }
    let held = trial.history.saves(INDEX, 3);
    trial.accept(held).await;
    trial.until("they are in flight", |progress| progress.in_flight > 0).await;
    true
}

async fn accept_newer<S: Subject, D: Driver>(trial: &mut Trial<S, D>) {
    let newer = [trial.history.save(INDEX, "saved-0"), trial.history.delete(INDEX, "saved-1")];
    trial.accept(newer.to_vec()).await;
    trial.settle().await;
}

/// Applies what is held as soon as the destination has it.
async fn release<S: Subject, D: Driver>(trial: &Trial<S, D>) {
    let start = std::time::Instant::now();
    while trial.subject.release().await == 0 {
        assert!(start.elapsed() < DEADLINE, "nothing is held");
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
}
