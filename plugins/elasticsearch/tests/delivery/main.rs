//! The Elasticsearch destination against the fake Elasticsearch, over real sockets: what is sent, what every answer
//! means, which node is asked, and what is refused before it is sent.

mod setup;

mod admission;
mod writing;

mod partial_updates;
mod versions;

mod answers;
mod nodes;
