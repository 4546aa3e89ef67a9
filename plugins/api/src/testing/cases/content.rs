//! What arrives: every operation with its meaning, whatever it is named and holds, in batches of any size.

use std::{
    collections::{BTreeSet, HashSet},
    future::Future,
    pin::pin,
    task::{Context, Waker},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{
    operation::{Action, Batch},
    testing::{
        client::operation,
        history::{Change, History},
        judge::judge,
        subject::Subject,
        trial::DEADLINE,
    },
    verdict::Verdict,
};

/// A key comes several times in one batch, in several indexes, with every action; each operation gets a verdict, and
/// what was written becomes visible.
pub async fn a_batch_is_applied_in_its_order<S: Subject>() {
    let subject = S::start().await;
    let destination = subject.destination();
    let mut history = History::default();
    let mixed = history.mixed(100);
    let written = destination.write(&batch(&mixed)).await.expect("nothing is wrong");
    let is_versioned = destination.capabilities().versioned;
    let fits = |verdict: &Verdict| match verdict {
        Verdict::Written => true,
        // By a later one of the same batch.
        Verdict::Superseded => is_versioned,
        Verdict::Retry(_) | Verdict::Reject(_) => false,
    };
    assert_eq!(written.verdicts.len(), 100);
    assert!(written.verdicts.iter().all(fits), "{written:?}");
    judge(&subject, &history, &BTreeSet::new()).await;
    let indexes: HashSet<_> = written.confirmations.iter().map(|confirmation| &confirmation.index).collect();
    assert_eq!(indexes.len(), written.confirmations.len(), "one for each index, at most");
    for confirmation in &written.confirmations {
        assert!(confirmation.handle.len() <= 256, "{confirmation:?}");
        let start = Instant::now();
        while !destination.confirmed(confirmation).await.expect("nothing is wrong") {
            assert!(start.elapsed() < DEADLINE, "{confirmation:?} is still not visible");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    assert_eq!(subject.violations(), Vec::<String>::new());
}

/// What is admitted arrives unchanged under its own name, and at no other.
pub async fn what_is_admitted_arrives_unchanged<S: Subject>() {
    let subject = S::start().await;
    let destination = subject.destination();
    let names = [
        "plain",
        "UPPER",
        "a b",
        "a/b",
        "..",
        "%2e",
        "\"",
        "\\",
        "a\nb",
        "ünï ☃ 😀",
        "*",
        "_doc",
        "#?",
        "{}",
    ];
    let body: Value = json!({
        "text": "é \"}{\" ☃\u{2028}\n", "nested": { "objectID": 1, "_id": "x", "list": [[], {}, null] },
        "integer": -9_007_199_254_740_993_i64, "fraction": 1.5, "large": 1.5e30, "long": "x".repeat(9_000),
    });
    let mut history = History::default();
    let in_indexes = names.map(|name| history.change(Action::Save, name, "id", body.clone()));
    let of_ids = names.map(|name| history.change(Action::Save, "products", name, body.clone()));
    let all = [in_indexes, of_ids].concat();
    let is_admitted = |change: &Change| destination.admit(&operation(change, 1)).is_ok();
    let admitted: Vec<Change> = all.iter().filter(|change| is_admitted(change)).cloned().collect();
    assert!(admitted.len() >= 2, "even a plain name is not admitted");
    let written = destination.write(&batch(&admitted)).await.expect("nothing is wrong");
    assert_eq!(written.verdicts, vec![Verdict::Written; admitted.len()]);
    assert_eq!(subject.state().await.objects, history.objects(|change| !is_admitted(change)));
    assert_eq!(subject.violations(), Vec::<String>::new());
}

/// As many operations as it says it can take, and none.
pub async fn a_batch_may_be_as_large_as_it_says<S: Subject>() {
    let subject = S::start().await;
    let destination = subject.destination();
    let count = destination.capabilities().operations_max;
    let mut history = History::default();
    let saves = history.saves("products", count);
    let written = destination.write(&batch(&saves)).await.expect("nothing is wrong");
    assert_eq!(written.verdicts, vec![Verdict::Written; count]);
    assert_eq!(subject.state().await.objects.len(), count);
    let nothing = destination.write(&Batch::default()).await.expect("nothing is wrong");
    assert_eq!((nothing.verdicts.len(), nothing.confirmations.len()), (0, 0));
}

/// A write may be dropped at any moment; the same again and then newer ones end at the newest. (Where a late
/// application is the destination's affair, so is this.)
pub async fn a_dropped_write_harms_nothing<S: Subject>() {
    let subject = S::start().await;
    if !subject.late_is_harmless() {
        return;
    }
    let destination = subject.destination();
    let mut history = History::default();
    for polls in 0..20 {
        let dropped = batch(&history.saves("products", 200));
        {
            let mut write = pin!(destination.write(&dropped));
            for _ in 0..polls {
                if write.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready() {
                    break;
                }
                tokio::task::yield_now().await;
            }
        }
        for batch in [dropped, batch(&history.saves("products", 200))] {
            destination.write(&batch).await.expect("nothing is wrong");
        }
        judge(&subject, &history, &BTreeSet::new()).await;
    }
}

fn batch(changes: &[Change]) -> Batch {
    changes.iter().map(|change| operation(change, 1)).collect()
}
