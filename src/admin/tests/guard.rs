//! Nobody gets past the guard.

use super::{
    Bench,
    http::{over_tcp, over_unix, request},
};

/// Every route, and some that do not exist.
const PATHS: [&str; 28] = [
    "/v1/status",
    "/v1/events",
    "/v1/history",
    "/v1/find",
    "/v1/tail",
    "/v1/reload",
    "/v1/drain",
    "/v1/destinations/search/pause",
    "/v1/destinations/search/resume",
    "/v1/destinations/search/probe",
    "/v1/destinations/search/forget",
    "/v1/destinations/search/reset-cursor",
    "/v1/transforms/redact/resume",
    "/v1/dead-letters/list",
    "/v1/dead-letters/show",
    "/v1/dead-letters/replay",
    "/v1/dead-letters/drop",
    "//",
    "/dashboard",
    "/v1",
    "/v1/",
    "/v1/status/",
    "//v1/status",
    "/v1/destinations/%ff/pause",
    "/v1/destinations/../status",
    "/metrics",
    "/admin-token",
    "/dashboard/../v1/status",
];
const METHODS: [&str; 9] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW"];

/// Scenario: somebody who has no token, half of one, another one, two or another scheme tries every route by every
/// method, also routes that do not exist. Each is refused alike, and nothing is done.
#[tokio::test]
async fn nothing_is_answered_without_the_token() {
    let bench = Bench::start();
    let token = bench.token();
    let credentials = [
        String::new(),
        "Authorization: Bearer\r\n".to_owned(),
        "Authorization: Bearer \r\n".to_owned(),
        format!("Authorization: Bearer {}\r\n", &token[..63]),
        format!("Authorization: Bearer {token}0\r\n"),
        format!("Authorization: Bearer {}\r\n", "0".repeat(64)),
        format!("Authorization: Basic {token}\r\n"),
        format!("Authorization: {token}\r\n"),
        format!("Authorization: Bearer {token}\r\nAuthorization: Bearer {token}\r\n"),
        format!("X-Token: {token}\r\nCookie: token={token}\r\n"),
    ];
    for path in PATHS {
        for method in METHODS {
            for credentials in &credentials {
                let line = format!("{method} {path}");
                let answer =
                    over_tcp(&bench, &request(&line, &format!("Host: localhost\r\n{credentials}"), "{}"))
                        .await;
                assert_eq!(answer.status, 401, "{line} with {credentials:?}: {answer:?}");
                assert!(answer.head.to_lowercase().contains("www-authenticate: bearer"), "{answer:?}");
                if method != "HEAD" {
                    assert_eq!(answer.kind(), "unauthorized");
                }
                assert!(!answer.body.contains(&token[..63]), "{answer:?}");
            }
        }
    }
    let with_query = format!("GET /v1/status?token={token}&access_token={token}");
    assert_eq!(over_tcp(&bench, &request(&with_query, "Host: localhost\r\n", "")).await.status, 401);
    assert_eq!(bench.double.asked(), [""; 0]);
    assert!(!bench.audit().exists(), "what is refused at the door is no command");
    bench.stop().await;
}

/// Scenario: DNS points a stranger's name at the port, and a page of his asks, having the token even. A Host must be an
/// address of this machine or `localhost`.
#[tokio::test]
async fn a_foreign_host_is_refused() {
    let bench = Bench::start();
    let token = format!("Authorization: Bearer {}\r\n", bench.token());
    let port = bench.address.port();
    let refused = [
        String::new(),
        "Host: \r\n".to_owned(),
        "Host: evil.example\r\n".to_owned(),
        format!("Host: evil.example:{port}\r\n"),
        "Host: localhost.evil.example\r\n".to_owned(),
        "Host: 127.0.0.1.evil.example\r\n".to_owned(),
        "Host: 10.0.0.1\r\n".to_owned(),
        "Host: 0.0.0.0\r\n".to_owned(),
        "Host: [::2]\r\n".to_owned(),
        "Host: localhost@evil.example\r\n".to_owned(),
        "Host: evil.example@localhost\r\n".to_owned(),
        "Host: localhost\r\nHost: evil.example\r\n".to_owned(),
        "Host: localhost\r\nHost: localhost\r\n".to_owned(),
    ];
    for path in PATHS {
        for method in ["GET", "POST", "OPTIONS"] {
            for host in &refused {
                let line = format!("{method} {path}");
                let answer = over_tcp(&bench, &request(&line, &format!("{host}{token}"), "{}")).await;
                assert_eq!(answer.status, 403, "{line} with {host:?}: {answer:?}");
                assert_eq!(answer.kind(), "forbidden");
            }
        }
    }
    let absolute = request("GET http://evil.example/v1/status", &format!("Host: localhost\r\n{token}"), "");
    assert_eq!(over_tcp(&bench, &absolute).await.status, 403);
    assert_eq!(bench.double.asked(), [""; 0]);

    for host in
        ["localhost", "LOCALHOST:1", "127.0.0.1", "127.9.9.9:80", "[::1]:9601", &bench.address.to_string()]
    {
        let answer =
            over_tcp(&bench, &request("GET /v1/status", &format!("Host: {host}\r\n{token}"), "")).await;
        assert_eq!(answer.status, 200, "{host}: {answer:?}");
    }
    bench.stop().await;
}

/// Scenario: a page of another origin asks from the operator's browser. Over TCP even with the token, and on the socket,
/// where no page is ever served from, any page.
#[tokio::test]
async fn a_foreign_origin_is_refused() {
    let bench = Bench::start();
    let allowed = format!("Host: localhost:9601\r\nAuthorization: Bearer {}\r\n", bench.token());
    let foreign = [
        "http://evil.example",
        "null",
        "http://localhost",
        "http://localhost:9602",
        "https://localhost:9601",
        "http://localhost:9601.evil.example",
        "",
    ];
    for path in PATHS {
        for method in METHODS.into_iter().filter(|method| *method != "HEAD") {
            for origin in foreign {
                let line = format!("{method} {path}");
                let headers = format!("{allowed}Origin: {origin}\r\n");
                let answer = over_tcp(&bench, &request(&line, &headers, "{}")).await;
                assert_eq!(
                    (answer.status, answer.kind().as_str()),
                    (403, "forbidden"),
                    "{line} from {origin}"
                );
                assert!(!answer.head.to_lowercase().contains("access-control"), "{answer:?}");
            }
            let on_socket = request(&format!("{method} {path}"), "Origin: http://localhost:9601\r\n", "{}");
            assert_eq!(over_unix(&bench, &on_socket).await.status, 403, "{method} {path}");
        }
    }
    assert_eq!(bench.double.asked(), [""; 0]);

    let own = format!("{allowed}Origin: http://localhost:9601\r\n");
    assert_eq!(over_tcp(&bench, &request("GET /v1/status", &own, "")).await.status, 200);
    let two = format!("{own}Origin: http://evil.example\r\n");
    assert_eq!(over_tcp(&bench, &request("GET /v1/status", &two, "")).await.status, 403);
    bench.stop().await;
}

/// A GET never changes anything: a link or an image could send one.
#[tokio::test]
async fn nothing_changes_by_get() {
    let bench = Bench::start();
    for path in &PATHS[3..17] {
        for method in METHODS.into_iter().filter(|method| *method != "POST") {
            let answer = over_unix(&bench, &request(&format!("{method} {path}"), "", "{}")).await;
            assert_eq!(answer.status, 405, "{method} {path}: {answer:?}");
            assert!(answer.head.to_lowercase().contains("allow: post"), "{answer:?}");
            if method != "HEAD" {
                assert_eq!(answer.kind(), "method_not_allowed");
            }
        }
    }
    for path in ["/", "/v1", "/v1/status/", "/v1/nothing"] {
        let answer = over_unix(&bench, &request(&format!("GET {path}"), "", "")).await;
        assert_eq!((answer.status, answer.kind().as_str()), (404, "not_found"), "{path}");
    }
    assert_eq!(bench.double.asked(), [""; 0]);
    assert!(!bench.audit().exists());
    bench.stop().await;
}
