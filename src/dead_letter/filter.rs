//! Which letters are meant: by whoever shows, deletes or replays them.

use std::sync::Arc;

use plugin_api::{
    identity::{RequestId, Timestamp},
    verdict::ReasonCode,
};
use rusqlite::types::Value;

use super::{LetterId, Stage};

/// Which letters; the default is all. Every bound must hold.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Of this index, the record's or the operation's.
    pub index: Option<Arc<str>>,
    /// Of this object, the record's or the operation's.
    pub object: Option<Arc<str>>,
    /// For this reason.
    pub reason: Option<ReasonCode>,
    /// Which came as far as this.
    pub stage: Option<Stage>,
    /// Brought by this request.
    pub request: Option<RequestId>,
    /// Dead-lettered at or after this time.
    pub since: Option<Timestamp>,
    /// Dead-lettered before this time.
    pub until: Option<Timestamp>,
    /// One of these; any, if it is empty.
    pub ids: Vec<LetterId>,
    /// Whose id is this one or greater.
    pub first: Option<LetterId>,
    /// Whose id is this one or less.
    pub last: Option<LetterId>,
    /// Only those that are stale, or only those that are not.
    pub stale: Option<bool>,
    /// At most so many, where they are shown one after the other.
    pub limit: Option<u64>,
}

/// The filter in SQL, but for its limit.
pub(super) const WHERE: &str = "
    (:index IS NULL OR record_index = :index OR operation_index = :index)
    AND (:object IS NULL OR record_object_id = :object OR operation_object_id = :object)
    AND (:reason IS NULL OR reason = :reason)
    AND (:stage IS NULL OR stage = :stage)
    AND (:request IS NULL OR request_id = :request)
    AND (:since IS NULL OR dead_lettered_at >= :since)
    AND (:until IS NULL OR dead_lettered_at < :until)
    AND (:ids IS NULL OR id IN (SELECT value FROM json_each(:ids)))
    AND (:first IS NULL OR id >= :first)
    AND (:last IS NULL OR id <= :last)
    AND (:stale IS NULL OR stale = :stale)";

/// A parameter's name and value.
pub(super) type Parameter = (&'static str, Value);

impl Filter {
    /// The parameters of [`WHERE`].
    pub(super) fn parameters(&self) -> Vec<Parameter> {
        let Self { index, object, reason, stage, request, since, until, .. } = self;
        let Self { ids, first, last, stale, limit: _, .. } = self;
        let listed: Vec<String> = ids.iter().map(LetterId::to_string).collect();
        let listed = (!listed.is_empty()).then(|| format!("[{}]", listed.join(",")));
        let text = |text: &Option<Arc<str>>| text.as_ref().map(|text| text.to_string()).into();
        let time = |time: &Option<Timestamp>| time.map(|time| integer(time.0)).into();
        let id = |id: &Option<LetterId>| id.map(|id| integer(id.0)).into();
        vec![
            (":index", text(index)),
            (":object", text(object)),
            (":reason", reason.map(|reason| reason.as_str().to_owned()).into()),
            (":stage", stage.map(|stage| stage.as_str().to_owned()).into()),
            (":request", request.map(|request| request.0.as_bytes().to_vec()).into()),
            (":since", time(since)),
            (":until", time(until)),
            (":ids", listed.into()),
            (":first", id(first)),
            (":last", id(last)),
            (":stale", stale.map(i64::from).into()),
        ]
    }
}

/// SQLite's integers end earlier; nothing in a store is larger.
pub(super) fn integer(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
