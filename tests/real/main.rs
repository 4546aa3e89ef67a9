//! The agent and a real OpenSearch: the conformance suite with the agent's own lane as its engine, and the whole agent
//! while the server has too little room for what it gets, and while it is killed. And the agent and real clients in other
//! languages, and a project of a data team: what the pages for both tell to do (`clients/run`).
//!
//! `opensearch/run` starts a server and says with what the tests that need one of their own start it; without it every
//! test says so and passes.

#![expect(clippy::print_stderr, reason = "a test that is passed over says so")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../../plugins/elasticsearch/tests/real/server.rs"]
mod server;

mod launched;

mod killed;
mod throttled;

mod clients;
mod data_team;
mod doorman;

#[path = "../../plugins/elasticsearch/tests/conformance/subject.rs"]
mod fake_subject;
#[path = "../conformance/lane.rs"]
mod lane;
#[path = "../../plugins/elasticsearch/tests/real/subject.rs"]
mod subject;

mod conformance {
    plugin_api::conformance!(crate::subject::RealCluster, crate::lane::Lane);
}
