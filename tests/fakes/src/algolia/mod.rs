//! A fake Algolia: the routes that a writer uses, over HTTP/1.1 on loopback, with Algolia's answers word for word
//! where they are known.
//!
//! It is not a search engine: nothing can be queried but what was written. A record follows the modules in their
//! order: the `server` is told what to be, `routes` checks the credentials, asks the
//! `script` whether to misbehave and reads the `batch`, the `store` applies it, the `journal` remembers it and
//! `tasks` confirm it. Every refusal's text lies in `answer`.

mod server;

mod routes;
mod script;

mod batch;
mod store;

mod journal;
mod tasks;

mod answer;

pub use batch::Action;
pub use journal::Applied;
pub use script::{Fault, Forbidden, Poison};
pub use server::{FakeAlgolia, Options};
pub use tasks::Publish;

pub use crate::{
    host::HostState,
    journal::{Detail, Seen},
};
