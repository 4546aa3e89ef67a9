//! Letters of a real store, as they are shown.

use plugin_api::{
    identity::{LogId, Position, RequestId, Timestamp, Version},
    operation::{Action, Key, Source},
    verdict::{Reason, ReasonCode},
};
use tempfile::TempDir;
use uuid::Uuid;

use super::*;
use crate::{
    admin::LetterFilter,
    dead_letter::{Bounds, Cause, Letter, Stage, Store, record_range, store_path},
};

const LOG: LogId = LogId(Uuid::from_u128(7));

fn letter(offset: u64, body: String) -> Letter {
    let key = Key { index: "products".into(), object_id: format!("<b>{offset}</b>").into() };
    Letter {
        source: Source {
            log_id: LOG,
            position: Position { partition: 0, offset },
            number: 0,
            request_id: RequestId(Uuid::from_u128(8)),
            accepted_at: Timestamp(1_795_446_000_000_000),
            caller: None,
        },
        version: Version(9),
        record: Change { action: Action::Save, key, body: body.into() },
        operation: None,
        module: None,
        stage: Stage::Delivery,
        reason: Reason::new(ReasonCode::Rejected, "too odd").with_status(400),
        attempts: 1,
        dead_lettered_at: Timestamp(1_795_446_001_000_000 + offset),
    }
}

fn ask(limit: u64, last: Option<u64>) -> ListLetters {
    let filter = LetterFilter { last, ..LetterFilter::default() };
    ListLetters { destination: "search".to_owned(), filter, limit }
}

/// Scenario: more letters than a list may have. They come page by page, newest first, each once, and the ranges with the
/// first page alone.
///
/// Protects G9: an answer is bounded, whatever is asked for.
#[tokio::test]
async fn letters_come_page_by_page() {
    let dir = TempDir::new().unwrap();
    let path = store_path(dir.path(), "search");
    let store = Store::open(&path, Bounds::default()).unwrap();
    store.file((0..450).map(|offset| letter(offset, "{}".to_owned())).collect()).await.unwrap();
    store.close().await.unwrap();
    let range = Range {
        log_id: LOG,
        first: Position { partition: 0, offset: 500 },
        end: Position { partition: 0, offset: 510 },
        index: None,
        records: 10,
        cause: Cause::Rotten,
        message: "checksum".to_owned(),
        recorded_at: Timestamp(1),
    };
    record_range(&path, &range).unwrap();

    let (mut ids, mut last, mut pages) = (Vec::new(), None, Vec::new());
    loop {
        let report = list(path.clone(), ask(u64::MAX, last)).await.unwrap();
        pages.push((report.letters.len(), report.ranges.len()));
        ids.extend(report.letters.iter().map(|letter| letter.id));
        last = ids.last().map(|id| id - 1);
        if !report.more {
            break;
        }
    }
    assert_eq!(pages, [(200, 1), (200, 0), (50, 0)]);
    assert_eq!(ids, (1..=450).rev().collect::<Vec<_>>());
    assert_eq!(list(path.clone(), ask(0, None)).await.unwrap().letters.len(), 1);

    let mut wrong = ask(1, None);
    wrong.filter.reason = Some("nonsense".to_owned());
    assert_eq!(list(path, wrong).await.unwrap_err().kind, Kind::Invalid);
    let none = list(store_path(dir.path(), "mirror"), ask(50, None)).await.unwrap();
    assert_eq!((none.letters, none.more), (Vec::new(), false));
}

/// Scenario: a letter with a small record, one with a large record that ends in the middle of a character, and one that
/// is gone. Data is shown as it came, or so much of it.
#[tokio::test]
async fn one_letter_is_shown_with_its_data() {
    let dir = TempDir::new().unwrap();
    let path = store_path(dir.path(), "search");
    let store = Store::open(&path, Bounds::default()).unwrap();
    let small = r#"{"n":9007199254740993,"html":"<img src=x onerror=alert(1)>"}"#;
    let large = format!("{{\"t\":\"a{}\"}}", "ü".repeat(200_000));
    let mut second = letter(1, large.clone());
    second.source.caller = Some("spiffe://mesh/shop".into());
    let key = Key { index: "other".into(), object_id: "1-1".into() };
    second.operation = Some(Change { action: Action::Delete, key, body: Default::default() });
    store.file(vec![letter(0, small.to_owned()), second]).await.unwrap();
    store.close().await.unwrap();

    let asked = |id| ShowLetter { destination: "search".to_owned(), id };
    let first = show(path.clone(), asked(1)).await.unwrap();
    assert_eq!((first.record.data.as_str(), first.record.data_bytes_left_out), (small, 0));
    assert_eq!((first.letter.object_id.as_str(), first.operation), ("<b>0</b>", None));
    assert_eq!((first.letter.reason.status, first.caller), (Some(400), None));

    let second = show(path.clone(), asked(2)).await.unwrap();
    assert_eq!(second.caller.as_deref(), Some("spiffe://mesh/shop"));
    let shown = second.record.data.len();
    assert!(large.starts_with(&second.record.data) && (DATA_BYTES_MAX - 3..=DATA_BYTES_MAX).contains(&shown));
    assert_eq!(second.record.data_bytes_left_out, (large.len() - shown) as u64);
    assert_eq!(second.operation.map(|operation| operation.action), Some("delete".to_owned()));

    for id in [3, u64::MAX] {
        assert_eq!(show(path.clone(), asked(id)).await.unwrap_err().kind, Kind::NotFound, "{id}");
    }
    assert_eq!(show(store_path(dir.path(), "mirror"), asked(1)).await.unwrap_err().kind, Kind::NotFound);
}
