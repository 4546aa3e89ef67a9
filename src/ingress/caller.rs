//! Who sends a request: the name that the frame, spans and dead letters carry, and that permissions go by.

use tonic::{Extensions, metadata::MetadataMap};

/// The caller's name: a SPIFFE ID, or another name of its certificate; `None` if it is not known.
pub(crate) fn of(_metadata: &MetadataMap, _connection: &Extensions) -> Option<String> {
    None
}
