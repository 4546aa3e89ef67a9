//! Which letters a command is about: the same options for all of them.

use clap::builder::{PossibleValuesParser, TypedValueParser};
use plugin_api::{
    identity::{RequestId, Timestamp},
    verdict::ReasonCode,
};
use uuid::Uuid;

use crate::{
    cli::text,
    dead_letter::{Filter, LetterId, Stage},
};

/// Which letters: all that every option lets through.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Which letters")]
pub struct Selection {
    /// Only those of this destination
    #[arg(long, value_name = "NAME")]
    pub destination: Option<String>,
    /// Only those of this index, the record's or the one that a transform chose
    #[arg(long, value_name = "NAME")]
    index: Option<String>,
    /// Only those of this object, the record's or the one that a transform made
    #[arg(long, value_name = "ID")]
    object: Option<String>,
    /// Only those with this reason
    #[arg(long, value_name = "CODE", value_parser = reason_parser())]
    reason: Option<ReasonCode>,
    /// Only those that came as far as this
    #[arg(long, value_name = "STAGE", value_parser = stage_parser())]
    stage: Option<Stage>,
    /// Only those dead-lettered since this time (2026-11-23T15:00:00Z) or for so long (30m, 2h, 7d)
    #[arg(long, value_name = "TIME", value_parser = text::since)]
    since: Option<Timestamp>,
    /// Only those dead-lettered before this time, or longer ago than this
    #[arg(long, value_name = "TIME", value_parser = text::since)]
    until: Option<Timestamp>,
    /// Only those that this request brought
    #[arg(long, value_name = "REQUEST_ID", value_parser = request)]
    request: Option<RequestId>,
    /// Only the one with this ID; may be given several times
    #[arg(long, value_name = "ID", value_parser = clap::value_parser!(u64).range(..=i64::MAX as u64))]
    id: Vec<u64>,
    /// Only those of whose object something newer was delivered since
    #[arg(long)]
    stale: bool,
}

impl Selection {
    /// The same for a store.
    #[must_use]
    pub fn filter(&self, limit: Option<u64>) -> Filter {
        let Self { destination: _, index, object, reason, stage, since, until, request, id, stale } = self;
        Filter {
            index: index.as_deref().map(Into::into),
            object: object.as_deref().map(Into::into),
            reason: *reason,
            stage: *stage,
            request: *request,
            since: *since,
            until: *until,
            ids: id.iter().copied().map(LetterId).collect(),
            stale: stale.then_some(true),
            limit,
            ..Filter::default()
        }
    }
}

fn reason_parser() -> impl TypedValueParser<Value = ReasonCode> {
    PossibleValuesParser::new(ReasonCode::ALL.map(ReasonCode::as_str)).try_map(|name| {
        ReasonCode::ALL.into_iter().find(|code| code.as_str() == name).ok_or("not a reason's code")
    })
}

fn stage_parser() -> impl TypedValueParser<Value = Stage> {
    PossibleValuesParser::new(Stage::ALL.map(Stage::as_str))
        .try_map(|name| Stage::ALL.into_iter().find(|stage| stage.as_str() == name).ok_or("not a stage"))
}

fn request(text: &str) -> Result<RequestId, String> {
    text.parse::<Uuid>().map(RequestId).map_err(|error| format!("not a request id: {error}"))
}
