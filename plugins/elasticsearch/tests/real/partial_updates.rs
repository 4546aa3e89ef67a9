//! Partial updates (G4): by script and merged, on what is there and on what is missing, once and again.

use plugin_api::{
    operation::Action::{Delete, PartialUpdate, PartialUpdateNoCreate, Save},
    verdict::Verdict,
};
use serde_json::{Value, json};

use crate::cluster::{Cluster, Row, batch, now, shown};

/// Each first-level attribute replaces the stored one; merged, objects grow together.
#[tokio::test]
async fn first_level_attributes_are_replaced() {
    let rows = [(Save, "1", r#"{"a":{"x":1},"b":1}"#), (PartialUpdate, "1", r#"{"a":{"y":2},"c":[3]}"#)];
    let Some(cluster) = Cluster::find() else { return };
    cluster.make("replaced", "{}").await;
    assert_eq!(shown(&cluster.write(&batch("replaced", now(), &rows)).await), "ww");
    assert_eq!(cluster.get("replaced", "1").await, Some(json!({ "a": { "y": 2 }, "b": 1, "c": [3] })));
    let Some(cluster) = Cluster::find_merging() else { return };
    cluster.make("merged", "{}").await;
    assert_eq!(shown(&cluster.write(&batch("merged", now(), &rows)).await), "ww");
    assert_eq!(cluster.get("merged", "1").await, Some(json!({ "a": { "x": 1, "y": 2 }, "b": 1, "c": [3] })));
}

/// Sequences on one key, in one batch and in a batch each: the state is the last one, and stays so when all of them are
/// applied and then all are sent again.
#[tokio::test]
async fn all_applied_and_all_sent_again_ends_the_same() {
    let Some(cluster) = Cluster::find() else { return };
    let index = "again";
    cluster.make(index, "{}").await;
    type Case = (&'static [(plugin_api::operation::Action, &'static str)], Value);
    let cases: [Case; 8] = [
        (&[(Save, r#"{"a":1}"#), (PartialUpdate, r#"{"b":2}"#), (Save, r#"{"c":3}"#)], json!({ "c": 3 })),
        (&[(Save, r#"{"a":1}"#), (PartialUpdate, r#"{"b":2}"#), (Delete, "")], Value::Null),
        (
            &[(Save, r#"{"a":1}"#), (PartialUpdate, r#"{"a":2}"#), (PartialUpdate, r#"{"a":3}"#)],
            json!({ "a": 3 }),
        ),
        (&[(PartialUpdate, r#"{"a":1}"#), (PartialUpdate, r#"{"b":2}"#)], json!({ "a": 1, "b": 2 })),
        (&[(PartialUpdateNoCreate, r#"{"a":1}"#), (PartialUpdate, r#"{"b":2}"#)], json!({ "b": 2 })),
        (&[(PartialUpdate, r#"{"a":1}"#), (Delete, ""), (PartialUpdate, r#"{"b":2}"#)], json!({ "b": 2 })),
        (
            &[(PartialUpdate, r#"{"a":1}"#), (Save, r#"{"b":2}"#), (PartialUpdate, r#"{"c":3}"#)],
            json!({ "b": 2, "c": 3 }),
        ),
        (&[(Save, r#"{"a":1}"#), (Delete, ""), (PartialUpdateNoCreate, r#"{"b":2}"#)], Value::Null),
    ];
    for (number, (operations, expected)) in cases.iter().enumerate() {
        for together in [true, false] {
            let id = format!("{number}-{together}");
            let rows: Vec<Row<'_>> =
                operations.iter().map(|(action, body)| (*action, id.as_str(), *body)).collect();
            let first = now();
            for round in 0..3 {
                if together {
                    cluster.write(&batch(index, first, &rows)).await;
                } else {
                    for (version, row) in (first..).zip(&rows) {
                        cluster.write(&batch(index, version, &[*row])).await;
                    }
                }
                let stored = cluster.get(index, &id).await.unwrap_or_default();
                assert_eq!(stored, *expected, "{operations:?}, together: {together}, round {round}");
            }
        }
    }
}

/// A partial update that comes after a newer save or delete touches nothing and lifts no version; any number of repeats
/// hides no later save.
#[tokio::test]
async fn what_comes_late_does_no_harm() {
    let Some(cluster) = Cluster::find() else { return };
    let index = "late";
    cluster.make(index, "{}").await;
    let first = now();
    let late = batch(index, first, &[(Save, "1", r#"{"a":0}"#), (PartialUpdate, "1", r#"{"a":1}"#)]);
    for _ in 0..20 {
        cluster.write(&late).await;
    }
    let save = batch(index, first + 2, &[(Save, "1", r#"{"a":2}"#)]);
    assert_eq!(cluster.write(&save).await, [Verdict::Written]);
    assert_eq!(shown(&cluster.write(&late).await), "ss");
    assert_eq!(cluster.get(index, "1").await, Some(json!({ "a": 2 })));
    assert_eq!(cluster.version(index, "1").await, Some(i64::try_from((first + 2) * 1024).unwrap()));
    cluster.write(&batch(index, first + 3, &[(Delete, "1", "")])).await;
    assert_eq!(shown(&cluster.write(&late).await), "ss");
    assert_eq!(cluster.get(index, "1").await, None);
}

/// Merged, a save writes over what a late update did to it.
#[tokio::test]
async fn a_merged_update_that_comes_late_is_written_over() {
    let Some(cluster) = Cluster::find_merging() else { return };
    let index = "merged-late";
    cluster.make(index, "{}").await;
    let first = now();
    let save = batch(index, first + 1, &[(Save, "1", r#"{"a":2}"#)]);
    cluster.write(&save).await;
    cluster.write(&batch(index, first, &[(PartialUpdate, "1", r#"{"late":true}"#)])).await;
    assert_eq!(cluster.write(&save).await, [Verdict::Written]);
    assert_eq!(cluster.get(index, "1").await, Some(json!({ "a": 2 })));
    let rows = [(PartialUpdate, "2", r#"{"a":1}"#), (PartialUpdate, "2", r#"{"a":1}"#), (Delete, "1", "")];
    assert_eq!(shown(&cluster.write(&batch(index, first + 2, &rows)).await), "www");
}
