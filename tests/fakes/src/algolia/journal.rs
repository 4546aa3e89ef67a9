//! One applied operation, as the fake remembers it.

use serde_json::Value;

use super::batch::Action;

/// One applied operation.
#[derive(Clone, Debug, PartialEq)]
pub struct Applied {
    /// The index that it changed.
    pub index: String,
    /// The object that it changed.
    pub object_id: String,
    /// What it did.
    pub action: Action,
    /// The record as sent ([`Detail::Bodies`](super::Detail::Bodies)) or the chosen attribute ([`Detail::Attribute`](super::Detail::Attribute)), null where absent.
    pub body: Value,
    /// The number of the request that brought it, from 1.
    pub request: u64,
    /// Whether that request was to be answered: not where a [`Fault`](super::Fault) applies it and says nothing.
    pub answered: bool,
}
