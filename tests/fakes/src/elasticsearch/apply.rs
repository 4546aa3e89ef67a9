//! Applies a write, item by item: to the fake's own store, or by handing it on to the real cluster behind it.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::Value;

use super::{
    answer::{self, Answer, Refusal},
    bulk::{self, Action, Item},
    journal::Applied,
    real::Said,
    routes::Outcome,
    script,
    server::{Shared, State},
    store::Done,
};
use crate::journal::Detail;

/// A write as it came.
#[derive(Clone)]
pub(super) struct Write {
    /// Path and query.
    pub(super) path: String,
    pub(super) body: Bytes,
    /// The request's number.
    pub(super) number: u64,
    /// The answer has only what a careful client asks for.
    pub(super) filtered: bool,
}

/// Applies a write's items in their order.
pub(super) async fn apply(shared: &Arc<Shared>, write: &Write, is_answered: bool) -> Outcome {
    apply_but(shared, write, is_answered, |_| None).await
}

/// The same but for those that are refused.
pub(super) async fn apply_but(
    shared: &Arc<Shared>,
    write: &Write,
    is_answered: bool,
    refused: impl Fn(&Item<'_>) -> Option<Refusal>,
) -> Outcome {
    let items = match bulk::read(&write.body) {
        Ok(items) => items,
        Err(answer) => return Outcome::Answer(answer),
    };
    if let Some(spoiled) = spoiled(shared, &items) {
        return spoiled;
    }
    if shared.real.is_none() {
        return Outcome::Answer(store(shared, write, &items, is_answered, refused));
    }
    let refusals = refusals(shared, &items, refused);
    let (shared, write) = (Arc::clone(shared), write.clone());
    // Once it is on its way it is the cluster's, whether or not the client waits for it.
    let handed_on = tokio::spawn(async move { hand_on(&shared, &write, refusals).await });
    handed_on.await.unwrap_or(Outcome::Cut)
}

/// What a request meets that has a poisonous record in it.
fn spoiled(shared: &Shared, items: &[Item<'_>]) -> Option<Outcome> {
    let mut state = shared.lock();
    if let Some(violation) = items.iter().find_map(violation) {
        state.journal.violations.push(violation);
    }
    let poison = state.script.spoils(items)?;
    Some(script::spoiled(&poison).map_or(Outcome::Silence, Outcome::Answer))
}

fn store(
    shared: &Shared,
    write: &Write,
    items: &[Item<'_>],
    is_answered: bool,
    refused: impl Fn(&Item<'_>) -> Option<Refusal>,
) -> Answer {
    let mut state = shared.lock();
    let mut done = 0;
    let answer = answered(items, write.filtered, |item| {
        let outcome = match refused(item).or_else(|| state.script.refusal(item)) {
            Some(refusal) => Err(refusal),
            None => state.apply(item, write.number, is_answered),
        };
        done += u64::from(outcome.is_ok());
        outcome
    });
    drop(state);
    shared.operations.send_modify(|count| *count += done);
    answer
}

fn refusals(
    shared: &Shared,
    items: &[Item<'_>],
    refused: impl Fn(&Item<'_>) -> Option<Refusal>,
) -> Vec<Option<Refusal>> {
    let state = shared.lock();
    items.iter().map(|item| refused(item).or_else(|| state.script.refusal(item))).collect()
}

/// Has the real cluster apply what is not refused. Its answer goes back as it came, unless there are refusals to be put
/// into it.
async fn hand_on(shared: &Shared, write: &Write, refusals: Vec<Option<Refusal>>) -> Outcome {
    let (Some(real), Ok(items)) = (&shared.real, bulk::read(&write.body)) else { return Outcome::Cut };
    let is_whole = refusals.iter().all(Option::is_none);
    let body = if is_whole { write.body.clone() } else { without_refused(&items, &refusals) };
    let said = if body.is_empty() { Ok(Said::nothing()) } else { real.ask("POST", &write.path, body).await };
    match said {
        Ok(said) => Outcome::Answer(if is_whole {
            said.into_answer()
        } else {
            with_refused(said, &items, refusals, write.filtered)
        }),
        Err(_) => Outcome::Cut,
    }
}

/// The cluster's answer with the refusals where they belong.
fn with_refused(said: Said, items: &[Item<'_>], refusals: Vec<Option<Refusal>>, filtered: bool) -> Answer {
    let Some(taken) = said.items() else { return said.into_answer() };
    let mut taken = taken.into_iter();
    let mut list = Vec::new();
    for (item, refusal) in items.iter().zip(refusals) {
        if !list.is_empty() {
            list.push(b',');
        }
        match refusal {
            Some(refusal) => push(&mut list, item, &Err(refusal), filtered),
            None => list.extend(taken.next().iter().flat_map(|item| item.get().bytes())),
        }
    }
    Answer::json(200, [br#"{"errors":true,"items":["#, &list[..], b"]}"].concat())
}

/// The lines of the items that are not refused, as they came.
fn without_refused(items: &[Item<'_>], refusals: &[Option<Refusal>]) -> Bytes {
    let mut body = Vec::new();
    for (item, _) in items.iter().zip(refusals).filter(|(_, refusal)| refusal.is_none()) {
        let lines = [item.head, item.source];
        for line in lines.into_iter().filter(|line| !line.is_empty()) {
            body.extend_from_slice(line);
            body.push(b'\n');
        }
    }
    body.into()
}

impl State {
    fn apply(&mut self, item: &Item<'_>, number: u64, answered: bool) -> Result<Done, Refusal> {
        if self.journal.detail == Detail::Counts {
            self.journal.count(&item.index);
            let result = if item.action == Action::Delete { "deleted" } else { "updated" };
            return Ok(Done { status: 200, result, version: item.version.unwrap_or_default() });
        }
        let index = self.store.index(&item.index);
        if !index.exists {
            // An update makes no index: it has nothing to update.
            if !self.auto_create {
                return Err(answer::index_missing(&item.index));
            }
            index.exists = true;
        }
        let done = index.apply(item)?;
        if done.result == "noop" {
            self.journal.count(&item.index);
            return Ok(done);
        }
        let applied = Applied {
            index: item.index.to_string(),
            object_id: item.id.to_string(),
            action: item.action,
            body: Value::Null,
            version: done.version,
            request: number,
            answered,
        };
        self.journal.apply(applied, item.source);
        Ok(done)
    }
}

/// The answer with what each item came to.
fn answered(
    items: &[Item<'_>],
    filtered: bool,
    mut outcome: impl FnMut(&Item<'_>) -> Result<Done, Refusal>,
) -> Answer {
    let mut list = Vec::with_capacity(100 * items.len() + 64);
    let mut errors = false;
    for item in items {
        if !list.is_empty() {
            list.push(b',');
        }
        let outcome = outcome(item);
        errors |= outcome.is_err();
        push(&mut list, item, &outcome, filtered);
    }
    let took = if filtered { "" } else { r#""took":3,"# };
    let mut body = format!(r#"{{{took}"errors":{errors},"items":["#).into_bytes();
    body.append(&mut list);
    body.extend_from_slice(b"]}");
    Answer::json(200, body)
}

/// The parts that a careful client asks for, or all of them.
fn push(list: &mut Vec<u8>, item: &Item<'_>, outcome: &Result<Done, Refusal>, filtered: bool) {
    let action = match item.action {
        Action::Index => "index",
        Action::Create => "create",
        Action::Update => "update",
        Action::Delete => "delete",
    };
    push_raw(list, &[r#"{""#, action, r#"":{"_id":"#]);
    push_text(list, &item.id);
    if !filtered {
        push_raw(list, &[r#","_index":"#]);
        push_text(list, &item.index);
    }
    match outcome {
        Ok(Done { status, result, version }) => {
            if !filtered || item.action == Action::Update {
                push_raw(list, &[r#","_version":"#, &version.to_string()]);
            }
            if !filtered {
                push_raw(
                    list,
                    &[r#","_shards":{"total":2,"successful":1,"failed":0},"_seq_no":0,"_primary_term":1"#],
                );
            }
            push_raw(list, &[r#","result":""#, result, r#"","status":"#, &status.to_string()]);
        }
        Err(Refusal { status, kind, reason }) => {
            push_raw(list, &[r#","status":"#, &status.to_string(), r#","error":{"type":"#]);
            push_text(list, kind);
            push_raw(list, &[r#","reason":"#]);
            push_text(list, reason);
            if !filtered {
                push_raw(list, &[r#","index":"#]);
                push_text(list, &item.index);
                push_raw(list, &[r#","shard":"0","index_uuid":"fake""#]);
            }
            push_raw(list, &["}"]);
        }
    }
    push_raw(list, &["}}"]);
}

fn push_raw(list: &mut Vec<u8>, parts: &[&str]) {
    parts.iter().for_each(|part| list.extend_from_slice(part.as_bytes()));
}

fn push_text(list: &mut Vec<u8>, text: &str) {
    // Writing to memory does not fail.
    let _ = serde_json::to_writer(list, text);
}

/// What a careful client never asks.
fn violation(item: &Item<'_>) -> Option<String> {
    let what = match item.action {
        Action::Index | Action::Delete if item.version.is_none() => "has no version",
        Action::Create => "creates, which fails when it is sent twice",
        Action::Index | Action::Delete | Action::Update => return None,
    };
    Some(format!("{:?} of {:?} in {:?} {what}", item.action, item.id, item.index))
}
