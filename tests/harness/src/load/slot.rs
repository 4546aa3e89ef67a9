//! A place for one request in flight: its own keys, its own sequence, its own bytes.

use std::sync::Arc;

use bytes::Bytes;

use crate::{
    contract::Action,
    history::{Outcome, Request, Sent},
    load::{
        options::{Mix, Options},
        template::{KEYS_MAX, Template, object_id},
    },
};

/// Makes one request after another.
#[derive(Debug)]
pub(crate) struct Slot {
    number: usize,
    random: fastrand::Rng,
    mix: Mix,
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
        let index = |index| Index { name: index_name(options, index).into(), deleted: vec![true; keys] };
        Self {
            number,
            random: fastrand::Rng::with_seed(options.first_sequence ^ (number as u64) << 32),
            mix: options.mix,
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
        let index = &mut self.indexes[index_number];
        let keys = index.deleted.len();
        let first = self.random.usize(0..keys);
        let key = |record: usize| (first + record) % keys;
        let twice_deleted = || records > keys || (0..records).any(|record| index.deleted[key(record)]);
        let action = if drawn == Action::Delete && twice_deleted() { Action::Save } else { drawn };

        let template = if action == Action::Delete { &mut self.delete } else { &mut self.data };
        template.set_action(action);
        template.set_index(&index.name);
        let first_sequence = self.next_sequence;
        self.next_sequence += records as u64;
        for (record, sequence) in (first_sequence..self.next_sequence).enumerate() {
            template.set_record(record, key(record), sequence);
            index.deleted[key(record)] = action == Action::Delete;
        }
        let sent = |(record, sequence)| Sent { object_id: object_id(self.number, key(record)), sequence };
        let operations = match self.recorded {
            true => (first_sequence..self.next_sequence).enumerate().map(sent).collect(),
            false => Vec::new(),
        };
        Prepared { bytes: template.take(), action, index: Arc::clone(&index.name), operations }
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
