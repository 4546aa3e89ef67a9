//! Dead letters: records and operations that a destination will not take, kept until an operator decides.
//!
//! One SQLite database for each destination, `<data.dir>/dead-letters/<destination>.sqlite`; its bytes are described
//! in `FORMAT.md` beside this file. An outage never brings a letter here: unavailability waits in the log.
//!
//! Invariants: [`Store::file`] returns only after its letters are on disk, so that a cursor may pass them; a letter
//! is unique by log id, position and number, so that filing it again after a crash changes no count.
//!
//! Read in the order in which data flows: the letter, the store that the lanes file it in, the view that operators
//! read it with, and underneath both the rows and the schema.

mod letter;

mod store;
mod view;

mod rows;
mod schema;

mod error;
#[cfg(test)]
mod tests;

pub use error::StoreError;
pub use letter::{Change, Filed, Letter, LetterId, Stage};
pub use store::{Store, store_path};
pub use view::{Filter, Letters, Order, View};
