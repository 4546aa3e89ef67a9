//! The conformance suite, against the fake Algolia.

mod subject;

plugin_api::conformance!(subject::Application);
