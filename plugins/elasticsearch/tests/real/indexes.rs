//! Indexes that take nothing: each in its own way, and the others of the request are written all the same (G5).

use plugin_api::{
    operation::{
        Action::{Delete, PartialUpdate, Save},
        Batch,
    },
    verdict::{ReasonCode, Verdict},
};
use reqwest::Method;

use crate::cluster::{Cluster, now, operation, shown};

/// A save, a partial update and a delete for this index, each followed by a save for a good one.
fn mixed(index: &str) -> Batch {
    (now()..)
        .zip([(Save, "{}"), (PartialUpdate, "{}"), (Delete, "")])
        .flat_map(|(version, (action, body))| {
            [operation(action, index, "1", body, version), operation(Save, "good", "1", "{}", version)]
        })
        .collect()
}

/// The same without the partial update, for indexes on which there is nothing to update.
fn mixed_saves(index: &str) -> Batch {
    let version = now();
    let good = || operation(Save, "good", "1", "{}", version);
    [operation(Save, index, "1", "{}", version), good(), operation(Delete, index, "1", "", version), good()]
        .into_iter()
        .collect()
}

#[tokio::test]
async fn a_missing_index_is_refused() {
    let Some(cluster) = Cluster::find() else { return };
    let rule = r#"{"transient":{"action.auto_create_index":"-never*,+*"}}"#;
    cluster.ask(Method::PUT, "/_cluster/settings", rule).await;
    let verdicts = cluster.write(&mixed("never-made")).await;
    assert_eq!(shown(&verdicts), "iwiwiw", "{verdicts:?}");
    let Verdict::Reject(reason) = &verdicts[4] else { panic!("{verdicts:?}") };
    assert_eq!((reason.code, reason.status), (ReasonCode::IndexRefused, Some(404)));
    // Where it may be made, a delete of what was never there is a success.
    cluster.try_ask(Method::DELETE, "/made-by-delete", "").await;
    let delete: Batch = [operation(Delete, "made-by-delete", "1", "", now())].into_iter().collect();
    assert_eq!(cluster.write(&delete).await, [Verdict::Written]);
}

#[tokio::test]
async fn closed_and_blocked_indexes_are_refused() {
    let Some(cluster) = Cluster::find() else { return };
    cluster.make("closed", "{}").await;
    cluster.ask(Method::POST, "/closed/_close", "").await;
    assert_eq!(shown(&cluster.write(&mixed("closed")).await), "iwiwiw");

    cluster.make("blocked", r#"{"settings":{"index.blocks.write":true}}"#).await;
    assert_eq!(shown(&cluster.write(&mixed("blocked")).await), "iwiwiw");

    // Flood stage: it passes once there is room again.
    cluster.make("flooded", r#"{"settings":{"index.blocks.read_only_allow_delete":true}}"#).await;
    let verdicts = cluster.write(&mixed("flooded")).await;
    assert_eq!(shown(&verdicts), "rwrwrw", "{verdicts:?}");
    let Verdict::Retry(reason) = &verdicts[0] else { panic!("{verdicts:?}") };
    assert_eq!((reason.code, reason.status), (ReasonCode::Throttled, Some(429)));
    let room = r#"{"index.blocks.read_only_allow_delete":null}"#;
    cluster.ask(Method::PUT, "/flooded/_settings", room).await;
    assert_eq!(shown(&cluster.write(&mixed("flooded")).await), "wwwwww");
}

#[tokio::test]
async fn what_is_no_plain_index_is_refused() {
    let Some(cluster) = Cluster::find() else { return };
    for index in ["several-1", "several-2"] {
        cluster.make(index, r#"{"aliases":{"several":{}}}"#).await;
    }
    assert_eq!(shown(&cluster.write(&mixed_saves("several")).await), "iwiw");

    cluster.make("piped", r#"{"settings":{"index.default_pipeline":"nope"}}"#).await;
    let save: Batch = [operation(Save, "piped", "1", "{}", now())].into_iter().collect();
    assert_eq!(shown(&cluster.write(&save).await), "i");

    cluster.make("routed", r#"{"mappings":{"_routing":{"required":true}}}"#).await;
    assert_eq!(shown(&cluster.write(&mixed_saves("routed")).await), "iwiw");

    let template = r#"{"index_patterns":["stream*"],"data_stream":{}}"#;
    cluster.ask(Method::PUT, "/_index_template/stream", template).await;
    cluster.try_ask(Method::PUT, "/_data_stream/stream", "").await;
    let save: Batch = [operation(Save, "stream", "1", "{}", now())].into_iter().collect();
    assert_eq!(shown(&cluster.write(&save).await), "i");
}

/// A shard that is nowhere holds nobody for longer than our own patience, and is waited for.
#[tokio::test]
async fn an_unassigned_shard_is_waited_for() {
    let Some(cluster) = Cluster::find_with(|settings| settings.timeout = std::time::Duration::from_secs(3))
    else {
        return;
    };
    let nowhere = r#"{"settings":{"index.routing.allocation.require._name":"nobody"}}"#;
    cluster.try_ask(Method::DELETE, "/unassigned", "").await;
    cluster.ask(Method::PUT, "/unassigned?wait_for_active_shards=0", nowhere).await;
    let verdicts = cluster.write(&mixed("unassigned")).await;
    assert_eq!(shown(&verdicts), "rwrwrw", "{verdicts:?}");
    let Verdict::Retry(reason) = &verdicts[0] else { panic!("{verdicts:?}") };
    assert_eq!((reason.code, reason.status), (ReasonCode::Unavailable, Some(503)));
    cluster.ask(Method::DELETE, "/unassigned", "").await;
}
