//! G5: what is unavailable waits. Nothing is given up, and everything arrives in order once the destination serves.

use std::time::{Duration, Instant};

use crate::testing::{
    driver::{Driver, Tuning},
    subject::{Fault, Subject},
    trial::Trial,
};

/// Nothing can be reached, again and again.
pub async fn an_outage_loses_nothing<S: Subject, D: Driver>() {
    outage::<S, D>(Fault::Down).await;
}

/// Everything answers that it cannot serve, probes included.
pub async fn a_service_that_does_not_serve_loses_nothing<S: Subject, D: Driver>() {
    outage::<S, D>(Fault::NotServing).await;
}

/// Probes pass, and no write is taken.
pub async fn writes_that_are_not_taken_lose_nothing<S: Subject, D: Driver>() {
    outage::<S, D>(Fault::Overloaded).await;
}

/// Something before the server answers as the server would if every record were bad.
pub async fn a_page_of_a_proxy_loses_nothing<S: Subject, D: Driver>() {
    outage::<S, D>(Fault::Page).await;
}

async fn outage<S: Subject, D: Driver>(fault: Fault) {
    let mut trial = Trial::<S, D>::start().await;
    for _ in 0..3 {
        trial.accept_mixed(30).await;
        trial.settle().await;
        if !trial.inject(fault.clone()).await {
            return;
        }
        trial.accept_mixed(30).await;
        trial.until("it fails", |progress| progress.failing).await;
        // Not the first failure alone: an outage lasts.
        trial.work_for(Duration::from_millis(100)).await;
        trial.subject.recover().await;
    }
    trial.settle().await;
    trial.judge(|_| false).await;
}

/// Every request meets an error that may be a record's fault, for longer than a single bad record would be given: as
/// long as nobody succeeds it is nobody's.
pub async fn an_outage_that_looks_like_poison_loses_nothing<S: Subject, D: Driver>() {
    let mut trial = Trial::<S, D>::start_with(Tuning { attempts_max: 3, ..Tuning::default() }).await;
    trial.accept_mixed(30).await;
    trial.settle().await;
    for _ in 0..20 {
        trial.inject(Fault::ServerError).await;
        trial.inject(Fault::Cut).await;
    }
    trial.accept_mixed(30).await;
    trial.settle().await;
    trial.judge(|_| false).await;
}

/// Some requests are served, slowly, and others fail in every way.
pub async fn a_brown_out_loses_nothing<S: Subject, D: Driver>() {
    let mut trial = Trial::<S, D>::start().await;
    let throttled = Fault::Throttled { retry_after: None };
    let faults = [
        Fault::Slow,
        Fault::Unavailable,
        Fault::Slow,
        Fault::ServerError,
        throttled,
        Fault::Slow,
        Fault::Partly,
        Fault::CutAfterApplying,
        Fault::Slow,
        Fault::Cut,
    ];
    for fault in [&faults[..]; 3].concat() {
        trial.inject(fault).await;
        trial.accept_mixed(10).await;
    }
    trial.settle().await;
    trial.judge(|_| false).await;
}

/// Less is asked for, with and without saying how long; what was asked for is kept to.
pub async fn a_throttle_is_kept_to<S: Subject, D: Driver>() {
    let mut trial = Trial::<S, D>::start().await;
    trial.accept_mixed(20).await;
    trial.settle().await;
    for _ in 0..3 {
        if !trial.inject(Fault::Throttled { retry_after: None }).await {
            return;
        }
    }
    let pause = Duration::from_secs(1);
    trial.inject(Fault::Throttled { retry_after: Some(pause) }).await;
    let start = Instant::now();
    // One batch, so that no other is in flight while the pause is asked for.
    let saves = trial.history.saves("products", 8);
    trial.accept(saves).await;
    trial.settle().await;
    assert!(start.elapsed() >= pause, "sent again after {:?}", start.elapsed());
    trial.judge(|_| false).await;
}

/// A request that is larger than the destination takes goes out in parts.
pub async fn a_request_too_large_goes_out_in_parts<S: Subject, D: Driver>() {
    let mut trial = Trial::<S, D>::start().await;
    if !trial.inject(Fault::TooLarge).await {
        return;
    }
    let saves = trial.history.saves("products", 30);
    trial.accept(saves).await;
    trial.settle().await;
    trial.judge(|_| false).await;
}
