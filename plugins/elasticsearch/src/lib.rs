//! The destination Elasticsearch, and OpenSearch: a batch becomes one `_bulk` request, its answer a verdict for every
//! operation.
//!
//! Both check versions: an operation carries its record's version times `encode::VERSION_FACTOR`, so that it may be
//! sent again, come late, or meet another agent's without harm. Facts are from the
//! [bulk API's reference](https://www.elastic.co/docs/api/doc/elasticsearch/operation/operation-bulk) and, where that is
//! silent, from what OpenSearch 2.19 and Elasticsearch 7.17 were seen to answer.
//!
//! [`Settings`] make an [`Elasticsearch`]; it admits operations, encodes them, sends them and classifies the answer. Of
//! some operations it learns only then how they must be sent: those, and what follows them, go out in another round.

mod settings;

mod admit;
mod encode;

mod classify;
mod rounds;

mod destination;

pub use destination::Elasticsearch;
pub use settings::{Auth, PartialUpdates, Settings, SettingsError, TYPE};
