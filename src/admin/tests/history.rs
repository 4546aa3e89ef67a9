//! What was, over the wire.

use super::{
    Bench,
    double::history,
    http::{over_tcp, over_unix, request},
};
use crate::admin::History;

/// The history comes whole, to whoever has the token.
#[tokio::test]
async fn the_history_comes_whole() {
    let bench = Bench::start();
    let token = format!("Host: localhost\r\nAuthorization: Bearer {}\r\n", bench.token());
    for answer in [
        over_unix(&bench, &request("GET /v1/history", "", "")).await,
        over_tcp(&bench, &request("GET /v1/history", &token, "")).await,
    ] {
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(serde_json::from_str::<History>(&answer.body).unwrap(), history());
    }
    bench.stop().await;
}

/// What asks for letters arrives as it was meant, is no command for the audit log, and needs no more than a destination.
#[tokio::test]
async fn letters_are_asked_for() {
    let bench = Bench::start();
    let ask =
        async |path: &str, body: &str| over_unix(&bench, &request(&format!("POST {path}"), "", body)).await;
    let answer = ask("/v1/dead-letters/list", "{\"destination\": \"search\"}").await;
    assert_eq!((answer.status, answer.json()["more"].clone()), (200, false.into()), "{answer:?}");
    let body =
        "{\"destination\": \"search\", \"limit\": 7, \"filter\": {\"last\": 9, \"reason\": \"rejected\"}}";
    assert_eq!(ask("/v1/dead-letters/list", body).await.status, 200);
    let answer = ask("/v1/dead-letters/show", "{\"destination\": \"search\", \"id\": 3}").await;
    assert_eq!((answer.status, answer.kind().as_str()), (404, "not_found"));
    for body in
        ["", "{\"destination\": \"search\", \"ids\": [3]}", "{\"destination\": \"search\", \"limit\": -1}"]
    {
        assert_eq!(ask("/v1/dead-letters/list", body).await.status, 400, "{body}");
    }
    let asked = bench.double.asked();
    assert_eq!(asked.len(), 3, "{asked:?}");
    assert!(asked[0].contains("limit: 50"), "{asked:?}");
    assert!(asked[1].contains("last: Some(9)") && asked[1].contains("limit: 7"), "{asked:?}");
    assert_eq!(asked[2], "show_letter ShowLetter { destination: \"search\", id: 3 }");
    assert!(!bench.audit().exists());
    bench.stop().await;
}
