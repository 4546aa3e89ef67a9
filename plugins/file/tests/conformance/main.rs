//! The conformance suite, on real files.

mod subject;

plugin_api::conformance!(subject::Files);
