//! Requests that no client would send. Longer: `PROPTEST_CASES=10000`.

use proptest::{collection::vec, prelude::*};
use tokio::runtime::Runtime;

use super::{
    Bench,
    http::{over_unix, request},
};

const ROUTES: [&str; 18] = [
    "/",
    "/v1/status",
    "/v1/history",
    "/v1/find",
    "/v1/reload",
    "/v1/drain",
    "/v1/destinations/search/pause",
    "/v1/destinations/search/resume",
    "/v1/destinations/search/probe",
    "/v1/destinations/search/forget",
    "/v1/destinations/search/reset-cursor",
    "/v1/transforms/logs/resume",
    "/v1/dead-letters/list",
    "/v1/dead-letters/show",
    "/v1/dead-letters/drop",
    "/metrics",
    "/v1",
    "/dashboard/main.js",
];

const NAMES: [&str; 12] = [
    "destination",
    "filter",
    "id",
    "ids",
    "since",
    "limit",
    "on",
    "why",
    "from",
    "index",
    "object_id",
    "dry_run",
];

const VALUES: [&str; 11] = [
    "null",
    "true",
    "-1",
    "1e400",
    "18446744073709551615",
    "\"search\"",
    "\"\\u0000\"",
    "[]",
    "[1]",
    "{}",
    "{\"since\":\"x\"}",
];

fn paths() -> impl Strategy<Value = String> {
    let odd = "[!-~]{0,20}".prop_map(|text| format!("/{}", text.replace(['#', '?'], "%")));
    let route = proptest::sample::select(&ROUTES[..]);
    let queried =
        (route, "[!-~]{0,20}").prop_map(|(route, query)| format!("{route}?{}", query.replace('#', "%23")));
    let in_route =
        "[!-~]{1,20}".prop_map(|name| format!("/v1/destinations/{}/pause", name.replace(['#', '?'], "%")));
    prop_oneof![proptest::sample::select(&ROUTES[..]).prop_map(str::to_owned), odd, queried, in_route]
}

fn bodies() -> impl Strategy<Value = String> {
    let field =
        (proptest::sample::select(&NAMES[..]).prop_map(str::to_owned), proptest::sample::select(&VALUES[..]));
    let object = vec(field, 0..5).prop_map(|fields| {
        let fields: Vec<String> = fields.iter().map(|(name, value)| format!("{name:?}:{value}")).collect();
        format!("{{{}}}", fields.join(","))
    });
    prop_oneof![object, ".{0,40}", Just("[".repeat(60_000))]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases / 8, ..ProptestConfig::default() })]

    /// Every request is answered, with words where it is refused, and the server goes on: nothing panics.
    #[test]
    fn any_request_is_answered(
        requests in vec((proptest::sample::select(&["GET", "POST", "PUT", "HEAD"][..]), paths(), bodies()), 1..8),
    ) {
        Runtime::new().unwrap().block_on(async {
            let bench = Bench::start();
            for (method, path, body) in &requests {
                let answer = over_unix(&bench, &request(&format!("{method} {path}"), "", body)).await;
                let refused = answer.status >= 400;
                assert!((200..=599).contains(&answer.status) && answer.status != 500, "{method} {path} {body}: {answer:?}");
                // What HTTP itself refuses has no words.
                if refused && *method != "HEAD" && answer.status != 431 && !answer.body.is_empty() {
                    answer.kind();
                }
            }
            assert_eq!(over_unix(&bench, &request("GET /v1/status", "", "")).await.status, 200);
            bench.stop().await;
        });
    }
}
