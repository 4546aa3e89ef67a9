//! Saves and deletes: versions, mappings, what is told of one bad document.

use plugin_api::{
    destination::Destination,
    operation::Action::{Delete, PartialUpdate, Save},
    verdict::{ReasonCode, Verdict},
};
use reqwest::Method;
use serde_json::json;

use crate::cluster::{Cluster, Row, batch, now, shown};

/// G3: what is sent again changes nothing, what comes late is superseded, also by a delete.
#[tokio::test]
async fn versions_decide() {
    let Some(cluster) = Cluster::find() else { return };
    assert_eq!(cluster.elasticsearch.probe().await, Ok(()));
    let index = "versions";
    cluster.make(index, "{}").await;
    let first = now();
    let older = batch(index, first, &[(Save, "1", r#"{"n":1}"#)]);
    let newer = batch(index, first + 1, &[(Save, "1", r#"{"n":2}"#)]);
    let delete = batch(index, first + 2, &[(Delete, "1", "")]);
    assert_eq!(cluster.write(&newer).await, [Verdict::Written]);
    assert_eq!(cluster.write(&newer).await, [Verdict::Written]);
    assert_eq!(cluster.write(&older).await, [Verdict::Superseded]);
    assert_eq!(cluster.get(index, "1").await, Some(json!({ "n": 2 })));
    assert_eq!(cluster.write(&delete).await, [Verdict::Written]);
    assert_eq!(cluster.write(&delete).await, [Verdict::Written]);
    assert_eq!(cluster.write(&newer).await, [Verdict::Superseded]);
    assert_eq!(cluster.get(index, "1").await, None);
    let again = batch(index, first + 3, &[(Save, "1", r#"{"n":4}"#), (Delete, "never", "")]);
    assert_eq!(shown(&cluster.write(&again).await), "ww");
    assert_eq!(cluster.version(index, "1").await, Some(i64::try_from((first + 3) * 1024).unwrap()));
}

/// G4: a key several times in one batch ends as its last operation says, and again when all is sent again.
#[tokio::test]
async fn a_key_comes_several_times() {
    let Some(cluster) = Cluster::find() else { return };
    let index = "repeats";
    cluster.make(index, "{}").await;
    let rows: [Row<'_>; 7] = [
        (Save, "1", r#"{"n":1}"#),
        (Delete, "1", ""),
        (Save, "1", r#"{"n":3}"#),
        (PartialUpdate, "1", r#"{"m":4}"#),
        (Save, "2", "{}"),
        (PartialUpdate, "2", r#"{"m":6}"#),
        (Delete, "2", ""),
    ];
    let batch = batch(index, now(), &rows);
    for round in ["wwwwwww", "ssswssw", "ssswssw"] {
        assert_eq!(shown(&cluster.write(&batch).await), round);
        assert_eq!(cluster.get(index, "1").await, Some(json!({ "n": 3, "m": 4 })));
        assert_eq!(cluster.get(index, "2").await, None);
    }
}

/// G6: each kind of bad document is refused alone, with words, and its neighbours are written.
#[tokio::test]
async fn one_bad_document_is_refused_alone() {
    let Some(cluster) = Cluster::find() else { return };
    let index = "mapped";
    let mapping = r#"{"mappings":{"properties":{"n":{"type":"integer"},"o":{"type":"object"},"k":{"type":"keyword"}}}}"#;
    cluster.make(index, mapping).await;
    let immense = format!(r#"{{"k":"{}"}}"#, "x".repeat(40_000));
    for (bad, words) in [
        (r#"{"n":"abc"}"#, "failed to parse field [n] of type [integer]"),
        (r#"{"n":{"a":1}}"#, "failed to parse field [n] of type [integer]"),
        (r#"{"o":1}"#, "object mapping for [o]"),
        (r#"{"n":1,"n":2}"#, "failed to parse"),
        (r#"{"n":"#, "failed to parse"),
        (r#"{"_id":"x"}"#, "failed to parse field [_id]"),
        (&immense, "immense term"),
    ] {
        let batch = batch(index, now(), &[(Save, "a", r#"{"n":1}"#), (Save, "bad", bad), (Save, "b", "{}")]);
        let verdicts = cluster.write(&batch).await;
        assert_eq!(shown(&verdicts), "wxw", "{bad:.60}: {verdicts:?}");
        let Verdict::Reject(reason) = &verdicts[1] else { panic!("{verdicts:?}") };
        assert!(reason.status == Some(400) && reason.message.contains(words), "{bad:.60}: {reason}");
    }
    cluster
        .make("strict", r#"{"mappings":{"dynamic":"strict","properties":{"n":{"type":"integer"}}}}"#)
        .await;
    let rows = [(Save, "1", r#"{"n":1}"#), (Save, "2", r#"{"zz":1}"#), (PartialUpdate, "1", r#"{"zz":1}"#)];
    assert_eq!(shown(&cluster.write(&batch("strict", now(), &rows)).await), "wxx");
    cluster.make("narrow", r#"{"settings":{"index.mapping.total_fields.limit":2}}"#).await;
    let rows = [(Save, "1", r#"{"a":1,"b":2}"#), (Save, "2", r#"{"c":1,"d":2,"e":3}"#)];
    assert_eq!(shown(&cluster.write(&batch("narrow", now(), &rows)).await), "wx");
}

/// G6: documents that add the same field at once, as different numbers, are all taken in the end: what one of them is told
/// comes of the race alone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_race_for_a_new_field_rejects_nobody() {
    let Some(cluster) = Cluster::find() else { return };
    for round in 0..10 {
        let index = format!("raced-{round}");
        cluster.make(&index, "{}").await;
        let saves: Vec<_> = (0..4)
            .map(|id: u32| {
                let body = if id.is_multiple_of(2) { r#"{"n":1}"# } else { r#"{"n":1.5}"# };
                batch(&index, now(), &[(Save, &id.to_string(), body)])
            })
            .collect();
        let write = async |save| {
            while let [Verdict::Retry(reason)] = &cluster.write(save).await[..] {
                assert_eq!(reason.code, ReasonCode::Unknown, "{reason}");
            }
            assert!(matches!(cluster.write(save).await[..], [Verdict::Written]));
        };
        tokio::join!(write(&saves[0]), write(&saves[1]), write(&saves[2]), write(&saves[3]));
    }
}

/// G3: a version that no agent can have given is told from a newer one of ours.
#[tokio::test]
async fn a_foreign_version_is_told() {
    let Some(cluster) = Cluster::find() else { return };
    let index = "foreign";
    cluster.make(index, "{}").await;
    let version = now();
    for (id, stored) in [("theirs", i64::MAX - 1), ("ours", i64::try_from((version + 9) * 1024).unwrap() + 3)]
    {
        let path = format!("/{index}/_doc/{id}?version={stored}&version_type=external_gte");
        cluster.ask(Method::PUT, &path, r#"{"there":true}"#).await;
    }
    for action in [Save, Delete, PartialUpdate] {
        let body = if action == Delete { "" } else { "{}" };
        let rows = [(action, "theirs", body), (action, "ours", body)];
        assert_eq!(shown(&cluster.write(&batch(index, version, &rows)).await), "fs", "{action:?}");
    }
}

/// Whatever an object is named and however its record is written, it arrives unchanged; compressed or not.
#[tokio::test]
async fn ids_and_bodies_arrive_unchanged() {
    let index = "unchanged";
    let body = " \r\n{ \"text\" : \"\\u00e9 \\n\\\"}{\\\" ☃\",\n\"n\" : 0.1, \"large\" : 9007199254740993 } ";
    let expected = json!({ "text": "é \n\"}{\" ☃", "n": 0.1, "large": 9_007_199_254_740_993_u64 });
    for gzip in [false, true] {
        let Some(cluster) = Cluster::find_with(|settings| settings.gzip = gzip) else { return };
        cluster.make(index, "{}").await;
        let long = "x".repeat(512);
        let ids = ["\"", "\\", "a\nb", "ünï ☃ 😀", "a/b?c#d", "{}", "\u{1}", "current version [1]", &long];
        for action in [Save, PartialUpdate] {
            let rows: Vec<Row<'_>> = ids.iter().map(|id| (action, *id, body)).collect();
            assert_eq!(shown(&cluster.write(&batch(index, now(), &rows)).await), "w".repeat(ids.len()));
        }
        cluster.ask(Method::POST, &format!("/{index}/_refresh"), "").await;
        let found = cluster.ask(Method::GET, &format!("/{index}/_search?size=100"), "").await;
        let hits = found["hits"]["hits"].as_array().unwrap();
        let mut stored: Vec<&str> = hits.iter().filter_map(|hit| hit["_id"].as_str()).collect();
        let mut sent = ids.to_vec();
        stored.sort_unstable();
        sent.sort_unstable();
        assert_eq!(stored, sent);
        assert!(hits.iter().all(|hit| hit["_source"] == expected), "{hits:?}");
    }
}

/// What is confirmed is found by searches, which it was not before.
#[tokio::test]
async fn a_refresh_makes_visible() {
    let Some(cluster) = Cluster::find() else { return };
    let index = "visible";
    cluster.make(index, r#"{"settings":{"index.refresh_interval":"-1"}}"#).await;
    let written = cluster.elasticsearch.write(&batch(index, now(), &[(Save, "1", "{}")])).await.unwrap();
    let count = async || cluster.ask(Method::GET, &format!("/{index}/_count"), "").await["count"].as_u64();
    assert_eq!(count().await, Some(0));
    assert_eq!(cluster.elasticsearch.confirmed(&written.confirmations[0]).await, Ok(true));
    assert_eq!(count().await, Some(1));
    cluster.ask(Method::DELETE, &format!("/{index}"), "").await;
    assert!(cluster.elasticsearch.confirmed(&written.confirmations[0]).await.is_err());
}
