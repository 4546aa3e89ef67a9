//! A destination's dead letters, read for whoever looks at them.

use std::path::PathBuf;

use tokio::task::spawn_blocking;

use super::letters::failed;
use crate::{
    admin::{
        ControlError, Kind, LetterChange, LetterHead, LetterRange, LetterReason, LetterReport, LettersReport,
        ListLetters, ShowLetter, Time,
    },
    dead_letter::{Change, Filed, LetterId, Order, Range, StoreError, View},
    transform::Digest,
};

/// So much of a record's data is shown.
const DATA_BYTES_MAX: usize = 256 << 10;

/// Some letters; none where none was ever filed.
pub(super) async fn list(path: PathBuf, request: ListLetters) -> Result<LettersReport, ControlError> {
    let ListLetters { destination, filter, limit } = request;
    let limit = limit.clamp(1, ListLetters::LIMIT_MAX);
    let mut filter = filter.to_filter()?;
    let (mut letters, ranges) = read(move || {
        if !path.exists() {
            return Ok(Default::default());
        }
        let view = View::open(&path)?;
        filter.limit = Some(limit);
        let ranges: Vec<_> = view.ranges(&filter, Order::NewestFirst)?.into_iter().map(range).collect();
        // One more tells whether there is one more.
        filter.limit = Some(limit + 1);
        let letters = view.letters(filter, Order::NewestFirst).map(|filed| filed.map(head));
        Ok((letters.collect::<Result<Vec<_>, _>>()?, ranges))
    })
    .await?;
    let more = letters.len() as u64 > limit;
    letters.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    Ok(LettersReport { destination, letters, more, ranges })
}

/// One letter.
pub(super) async fn show(path: PathBuf, request: ShowLetter) -> Result<LetterReport, ControlError> {
    let ShowLetter { destination, id } = request;
    // SQLite's integers end earlier; no letter has a greater id.
    let known = i64::try_from(id).is_ok();
    let found = read(move || match known && path.exists() {
        true => View::open(&path)?.get(LetterId(id)),
        false => Ok(None),
    });
    let Some(filed) = found.await? else {
        let error = format!("destination {destination:?} has no dead letter {id}");
        let advice = "it was replayed, dropped or has expired: list what there is";
        return Err(ControlError::new(Kind::NotFound, error, advice));
    };
    let letter = &filed.letter;
    let source = &letter.source;
    Ok(LetterReport {
        destination,
        request_id: source.request_id.to_string(),
        caller: source.caller.as_deref().map(str::to_owned),
        log_id: source.log_id.to_string(),
        position: source.position,
        number: source.number,
        version: letter.version.0,
        module: letter.module.map(|module| Digest(module).to_string()),
        record: change(&letter.record),
        operation: letter.operation.as_ref().map(change),
        letter: head(filed),
    })
}

/// Reads a store beside the runtime's threads.
async fn read<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, ControlError> {
    match spawn_blocking(work).await {
        Ok(read) => read.map_err(|error| failed(&error.to_string())),
        Err(error) => Err(failed(&error.to_string())),
    }
}

fn head(filed: Filed) -> LetterHead {
    let Filed { id, stale, purged, letter } = filed;
    LetterHead {
        id: id.0,
        index: letter.record.key.index.to_string(),
        object_id: letter.record.key.object_id.to_string(),
        stale,
        purged,
        stage: letter.stage.as_str().to_owned(),
        reason: LetterReason {
            code: letter.reason.code.as_str().to_owned(),
            status: letter.reason.status,
            message: letter.reason.message,
        },
        attempts: letter.attempts,
        accepted_at: Time(letter.source.accepted_at),
        dead_lettered_at: Time(letter.dead_lettered_at),
    }
}

fn change(change: &Change) -> LetterChange {
    let Change { action, key, body } = change;
    let text = String::from_utf8_lossy(body);
    let shown = &text[..text.floor_char_boundary(DATA_BYTES_MAX)];
    LetterChange {
        action: action.as_str().to_owned(),
        index: key.index.to_string(),
        object_id: key.object_id.to_string(),
        data: shown.to_owned(),
        data_bytes_left_out: (text.len() - shown.len()) as u64,
    }
}

fn range(range: Range) -> LetterRange {
    LetterRange {
        from: range.first,
        to: range.end,
        records: range.records,
        index: range.index.as_deref().map(str::to_owned),
        cause: range.cause.as_str().to_owned(),
        message: range.message,
        recorded_at: Time(range.recorded_at),
    }
}

#[cfg(test)]
mod tests;
