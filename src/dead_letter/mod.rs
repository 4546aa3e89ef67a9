//! Dead letters: records and operations that a destination will not take, kept until an operator decides.
//!
//! One SQLite database for each destination, `<data.dir>/dead-letters/<destination>.sqlite`; its bytes are described
//! in `FORMAT.md` beside this file. An outage never brings a letter here: unavailability waits in the log.
//!
//! What letters take is bounded by bytes and, where an operator wants it, by age. An index whose letters fill half of the
//! budget is dealt with alone; when all of it is full nothing more is filed, and the destination waits.
//!
//! Invariants: [`Store::file`] returns only after its letters are on disk, so that a cursor may pass them; a letter
//! is unique by log id, position and number, so that filing it again after a crash changes no count.
//!
//! What was neither delivered nor kept as a letter is in a [`Range`] of the same database, never lost silently.
//!
//! Read in the order in which data flows: the letter and the range, the store that the lanes file them in, the view
//! that operators read them with, and underneath both what they may take (the filing by the ledger), the rows and the schema.

mod letter;
mod range;

mod store;
mod view;

mod filing;
mod ledger;
mod stale;

mod range_rows;
mod rows;
mod schema;

mod error;
#[cfg(test)]
mod tests;

pub use error::StoreError;
pub use filing::Fate;
pub use ledger::{Bounds, IndexFull, Usage};
pub use letter::{Change, Filed, Letter, LetterId, Stage};
pub use range::{Cause, Range};
pub use stale::Delivered;
pub use store::{Store, record_range, store_path};
pub use view::{Filter, Letters, Order, View};
