//! What the demo's producer sends, record by record, and what a destination that stores objects must hold at the end.
//!
//! Everything follows from the number of records. The phases come one after the other: saves, price updates (each
//! product of the first ones twice, so that order shows), deletes. The poison record is saved and never touched again.

use std::collections::BTreeMap;

use prost_types::{Struct, Value as Wire, value::Kind};
use serde_json::{Map, Number, Value, json};

use super::product::{object_id, price_update, product};
use crate::{cli::send::sender::Record, contract::client::ActionType};

/// The index of every record.
pub(super) const INDEX: &str = "products";

/// What the transform removes, as its config has it.
pub(super) const REDACTED: [&str; 2] = ["supplier.email", "changed_by"];

/// How often each product that gets price updates gets one.
const ROUNDS: u64 = 2;

/// See the module's text.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    records: u64,
}

/// Records with one action: the first and the one after the last.
#[derive(Clone, Copy, Debug)]
pub(super) struct Phase {
    pub(super) action: ActionType,
    pub(super) first: u64,
    pub(super) end: u64,
}

impl Plan {
    /// A plan for this many records, at least 100.
    pub(super) fn new(records: u64) -> Self {
        Self { records: records.max(100) }
    }

    pub(super) fn records(self) -> u64 {
        self.records
    }

    /// Products that are saved.
    pub(super) fn saves(self) -> u64 {
        self.records * 70 / 100
    }

    /// Price updates, of [`ROUNDS`] rounds.
    pub(super) fn updates(self) -> u64 {
        self.updated() * ROUNDS
    }

    /// Products that are deleted: the last ones that were saved.
    pub(super) fn deletes(self) -> u64 {
        self.records - self.saves() - self.updates()
    }

    /// The object that Algolia refuses, sent at about a quarter of the way.
    pub(super) fn poison(self) -> String {
        object_id(self.poison_number())
    }

    pub(super) fn phases(self) -> [Phase; 3] {
        let (saved, updated) = (self.saves(), self.saves() + self.updates());
        [
            Phase { action: ActionType::SaveObject, first: 0, end: saved },
            Phase { action: ActionType::PartialUpdateObject, first: saved, end: updated },
            Phase { action: ActionType::DeleteObject, first: updated, end: self.records },
        ]
    }

    /// The record with this number, from 0, in the order of sending.
    pub(super) fn record(self, number: u64) -> Record {
        let [saves, updates, _] = self.phases();
        let (product_number, data) = if number < saves.end {
            (number, Some(product(number)))
        } else if number < updates.end {
            let update = number - updates.first;
            let (round, product_number) = (update / self.updated(), update % self.updated());
            (product_number, Some(price_update(product_number, round)))
        } else {
            (saves.end - 1 - (number - updates.end), None)
        };
        // About what a product takes; requests end at 100 records long before it matters.
        Record { line: number + 1, bytes: 700, object_id: object_id(product_number), data }
    }

    /// The first product as it is sent.
    pub(super) fn first(self) -> (String, Value) {
        (object_id(0), Value::Object(json_object(product(0))))
    }

    /// Records that are sent with an address that no destination should get: all but the deletes.
    pub(super) fn with_address(self) -> u64 {
        self.saves() + self.updates()
    }

    /// The objects at the end by id, with their `objectID`, as a destination holds them that took all but the poison.
    pub(super) fn objects(self) -> BTreeMap<String, Value> {
        let kept = 0..self.saves() - self.deletes();
        kept.filter(|number| *number != self.poison_number()).map(|number| self.object(number)).collect()
    }

    /// The documents at the end by id, as a destination holds them that took every record and keeps ids beside them.
    pub(super) fn documents(self) -> BTreeMap<String, Value> {
        (0..self.saves() - self.deletes()).map(|number| self.document(number)).collect()
    }

    fn object(self, number: u64) -> (String, Value) {
        let (id, mut object) = self.document(number);
        object["objectID"] = json!(id);
        (id, object)
    }

    fn document(self, number: u64) -> (String, Value) {
        let id = object_id(number);
        let mut object = json_object(product(number));
        if number < self.updated() {
            object.extend(json_object(price_update(number, ROUNDS - 1)));
        }
        redact(&mut object);
        (id, Value::Object(object))
    }

    /// Products that get price updates: the first ones.
    fn updated(self) -> u64 {
        self.records * 27 / 100 / ROUNDS
    }

    /// Beyond those that are updated, before those that are deleted.
    fn poison_number(self) -> u64 {
        self.saves() / 3
    }
}

/// What the transform does, done once more without it.
fn redact(object: &mut Map<String, Value>) {
    object.remove("changed_by");
    if let Some(Value::Object(supplier)) = object.get_mut("supplier") {
        supplier.remove("email");
    }
}

fn json_object(attributes: Struct) -> Map<String, Value> {
    attributes.fields.into_iter().map(|(name, value)| (name, json_value(value))).collect()
}

/// As the agent writes it: an integral number has no fraction.
fn json_value(value: Wire) -> Value {
    match value.kind {
        None | Some(Kind::NullValue(_)) => Value::Null,
        Some(Kind::BoolValue(boolean)) => Value::Bool(boolean),
        Some(Kind::StringValue(text)) => Value::String(text),
        Some(Kind::NumberValue(number)) if number.fract() == 0.0 => Value::from(number as i64),
        Some(Kind::NumberValue(number)) => Number::from_f64(number).map_or(Value::Null, Value::Number),
        Some(Kind::ListValue(list)) => Value::Array(list.values.into_iter().map(json_value).collect()),
        Some(Kind::StructValue(attributes)) => Value::Object(json_object(attributes)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The poison record must be touched once only, or it would be several dead letters; deletes must meet no
    /// product that is updated, and every record is sent exactly once.
    #[test]
    fn phases_cover_every_record_and_meet_where_they_should() {
        for records in [100, 101, 2_000, 30_000, 77_777] {
            let plan = Plan::new(records);
            let [saves, updates, deletes] = plan.phases();
            assert_eq!(
                (saves.first, saves.end, updates.end, deletes.end),
                (0, updates.first, deletes.first, records)
            );
            assert!(saves.end > 0 && updates.end > updates.first && deletes.end > deletes.first, "{records}");
            let of_poison =
                (0..records).filter(|number| plan.record(*number).object_id == plan.poison()).count();
            assert_eq!(of_poison, 1, "{records}");
            assert_eq!(plan.objects().len() as u64, plan.saves() - plan.deletes() - 1);
        }
    }
}
