//! One request over real sockets against servers that answer byte for byte what a test says, or do not.

use std::time::Duration;

use plugin_api::verdict::WriteError;
use plugin_http::{
    client::client,
    endpoint::Endpoint,
    exchange::{Answer, Outgoing, exchange},
    hosts::Hosts,
    patience::Patience,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    task::JoinHandle,
};

/// A server that reads the head of one request, answers these bytes and then closes or waits for the client to go.
async fn server(answer: &'static [u8], closes: bool) -> (Endpoint, JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback sockets can be opened");
    let address = listener.local_addr().expect("the socket is bound");
    let serving = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("a client comes");
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            request.push(stream.read_u8().await.expect("the client sends a head"));
        }
        stream.write_all(answer).await.expect("the client reads");
        if !closes {
            // Ends when the client closes.
            let _ = stream.read_u8().await;
        }
        String::from_utf8(request).expect("heads are text")
    });
    let endpoint = Endpoint::parse(&format!("http://{address}"), false).expect("loopback is allowed");
    (endpoint, serving)
}

async fn ask(endpoints: impl IntoIterator<Item = Endpoint>, bytes_max: usize) -> Result<Answer, WriteError> {
    ask_for(endpoints, bytes_max, Duration::from_millis(500)).await
}

async fn ask_for(
    endpoints: impl IntoIterator<Item = Endpoint>,
    bytes_max: usize,
    timeout: Duration,
) -> Result<Answer, WriteError> {
    let client = client("test/1", None).expect("no certificate files are needed");
    let build = |endpoint: &Endpoint| client.get(endpoint.url("/x"));
    let secrets = ["hunter2".into(), "aHVudGVyMg".into()];
    let outgoing = Outgoing { build, secrets: &secrets, bytes: 0, answer_bytes_max: bytes_max };
    exchange(&Hosts::new(endpoints), &Patience::new(timeout), outgoing).await
}

/// What is sent names the agent and nothing of the machine.
#[tokio::test]
async fn a_request_carries_its_user_agent() {
    let (endpoint, serving) = server(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok", false).await;
    assert_eq!(ask([endpoint], 2).await.unwrap().body, "ok");
    let request = serving.await.unwrap();
    assert!(
        request.starts_with("GET /x HTTP/1.1\r\n") && request.contains("user-agent: test/1\r\n"),
        "{request}"
    );
}

/// G10: an error page that repeats the key does not bring it into logs and letters.
#[tokio::test]
async fn an_answer_does_not_repeat_the_key() {
    let (endpoint, _serving) =
        server(b"HTTP/1.1 400 Bad\r\ncontent-length: 12\r\n\r\nkey: hunter2", false).await;
    assert_eq!(ask([endpoint], 100).await.unwrap().body, "key: (hidden)");
    let (endpoint, _serving) =
        server(b"HTTP/1.1 400 Bad\r\ncontent-length: 18\r\n\r\naHVudGVyMg hunter2", false).await;
    assert_eq!(ask([endpoint], 100).await.unwrap().body, "(hidden) (hidden)");
    let (endpoint, _serving) =
        server(b"HTTP/1.1 503 Bad\r\ncontent-length: 12\r\n\r\nkey: hunter2", false).await;
    let shown = format!("{:?}", ask([endpoint], 100).await.unwrap_err());
    assert!(shown.contains("key: (hidden)") && !shown.contains("hunter"), "{shown}");
}

/// G9: an endless answer costs no more than its limit; of an error the status is kept all the same.
#[tokio::test]
async fn an_answer_is_read_up_to_its_limit() {
    let (endpoint, _serving) = server(b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nyes", false).await;
    let error = ask([endpoint], 2).await.unwrap_err();
    assert!(matches!(error, WriteError::Unknown { .. }), "{error:?}");
    assert!(error.to_string().contains("larger than 2 bytes"), "{error}");
    let (endpoint, _serving) = server(b"HTTP/1.1 400 Bad\r\ncontent-length: 3\r\n\r\nyes", false).await;
    let answer = ask([endpoint], 2).await.unwrap();
    assert_eq!((answer.status.as_u16(), answer.body.len()), (400, 0));
}

/// G4: an answer that breaks off, stalls or is no HTTP leaves the outcome open.
#[tokio::test]
async fn half_an_answer_is_unknown() {
    let cases: [(&[u8], bool); 4] = [
        (b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nye", true),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nye", false),
        (b"HTTP/1.1 200", true),
        (b"SSH-2.0-OpenSSH_9.9\r\n", true),
    ];
    for (answer, closes) in cases {
        let (endpoint, _serving) = server(answer, closes).await;
        let error = ask([endpoint], 10).await.unwrap_err();
        assert!(matches!(error, WriteError::Unknown { .. }), "{error:?}");
    }
}

/// G3: what never left is not unknown: a host that hangs up on TLS, or never says a word of it, has got nothing. The
/// next host is asked in the same call.
#[tokio::test]
async fn what_was_not_sent_is_unavailable() {
    for hangs_up in [true, false] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let bad = Endpoint::parse(&format!("https://{address}"), false).unwrap();
        tokio::spawn(async move {
            let mut kept = Vec::new();
            while let Ok((stream, _)) = listener.accept().await {
                if !hangs_up {
                    kept.push(stream);
                }
            }
        });
        let patience = Duration::from_secs(60);
        let error = ask_for([bad.clone()], 10, patience).await.unwrap_err();
        assert!(matches!(error, WriteError::Unavailable { .. }), "{error:?}");
        let (good, _serving) = server(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", false).await;
        assert!(ask_for([bad, good], 10, patience).await.is_ok());
    }
}
