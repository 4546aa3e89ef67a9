//! The conformance suite, against the fake cluster.

mod subject;

plugin_api::conformance!(subject::Cluster);
