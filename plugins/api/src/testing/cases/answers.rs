//! What a plugin answers: each fault is told as what it is, so that an engine can do the right thing, and once it is
//! over the same batch goes through.

use std::{sync::Arc, time::Duration};

use serde_json::json;

use super::poison::MARK;
use crate::{
    destination::Destination,
    operation::{Action, Batch},
    testing::{
        client::operation,
        history::History,
        subject::{Fault, Poison, Subject},
        trial::{inject, tell_no_secret},
        witness,
    },
    verdict::{ReasonCode, Scope, Verdict, WriteError, Written},
};

const INDEX: &str = "products";

/// Where the poisonous record stands.
const BAD: usize = 1;

type Answer = Result<Written, WriteError>;

/// Refused connections are no fault of a record's.
pub async fn an_outage_is_unavailable<S: Subject>() {
    is_told::<S>(Fault::Down, is_unavailable).await;
}

/// Nor is a server that says that it cannot serve.
pub async fn a_service_that_does_not_serve_is_unavailable<S: Subject>() {
    is_told::<S>(Fault::NotServing, is_unavailable).await;
    is_told::<S>(Fault::Unavailable, is_unavailable).await;
    is_told::<S>(Fault::Overloaded, is_unavailable).await;
}

/// The pause that is asked for is handed on.
pub async fn a_throttle_is_told_with_its_pause<S: Subject>() {
    is_told::<S>(Fault::Throttled { retry_after: None }, |answer| {
        matches!(answer, Err(WriteError::Throttled { retry_after: None, .. })) || is_retried(answer)
    })
    .await;
    is_told::<S>(Fault::Throttled { retry_after: Some(Duration::from_secs(7)) }, |answer| {
        matches!(answer, Err(WriteError::Throttled { retry_after: Some(pause), .. }) if pause.as_secs() == 7)
    })
    .await;
}

/// A lost answer may have been a success.
pub async fn a_lost_answer_is_unknown<S: Subject>() {
    for fault in [Fault::ServerError, Fault::Cut, Fault::CutAfterApplying, Fault::Hold] {
        is_told::<S>(fault, is_unknown).await;
    }
}

/// Each operation that is not taken for now comes back, the others do not.
pub async fn a_part_that_is_not_taken_comes_back<S: Subject>() {
    is_told::<S>(Fault::Partly, |answer| {
        let Ok(Written { verdicts, .. }) = answer else { return false };
        verdicts.contains(&Verdict::Written)
            && verdicts.iter().any(|verdict| matches!(verdict, Verdict::Retry(_)))
            && verdicts.iter().all(|verdict| matches!(verdict, Verdict::Written | Verdict::Retry(_)))
    })
    .await;
}

/// A request that is too large can be split.
pub async fn a_request_too_large_is_told<S: Subject>() {
    is_told::<S>(Fault::TooLarge, |answer| matches!(answer, Err(WriteError::TooLarge { .. }))).await;
}

/// Keys and plan concern the whole destination, and no record.
pub async fn a_refused_destination_is_misconfigured<S: Subject>() {
    is_told::<S>(Fault::Refused, |answer| {
        matches!(answer, Err(WriteError::Misconfigured { scope: Scope::Destination, .. }))
    })
    .await;
}

/// What something before the server answers says nothing of a record.
pub async fn a_page_of_a_proxy_concerns_the_destination<S: Subject>() {
    is_told::<S>(Fault::Page, |answer| {
        is_unavailable(answer)
            || matches!(answer, Err(WriteError::Misconfigured { scope: Scope::Destination, .. }))
    })
    .await;
}

/// A refused index concerns itself.
pub async fn a_refused_index_is_named<S: Subject>() {
    is_told::<S>(Fault::RefusedIndex(INDEX.to_owned()), |answer| match answer {
        Ok(written) => {
            written.verdicts.iter().all(|verdict| rejects_as(verdict, &[ReasonCode::IndexRefused]))
        }
        Err(WriteError::Misconfigured { scope: Scope::Index(index), reason }) => {
            **index == *INDEX && reason.code == ReasonCode::IndexRefused
        }
        Err(_) => false,
    })
    .await;
}

/// A record that is named is the one, and no other is.
pub async fn a_bad_record_is_named<S: Subject>() {
    let poison = Fault::Poison { mark: MARK.to_owned(), poison: Poison::Named };
    is_told::<S>(poison, |answer| match answer {
        Err(WriteError::BatchRejected { culprit, .. }) => *culprit == Some(BAD),
        answer => is_bad_alone(answer),
    })
    .await;
}

/// One that is not named leaves the batch to be bisected.
pub async fn a_bad_batch_is_to_be_bisected<S: Subject>() {
    let poison = Fault::Poison { mark: MARK.to_owned(), poison: Poison::Anonymous };
    is_told::<S>(poison, |answer| match answer {
        Err(WriteError::BatchRejected { culprit, .. }) => culprit.is_none() || *culprit == Some(BAD),
        answer => is_bad_alone(answer),
    })
    .await;
}

/// One that is answered like an outage is not called guilty by guess.
pub async fn poison_in_disguise_is_unknown<S: Subject>() {
    let poison = Fault::Poison { mark: MARK.to_owned(), poison: Poison::ItemError };
    is_told::<S>(poison, |answer| {
        let Ok(Written { verdicts, .. }) = answer else { return false };
        let fits = |(place, verdict): (usize, &Verdict)| match verdict {
            Verdict::Retry(reason) => place == BAD && reason.code == ReasonCode::Unknown,
            verdict => *verdict == Verdict::Written,
        };
        verdicts.iter().enumerate().all(fits)
    })
    .await;
    for poison in [Poison::ServerError, Poison::Hang] {
        is_told::<S>(Fault::Poison { mark: MARK.to_owned(), poison }, is_unknown).await;
    }
}

/// A probe tells what a write would meet, and nothing else.
pub async fn a_probe_tells_what_a_write_would_meet<S: Subject>() {
    let subject = S::start().await;
    let destination = subject.destination();
    assert_eq!(destination.probe().await, Ok(()));
    for fault in [Fault::Down, Fault::NotServing, Fault::Refused] {
        if inject(&subject, fault.clone()).await {
            let mut error = destination.probe().await.expect_err("it cannot serve");
            // It may have gone out on a connection from before, as that was cut.
            if matches!(error, WriteError::Unknown { .. }) {
                error = destination.probe().await.expect_err("it cannot serve");
            }
            let fits = match fault {
                Fault::Refused => {
                    matches!(error, WriteError::Misconfigured { scope: Scope::Destination, .. })
                }
                _ => matches!(error, WriteError::Unavailable { .. }),
            };
            assert!(fits, "{fault:?} is told as {error:?}");
            subject.recover().await;
            assert_eq!(destination.probe().await, Ok(()), "after {fault:?}");
        }
    }
    assert!(subject.state().await.objects.is_empty(), "a probe changes nothing");
}

/// Writes a batch that meets the fault, and once more when it is over.
async fn is_told<S: Subject>(fault: Fault, fits: impl Fn(&Answer) -> bool) {
    witness::start();
    let subject = S::start().await;
    let destination = subject.destination();
    let mut history = History::default();
    let good = history.save(INDEX, "good");
    let mark = matches!(fault, Fault::Poison { .. }).then_some(MARK);
    let bad = history.change(Action::Save, INDEX, "bad", json!({ "mark": mark }));
    let last = history.saves(INDEX, 2);
    let batch: Batch = [vec![good, bad], last].concat().iter().map(|change| operation(change, 1)).collect();
    if !inject(&subject, fault.clone()).await {
        return;
    }
    let answer = destination.write(&batch).await;
    assert!(fits(&answer), "{fault:?} is told as {answer:?}");
    subject.release().await;
    subject.recover().await;
    goes_through(&destination, &batch).await;
    assert_eq!(subject.state().await.objects, history.objects(|_| false), "after {fault:?}");
    tell_no_secret(&subject, &[format!("{answer:?}")]);
}

async fn goes_through(destination: &Arc<dyn Destination>, batch: &Batch) {
    let written = destination.write(batch).await.expect("nothing is wrong any more");
    assert_eq!(written.verdicts.len(), batch.operations().len());
    let fits = |verdict: &Verdict| matches!(verdict, Verdict::Written | Verdict::Superseded);
    assert!(written.verdicts.iter().all(fits), "{written:?}");
}

fn is_unavailable(answer: &Answer) -> bool {
    matches!(answer, Err(WriteError::Unavailable { .. })) || is_retried(answer)
}

fn is_unknown(answer: &Answer) -> bool {
    matches!(answer, Err(WriteError::Unknown { .. }))
}

fn is_retried(answer: &Answer) -> bool {
    let is_retry = |verdict: &Verdict| matches!(verdict, Verdict::Retry(_));
    matches!(answer, Ok(written) if !written.verdicts.is_empty() && written.verdicts.iter().all(is_retry))
}

fn is_bad_alone(answer: &Answer) -> bool {
    let Ok(Written { verdicts, .. }) = answer else { return false };
    let codes = [ReasonCode::Rejected, ReasonCode::TooLarge];
    let fits = |(place, verdict): (usize, &Verdict)| match place {
        BAD => rejects_as(verdict, &codes),
        _ => *verdict == Verdict::Written,
    };
    verdicts.iter().enumerate().all(fits)
}

fn rejects_as(verdict: &Verdict, codes: &[ReasonCode]) -> bool {
    matches!(verdict, Verdict::Reject(reason) if codes.contains(&reason.code))
}
