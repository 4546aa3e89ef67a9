//! A place for one request in flight: its own keys, its own sequence, its own bytes.

use std::sync::Arc;

use bytes::Bytes;

use crate::{
    contract::Action,
    history::{Outcome, Request, Sent},
    load::{
        options::{Choice, Mix, Options},
        template::{KEYS_MAX, Template, object_id},
    },
};

/// Makes one request after another.
#[derive(Debug)]
pub(crate) struct Slot {
    number: usize,
    random: fastrand::Rng,
    mix: Mix,
    choice: Choice,
    /// The keys of the request that is prepared.
    chosen: Vec<usize>,
    indexes: Vec<Index>,
    next_sequence: u64,
    request_records: usize,
    data: Template,
    delete: Template,
    recorded: bool,
}

#[derive(Debug)]
struct Index {
    name: Arc<str>,
    /// By key: whether another delete must not follow.
    deleted: Vec<bool>,
}

/// A request that is about to be sent.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) bytes: Bytes,
    action: Action,
    /// What the history checker will be told; empty unless recorded.
    index: Arc<str>,
    operations: Vec<Sent>,
}

impl Prepared {
    pub(crate) fn request(&mut self, outcome: Outcome) -> Request {
        let operations = std::mem::take(&mut self.operations);
        Request { index: Arc::clone(&self.index), action: self.action, operations, outcome }
    }
}

impl Slot {
    /// All slots of a load.
    pub(crate) fn all(options: &Options) -> Vec<Self> {
        let template = |bytes| Template::new(&index_name(options, 0), options.request_records, bytes);
        let (data, delete) = (template(Some(options.record_bytes)), template(None));
        let slots = options.connections * options.in_flight;
        (0..slots)
            .map(|number| Self::new(options, number, data.of_slot(number), delete.of_slot(number)))
            .collect()
    }

    fn new(options: &Options, number: usize, data: Template, delete: Template) -> Self {
        let slots = options.connections * options.in_flight;
        let keys = (options.keys / (slots * options.indexes)).clamp(1, KEYS_MAX);
        let choice = match options.choice {
            Choice::Hot { keys: hot, share } => {
                Choice::Hot { keys: (hot / (slots * options.indexes)).clamp(1, keys), share }
            }
            choice @ (Choice::Neighbours | Choice::InTurn) => choice,
        };
        let index = |index| Index { name: index_name(options, index).into(), deleted: vec![true; keys] };
        Self {
            number,
            random: fastrand::Rng::with_seed(options.first_sequence ^ (number as u64) << 32),
            mix: options.mix,
            choice,
            chosen: Vec::with_capacity(options.request_records),
            next_sequence: options.first_sequence,
            request_records: options.request_records,
            data,
            delete,
            indexes: (0..options.indexes).map(index).collect(),
            recorded: options.recorded,
        }
    }

    /// The first sequence number that was not given out.
    pub(crate) fn next_sequence(&self) -> u64 {
        self.next_sequence
    }

    /// Makes the next request; [`Slot::answered`] must follow before the one after it.
    pub(crate) fn prepare(&mut self) -> Prepared {
        let (drawn, records) = (self.mix.draw(&mut self.random), self.request_records);
        let index_number = self.random.usize(0..self.indexes.len());
        let keys = self.indexes[index_number].deleted.len();
        self.choose(keys);
        let index = &mut self.indexes[index_number];
        let repeats = records > keys || matches!(self.choice, Choice::Hot { .. });
        let twice_deleted = || repeats || self.chosen.iter().any(|key| index.deleted[*key]);
        let action = if drawn == Action::Delete && twice_deleted() { Action::Save } else { drawn };

        let template = if action == Action::Delete { &mut self.delete } else { &mut self.data };
        template.set_action(action);
        template.set_index(&index.name);
        let first_sequence = self.next_sequence;
        self.next_sequence += records as u64;
        let numbered = || self.chosen.iter().copied().zip(first_sequence..);
        for (record, (key, sequence)) in numbered().enumerate() {
            template.set_record(record, key, sequence);
            index.deleted[key] = action == Action::Delete;
        }
        let sent = |(key, sequence)| Sent { object_id: object_id(self.number, key), sequence };
        let operations = if self.recorded { numbered().map(sent).collect() } else { Vec::new() };
        Prepared { bytes: template.take(), action, index: Arc::clone(&index.name), operations }
    }

    /// Chooses the keys of the next request, of so many.
    fn choose(&mut self, keys: usize) {
        let records = self.request_records;
        self.chosen.clear();
        match self.choice {
            Choice::Neighbours => {
                let first = self.random.usize(0..keys);
                self.chosen.extend((0..records).map(|record| (first + record) % keys));
            }
            Choice::InTurn => {
                let first = (self.next_sequence % keys as u64) as usize;
                self.chosen.extend((0..records).map(|record| (first + record) % keys));
            }
            Choice::Hot { keys: hot, share } => {
                let Self { chosen, random, .. } = self;
                chosen.extend((0..records).map(|_| match random.f64() < share || hot == keys {
                    true => random.usize(0..hot),
                    false => random.usize(hot..keys),
                }));
            }
        }
    }

    /// Takes a request's bytes back.
    pub(crate) fn answered(&mut self, prepared: Prepared) {
        match prepared.action {
            Action::Delete => self.delete.restore(prepared.bytes),
            Action::Save | Action::PartialUpdate | Action::PartialUpdateNoCreate => {
                self.data.restore(prepared.bytes);
            }
        }
    }
}

fn index_name(options: &Options, index: usize) -> String {
    match options.indexes {
        1 => options.index.clone(),
        _ => format!("{}-{index:03}", options.index),
    }
}
