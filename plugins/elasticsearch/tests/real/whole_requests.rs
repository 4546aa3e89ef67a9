//! Requests that are refused as a whole.

use plugin_api::{
    destination::Destination,
    operation::Action::Save,
    verdict::{ReasonCode, WriteError},
};

use crate::cluster::{Cluster, batch, now, shown};

/// Bytes of a request above what indexing pressure lets pass, and above what the server reads at all.
const PRESSED: usize = 6 << 20;
const TOO_LARGE: usize = 9 << 20;

/// Compressed or not, it is the decompressed size that counts.
#[tokio::test]
async fn size_is_told_from_load() {
    let index = "sizes";
    for gzip in [false, true] {
        let Some(cluster) = Cluster::find_with(|settings| settings.gzip = gzip) else { return };
        cluster.make(index, r#"{"mappings":{"enabled":false}}"#).await;
        let of = |bytes| {
            let body = format!(r#"{{"text":"{}"}}"#, "x".repeat(bytes / 4));
            batch(
                index,
                now(),
                &[(Save, "1", &body), (Save, "2", &body), (Save, "3", &body), (Save, "4", &body)],
            )
        };
        let busy = cluster.elasticsearch.write(&of(PRESSED)).await.unwrap_err();
        assert!(matches!(busy, WriteError::Throttled { retry_after: None, .. }), "{busy:?}");
        assert!(busy.reason().message.contains("rejected execution of coordinating operation"), "{busy}");
        let large = cluster.elasticsearch.write(&of(TOO_LARGE)).await.unwrap_err();
        assert!(matches!(large, WriteError::TooLarge { .. }), "{large:?}");
        assert_eq!((large.reason().code, large.reason().status), (ReasonCode::TooLarge, Some(413)));
        assert_eq!(shown(&cluster.write(&of(100_000)).await), "wwww");
    }
}

/// G6: what validation refuses, it refuses for all of the request: nothing of it is written, and nobody is named.
#[tokio::test]
async fn validation_refuses_the_whole_request() {
    let Some(cluster) = Cluster::find() else { return };
    let index = "validated";
    cluster.make(index, "{}").await;
    let long = "x".repeat(513);
    let rows = [(Save, "good", "{}"), (Save, long.as_str(), "{}")];
    let refused = cluster.elasticsearch.write(&batch(index, now(), &rows)).await.unwrap_err();
    assert!(matches!(refused, WriteError::BatchRejected { culprit: None, .. }), "{refused:?}");
    assert!(refused.reason().message.contains("Validation Failed: 1: id [xxx"), "{refused}");
    assert_eq!(cluster.get(index, "good").await, None);
    // What would be one is refused before it is sent.
    let operations = batch(index, now(), &rows).into_operations();
    assert!(cluster.elasticsearch.admit(&operations[0]).is_ok());
    assert!(cluster.elasticsearch.admit(&operations[1]).is_err());
}
