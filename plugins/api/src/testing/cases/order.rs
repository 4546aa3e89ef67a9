//! G4: each object's operations are applied in the order in which they were accepted.

use crate::testing::{
    driver::Driver,
    subject::{Fault, Subject},
    trial::Trial,
};

/// Several batches in flight at once, with nothing wrong.
pub async fn order_holds_under_concurrency<S: Subject, D: Driver>() {
    let mut trial = Trial::<S, D>::start().await;
    for _ in 0..5 {
        trial.accept_mixed(40).await;
    }
    trial.settle().await;
    trial.judge(|_| false).await;
}

/// Answers that are lost, before and after the request was applied, so that requests come again among others.
pub async fn order_holds_through_lost_answers<S: Subject, D: Driver>() {
    let lost = [Fault::CutAfterApplying, Fault::ServerError, Fault::Cut, Fault::CutAfterApplying];
    order_holds_through::<S, D>(&lost).await;
}

/// Requests that are not taken, whole and in part, so that they come again among others.
pub async fn order_holds_through_retries<S: Subject, D: Driver>() {
    let throttled = Fault::Throttled { retry_after: None };
    order_holds_through::<S, D>(&[Fault::Unavailable, Fault::Partly, throttled, Fault::Partly]).await;
}

async fn order_holds_through<S: Subject, D: Driver>(faults: &[Fault]) {
    let mut trial = Trial::<S, D>::start().await;
    for fault in [faults, faults, faults].concat() {
        trial.inject(fault).await;
        trial.accept_mixed(20).await;
    }
    trial.settle().await;
    trial.judge(|_| false).await;
}
