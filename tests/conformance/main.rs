//! The conformance suite of `plugin_api::testing` with the agent's own lane as its engine, for every destination: a
//! real log, real dead letters, and the plugins' own subjects.
#![expect(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

mod lane;

#[path = "../../plugins/algolia/tests/conformance/subject.rs"]
mod algolia_subject;
#[path = "../../plugins/elasticsearch/tests/conformance/subject.rs"]
mod elasticsearch_subject;
#[path = "../../plugins/file/tests/conformance/subject.rs"]
mod file_subject;

mod algolia {
    plugin_api::conformance!(crate::algolia_subject::Application, crate::lane::Lane);
}

mod elasticsearch {
    plugin_api::conformance!(crate::elasticsearch_subject::Cluster, crate::lane::Lane);
}

mod file {
    plugin_api::conformance!(crate::file_subject::Files, crate::lane::Lane);
}
