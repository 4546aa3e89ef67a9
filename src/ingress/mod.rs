//! Takes requests over gRPC: whole or not at all, answered once they are safe in the log, within bounds that no client
//! can move.
//!
//! In the order of a request's way: `server` listens, `connections` accepts (on a `transport`, by `tls` or not), `dispatch`
//! finds the service, `intake` lets a request in within the `budget`, `service` serves it for its `caller` (whom a certificate
//! or `xfcc` names), `validate` asks the `permissions` and `caller_rates` and checks it by way of `request` and `transcode`
//! (both on `wire`), and `answer` says what is wrong; `meters` count it, `spans` tell it. A reload changes the `policy`.
//! Nothing here waits for a destination.

mod connections;
mod dispatch;
mod server;
mod tls;
mod transport;

mod budget;
mod caller;
mod caller_rates;
mod codec;
mod intake;
mod permissions;
mod policy;

mod service;

mod fault;
mod indexes;
mod refusals;
mod request;
mod text;
mod transcode;
mod validate;
mod wire;
mod xfcc;

mod answer;
mod meters;
mod spans;

#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzz;

pub(crate) use codec::RawCodec;
pub use indexes::Indexes;
pub use meters::Meters;
pub use permissions::{Allowed, Permissions};
pub use policy::{Policy, Terms};
pub use refusals::Refusals;
pub use server::{BindError, Gauge, Server};
pub use tls::{Entrance, TlsError};

#[cfg(test)]
mod tests;
