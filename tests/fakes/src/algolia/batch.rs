//! Reads the body of a batch, without building trees: every record is a slice of the request.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::journal::Detail;

/// What a batch can ask for. The last three would make a retry dangerous or act on a whole index; asking for them
/// is recorded as a violation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Action {
    /// Replace the object.
    UpdateObject,
    /// Replace first-level attributes, create the object if it is missing.
    PartialUpdateObject,
    /// Replace first-level attributes of an object that is there.
    PartialUpdateObjectNoCreate,
    /// Remove the object.
    DeleteObject,
    /// Add an object, under a generated id if it has none.
    AddObject,
    /// Remove the index.
    Delete,
    /// Remove every object of the index.
    Clear,
}

/// One request of a batch.
pub(super) struct Item<'a> {
    pub(super) action: Action,
    /// Empty where the route names the index.
    pub(super) index: Cow<'a, str>,
    /// Empty where the record has none.
    pub(super) object_id: Cow<'a, str>,
    /// The record's own text; not kept when only counting.
    pub(super) body: Option<&'a RawValue>,
}

impl Item<'_> {
    /// The record's text, empty when only counting.
    pub(super) fn text(&self) -> &str {
        self.body.map_or("", RawValue::get)
    }

    /// The column (from 1) of the record's end within the request's single line; unknown when only counting.
    pub(super) fn column(&self, request: &[u8]) -> Option<usize> {
        let text = self.body?.get();
        Some((text.as_ptr() as usize).checked_sub(request.as_ptr() as usize)? + text.len())
    }
}

/// Reads a request's body.
///
/// # Errors
/// serde's, with the column at which the text is no batch.
pub(super) fn read<'a>(request: &'a [u8], detail: &Detail) -> serde_json::Result<Vec<Item<'a>>> {
    match detail {
        Detail::Counts => {
            let batch: Counted = serde_json::from_slice(request)?;
            Ok(batch.requests.into_iter().map(CountedItem::into_item).collect())
        }
        Detail::Attribute(_) | Detail::Bodies => {
            let batch: Kept = serde_json::from_slice(request)?;
            batch.requests.into_iter().map(KeptItem::into_item).collect()
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept<'a> {
    #[serde(borrow)]
    requests: Vec<KeptItem<'a>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KeptItem<'a> {
    action: Action,
    #[serde(borrow, default, rename = "indexName")]
    index: Cow<'a, str>,
    #[serde(borrow)]
    body: &'a RawValue,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Counted<'a> {
    #[serde(borrow)]
    requests: Vec<CountedItem<'a>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CountedItem<'a> {
    action: Action,
    #[serde(borrow, default, rename = "indexName")]
    index: Cow<'a, str>,
    #[serde(borrow)]
    body: Identified<'a>,
}

/// A record of which only the id matters; one that comes twice is refused.
#[derive(Deserialize)]
struct Identified<'a> {
    #[serde(borrow, default, rename = "objectID")]
    object_id: Cow<'a, str>,
}

impl<'a> KeptItem<'a> {
    fn into_item(self) -> serde_json::Result<Item<'a>> {
        let Identified { object_id } = serde_json::from_str(self.body.get())?;
        Ok(Item { action: self.action, index: self.index, object_id, body: Some(self.body) })
    }
}

impl<'a> CountedItem<'a> {
    fn into_item(self) -> Item<'a> {
        Item { action: self.action, index: self.index, object_id: self.body.object_id, body: None }
    }
}
