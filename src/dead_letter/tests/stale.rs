//! Which letters something newer makes stale.

use super::*;
use crate::dead_letter::Delivered;

/// An operation on an object, made from a record that was sent to an index.
fn operation(index: &str, object_id: &str, record_index: &str, version: u64) -> Operation {
    Operation {
        action: Action::Save,
        key: Key { index: index.into(), object_id: object_id.into() },
        body: Bytes::new(),
        version: Version(version),
        record_index: record_index.into(),
        origin: None,
        source: letter(0).source,
    }
}

/// G4: a letter is found by the object that its record was sent for, under whatever name the destination knows the index,
/// and by the object that was made of it; only by what is newer, and the filter passes over neither.
#[tokio::test]
async fn a_letter_is_found_by_both_of_its_objects() {
    let (_dir, path) = place();
    let store = Store::open(&path, Bounds::default()).unwrap();
    let version = letter(7).version.0;
    let mut made = letter(7);
    made.record.key.index = "raw".into();
    let key = Key { index: "variants".into(), object_id: "object-7-b".into() };
    made.operation = Some(Change { action: Action::Save, key, body: Bytes::new() });
    store.file(vec![letter(1), made]).await.unwrap();
    let stale = || -> Vec<bool> {
        read(&path, Filter::default(), Order::OldestFirst).into_iter().map(|filed| filed.stale).collect()
    };
    let deliver = async |index: &str, object_id: &str, record_index: &str, version| {
        let operation = operation(index, object_id, record_index, version);
        store.mark_stale(vec![Delivered::from(&operation)]).await.unwrap();
        store.may_be_of(&operation)
    };
    // Not newer; another object of the same index; the same object of another index.
    assert!(deliver("products", "object-1", "products", letter(1).version.0).await);
    assert!(deliver("variants", "object-7-b", "raw", version).await);
    deliver("products", "object-2", "products", version + 1).await;
    deliver("others", "object-1", "others", version + 1).await;
    deliver("variants", "object-7-a", "raw", version + 1).await;
    assert_eq!(stale(), [false, false]);

    assert!(deliver("products_v2", "object-1", "products", version + 1).await);
    assert_eq!(stale(), [true, false]);
    assert!(deliver("variants", "object-7-b", "elsewhere", version + 1).await);
    assert_eq!(stale(), [true, true]);
    store.close().await.unwrap();
    let store = Store::open(&path, Bounds::default()).unwrap();
    assert!(store.may_be_of(&operation("variants", "object-7-b", "elsewhere", 1)), "read anew");
}
