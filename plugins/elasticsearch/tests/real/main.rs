//! The Elasticsearch destination against a real OpenSearch, whose address `OPENSEARCH_URL` tells; without it every test
//! says so and passes. `tests/real/opensearch/run` starts one.
//!
//! The server must take 5 MiB of requests at once (`indexing_pressure.memory.limit`) and 8 MiB in one
//! (`http.max_content_length`).

#![expect(clippy::print_stderr, reason = "a test that is passed over says so")]

mod server;

mod cluster;

mod documents;
mod indexes;
mod partial_updates;
mod whole_requests;

mod faithful;

#[path = "../conformance/subject.rs"]
mod fake_subject;
mod subject;

mod conformance {
    plugin_api::conformance!(crate::subject::RealCluster);
}
