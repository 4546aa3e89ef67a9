//! A fake Elasticsearch (or OpenSearch: both answer the same): the routes that a writer uses, over HTTP/1.1 on loopback,
//! with the answers that real clusters were seen to give, word for word.
//!
//! It is not a search engine: nothing can be queried but what was written. A record follows the modules in their order:
//! the `server` is told what to be, `routes` checks the credentials and asks the `script` whether to misbehave, `apply`
//! reads the `bulk` body, the `store` takes it as versions, mappings and the index's state allow, and the `journal`
//! remembers it. Every refusal's text lies in `answer`. Where a `real` cluster is told, that one takes the store's place.

mod server;

mod routes;
mod script;

mod apply;
mod real;

mod bulk;
mod index;
mod store;

mod journal;

mod answer;

pub use bulk::Action;
pub use index::{FieldType, IndexState};
pub use journal::Applied;
pub use script::{Fault, Poison};
pub use server::{Auth, FakeElasticsearch, Options, Product};

pub use crate::{
    host::HostState,
    journal::{Detail, Seen},
};
