//! The load generator: a producer that costs little enough to share a machine with what it measures.
//!
//! A request is encoded once for each slot (a place for one request in flight); from then on only the object ids, the
//! sequence numbers, the index and the action are overwritten in place. Slots share no key, so that no two requests in
//! flight concern the same object, and the order of a key's sequence numbers is the order in which it was accepted.
//!
//! Read in the order in which a request goes: [`options`] and [`control`], `template` (its bytes), `slot` (which keys come
//! next), `connection` (HTTP/2), [`run`], [`report`]; [`probes`] go beside a load.

pub mod options;

pub mod control;

mod template;

mod slot;

pub mod connection;

pub mod run;

pub mod probes;

pub mod report;
