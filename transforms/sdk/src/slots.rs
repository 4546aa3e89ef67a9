//! One record that becomes several.

use serde::Serialize;

use crate::{Operation, Outcome};

/// One record that becomes up to `max` objects, in slots `ID-0`, `ID-1` and so on.
///
/// A transform does not know what the record became the last time. So every save fills the first slots and deletes all
/// others, and a delete deletes all: what has become fewer leaves nothing behind. For the same reason, never lower
/// `max` while objects are in the slots that would go.
///
/// ```
/// # use transform_sdk::{Slots, json};
/// const SLOTS: Slots = Slots::new(50);
/// let saved = SLOTS.save("shirt", [json!({"size": "S"}), json!({"size": "M"})]);
/// let deleted = SLOTS.delete("shirt");
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Slots {
    max: usize,
}

impl Slots {
    /// At most `max` objects for each record. Every save costs `max` operations, so keep it as low as the data allows.
    #[must_use]
    pub const fn new(max: usize) -> Self {
        Self { max }
    }

    /// The object id of a slot.
    #[must_use]
    pub fn id(&self, id: &str, slot: usize) -> String {
        format!("{id}-{slot}")
    }

    /// Saves each record to a slot and deletes the slots that are left. More records than slots fail.
    #[must_use]
    pub fn save<R: Serialize>(&self, id: &str, records: impl IntoIterator<Item = R>) -> Outcome {
        let mut operations = Vec::with_capacity(self.max);
        for record in records {
            if operations.len() == self.max {
                return Outcome::fail(format!(
                    "it becomes more than {} objects, the most that there are slots for",
                    self.max
                ));
            }
            operations.push(Operation::save(self.id(id, operations.len()), &record));
        }
        let free = operations.len()..self.max;
        operations.extend(free.map(|slot| Operation::delete(self.id(id, slot))));
        Outcome::emit(operations)
    }

    /// Deletes every slot.
    #[must_use]
    pub fn delete(&self, id: &str) -> Outcome {
        Outcome::emit((0..self.max).map(|slot| Operation::delete(self.id(id, slot))))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Three variants, then two, then none: every slot is either saved or deleted, each time.
    #[test]
    fn each_slot_is_saved_or_deleted() {
        let slots = Slots::new(3);
        let (a, b) = (json!({"size": "S"}), json!({"size": "M"}));
        let expected = [Operation::save("x-0", &a), Operation::save("x-1", &b), Operation::delete("x-2")];
        assert_eq!(slots.save("x", [&a, &b]), Outcome::emit(expected));
        let none = ["x-0", "x-1", "x-2"].map(Operation::delete);
        assert_eq!(slots.delete("x"), Outcome::emit(none.clone()));
        assert_eq!(slots.save::<&serde_json::Value>("x", []), Outcome::emit(none));
        let full = slots.save("x", [&a, &a, &a, &a]);
        assert_eq!(full, Outcome::fail("it becomes more than 3 objects, the most that there are slots for"));
    }
}
