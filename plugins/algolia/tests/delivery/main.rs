//! The Algolia destination against the fake Algolia, over real sockets: what is sent, what every answer means, which
//! host is asked, and what is refused before it is sent.

mod setup;

mod admission;
mod writing;

mod answers;
mod hosts;

mod description;
