//! G3, G4: the agent dies. What was not persisted is sent again in order, and each object ends at its newest.

use std::time::Duration;

use crate::testing::{
    driver::Driver,
    history::INDEXES,
    subject::{Fault, Subject},
    trial::Trial,
};

/// Between the destination's answer and the cursor, more than once.
pub async fn a_crash_between_write_and_cursor_repeats_in_order<S: Subject, D: Driver>() {
    let mut trial = Trial::<S, D>::start().await;
    trial.accept_mixed(30).await;
    trial.settle().await;
    for _ in 0..2 {
        trial.accept_mixed(60).await;
        trial.settle().await;
        trial = trial.crash().await;
        trial.accept_mixed(10).await;
    }
    trial.settle().await;
    trial.judge(|_| false).await;
}

/// Before the answer: to a request that was never applied, and to one that was.
pub async fn a_crash_before_the_answer_repeats_in_order<S: Subject, D: Driver>() {
    let mut trial = Trial::<S, D>::start().await;
    trial.accept_mixed(30).await;
    trial.settle().await;
    if trial.inject(Fault::Hold).await {
        // Nothing that comes later hides one of these if it is lost.
        let held = trial.history.saves(INDEXES[0], 3);
        trial.accept(held).await;
        trial.until("a request is in flight", |progress| progress.in_flight > 0).await;
        trial.accept_mixed(30).await;
        // Long enough to persist what must not be.
        trial.work_for(Duration::from_millis(100)).await;
        trial = trial.crash().await;
        trial.settle().await;
    }
    if !trial.inject(Fault::CutAfterApplying).await {
        return;
    }
    trial.accept_mixed(30).await;
    trial.until("the answer is lost", |progress| progress.failing || progress.settled).await;
    let mut trial = trial.crash().await;
    trial.accept_mixed(30).await;
    trial.settle().await;
    trial.judge(|_| false).await;
}

/// In the middle of a write.
pub async fn a_crash_in_the_middle_of_a_write_leaves_no_trace<S: Subject, D: Driver>() {
    let mut trial = Trial::<S, D>::start().await;
    for _ in 0..2 {
        trial.accept_mixed(30).await;
        trial.settle().await;
        if !trial.inject(Fault::Torn).await {
            return;
        }
        trial = trial.crash().await;
    }
    trial.accept_mixed(30).await;
    trial.settle().await;
    trial.judge(|_| false).await;
}
