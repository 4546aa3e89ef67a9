//! The destination Algolia: a batch becomes one request to Algolia's batch API, an answer becomes verdicts.
//!
//! Facts are from the [API's reference](https://www.algolia.com/doc/rest-api/search) and, where that is silent, from
//! what the official clients do and the service is seen to answer. Algolia keeps no versions: order is the agent's.
//!
//! [`Settings`] make an [`Algolia`]; it admits operations, encodes them, sends them and classifies the answer.

mod settings;

mod admit;
mod encode;

mod classify;

mod destination;

pub use destination::Algolia;
pub use settings::{Settings, SettingsError, TYPE};
