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
//! A letter of an object that was deleted since has no data any more, and no letter that is deleted leaves any behind.
//!
//! Read in the order in which data flows: the letter and the range, the store that the lanes file them in, the view
//! that operators read them with, and underneath both what is meant (the filter), what they may take (the filing by the
//! ledger), what becomes of letters (stale, replayed, deleted), the rows and the schema.

mod letter;
mod range;

mod store;
mod view;

mod filter;

mod deletion;
mod filing;
mod ledger;
mod replay;
mod stale;
mod stats;

mod range_rows;
mod rows;
mod schema;

mod error;
#[cfg(test)]
mod tests;

pub use deletion::delete_letters;
pub use error::StoreError;
pub use filing::Fate;
pub use filter::Filter;
pub use ledger::{Bounds, IndexFull, Usage};
pub use letter::{Change, Filed, Letter, LetterId, Stage};
pub use range::{Cause, Range};
pub use replay::{Chosen, OfRecord, Replayed};
pub use stale::Delivered;
pub use stats::Group;
pub use store::{Store, record_range, store_path};
pub use view::{Letters, Order, View};
