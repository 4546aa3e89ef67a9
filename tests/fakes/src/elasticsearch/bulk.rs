//! Reads the body of a bulk request, without building trees: every source is a slice of the request.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::Number;

use super::answer::{self, Answer, Refusal};

/// Bytes of an id, inclusive.
const ID_BYTES_MAX: usize = 512;

/// What an item asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Replace the document, create it if it is missing.
    Index,
    /// Create the document, fail if it is there.
    Create,
    /// Change a document that is there.
    Update,
    /// Remove the document.
    Delete,
}

/// One item of a request.
pub(super) struct Item<'a> {
    pub(super) action: Action,
    pub(super) index: Cow<'a, str>,
    pub(super) id: Cow<'a, str>,
    /// With `external_gte`; none where the cluster counts.
    pub(super) version: Option<i64>,
    /// The first line.
    pub(super) head: &'a [u8],
    /// The second line; empty for a delete.
    pub(super) source: &'a [u8],
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Head<'a> {
    #[serde(borrow)]
    Index(Meta<'a>),
    #[serde(borrow)]
    Create(Meta<'a>),
    #[serde(borrow)]
    Update(Meta<'a>),
    #[serde(borrow)]
    Delete(Meta<'a>),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Meta<'a> {
    #[serde(borrow, rename = "_index", default)]
    index: Cow<'a, str>,
    #[serde(borrow, rename = "_id")]
    id: Cow<'a, str>,
    version: Option<Number>,
    version_type: Option<&'a str>,
    #[serde(rename = "retry_on_conflict")]
    _retry_on_conflict: Option<u32>,
}

/// Reads a request's body.
///
/// # Errors
/// What the whole request is answered.
pub(super) fn read(body: &[u8]) -> Result<Vec<Item<'_>>, Answer> {
    let refused = |refusal: &Refusal| Err(Answer::refused(refusal));
    if body.is_empty() {
        return refused(&Refusal::new(400, "parse_exception", "request body is required"));
    }
    if !body.ends_with(b"\n") {
        return refused(&answer::argument("The bulk request must be terminated by a newline [\\n]"));
    }
    let mut items = Vec::new();
    let mut lines = body[..body.len() - 1].split(|byte| *byte == b'\n').enumerate();
    while let Some((number, line)) = lines.next() {
        let head: Head<'_> = serde_json::from_slice(line).map_err(|_| malformed(number + 1, line))?;
        let (action, meta) = match head {
            Head::Index(meta) => (Action::Index, meta),
            Head::Create(meta) => (Action::Create, meta),
            Head::Update(meta) => (Action::Update, meta),
            Head::Delete(meta) => (Action::Delete, meta),
        };
        let source = match action {
            Action::Delete => &[],
            Action::Index | Action::Create | Action::Update => lines.next().map_or(&[][..], |(_, line)| line),
        };
        items.push(item(action, meta, line, source).map_err(|refusal| Answer::refused(&refusal))?);
    }
    Ok(items)
}

fn item<'a>(action: Action, meta: Meta<'a>, head: &'a [u8], source: &'a [u8]) -> Result<Item<'a>, Refusal> {
    if action == Action::Update && meta.version.is_some() {
        let words =
            "Update requests do not support versioning. Please use `if_seq_no` and `if_primary_term` instead";
        return Err(answer::argument(words));
    }
    if action == Action::Create && meta.version.is_some() {
        return Err(answer::invalid("create operations only support internal versioning. use index instead"));
    }
    if meta.id.len() > ID_BYTES_MAX {
        let (id, bytes) = (&meta.id, meta.id.len());
        return Err(answer::invalid(&format!(
            "id [{id}] is too long, must be no longer than {ID_BYTES_MAX} bytes but was: {bytes}"
        )));
    }
    let version = match (&meta.version, meta.version_type) {
        (None, None) => None,
        (Some(version), Some("external_gte")) => {
            // Seen: a number that is no long is an error of the server's, and stays one.
            let too_large =
                || Refusal::new(500, "input_coercion_exception", "Numeric value out of range of long");
            let version = version.as_i64().ok_or_else(too_large)?;
            if version < 0 {
                let words = format!("illegal version value [{version}] for version type [EXTERNAL_GTE]");
                return Err(answer::invalid(&words));
            }
            Some(version)
        }
        (version, kind) => {
            return Err(answer::argument(format!(
                "the fake does not know version {version:?} of type {kind:?}"
            )));
        }
    };
    Ok(Item { action, index: meta.index, id: meta.id, version, head, source })
}

fn malformed(number: usize, line: &[u8]) -> Answer {
    let line = String::from_utf8_lossy(line);
    let found = line.split('"').nth(1).unwrap_or_default();
    Answer::refused(&answer::argument(format!(
        "Malformed action/metadata line [{number}], expected one of [create, delete, index, update] but found [{found}]"
    )))
}
