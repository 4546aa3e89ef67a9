//! What clients cannot make the agent hold. (G9)

use bytes::Bytes;
use http_body::Frame;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::mpsc,
    task::JoinSet,
};
use tonic::{Code, body::Body};
use tower::ServiceExt as _;

use super::*;

/// A body that the test feeds piece by piece.
struct Fed(mpsc::UnboundedReceiver<Bytes>);

impl http_body::Body for Fed {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        ctx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<Frame<Bytes>, Status>>> {
        self.0.poll_recv(ctx).map(|bytes| bytes.map(|bytes| Ok(Frame::data(bytes))))
    }
}

/// A call whose body is sent as the test likes.
struct Call {
    feed: mpsc::UnboundedSender<Bytes>,
    answer: JoinHandle<Status>,
}

impl Call {
    fn begin(channel: Channel) -> Self {
        Self::begin_at(channel, "sync.v1.SyncService/UpsertObjects", "identity")
    }

    fn begin_at(channel: Channel, path: &str, encoding: &str) -> Self {
        let (feed, fed) = mpsc::unbounded_channel();
        let request = http::Request::post(format!("http://agent/{path}"))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .header("grpc-encoding", encoding)
            .body(Body::new(Fed(fed)))
            .unwrap();
        let answer = tokio::spawn(async move {
            match channel.oneshot(request).await {
                Ok(response) => Status::from_header_map(response.headers()).unwrap_or(Status::ok("")),
                Err(error) => Status::unknown(error.to_string()),
            }
        });
        Self { feed, answer }
    }

    /// The prefix of a message of `length` bytes.
    fn announce(&self, length: u32) {
        let _ = self.feed.send([&[0][..], &length.to_be_bytes()].concat().into());
    }

    fn send(&self, length: usize) {
        let _ = self.feed.send(vec![b'x'; length].into());
    }
}

/// 200 clients each hold half of a 4 MB request. The bytes held for them never exceed the ceiling, a small honest
/// request is accepted meanwhile, and after the time-out everything is free again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_sent_requests() {
    const CEILING: usize = 64 << 20;
    let server = Running::start(Limits { receive_timeout: Duration::from_millis(1500), ..limits() });
    let mut calls = JoinSet::new();
    let (mut connected, seen) = (Vec::new(), seen_by(&server));
    for _ in 0..200 {
        connected.push(server.channel().await);
    }
    for channel in connected {
        let call = Call::begin(channel);
        call.announce(4_000_000);
        call.send(2_000_000);
        let Call { feed, answer } = call;
        calls.spawn(async move {
            let status = answer.await.unwrap();
            drop(feed);
            status
        });
    }
    until("a full budget", || server.gauge.leased_bytes() > CEILING / 2).await;
    server.client().await.upsert_objects(small()).await.unwrap();
    let mut codes = std::collections::BTreeMap::new();
    while let Some(status) = calls.join_next().await {
        let status = status.unwrap();
        match status.code() {
            Code::DeadlineExceeded => {}
            Code::ResourceExhausted => assert!(retry_after(&status).is_some(), "{status}"),
            _ => panic!("{status}"),
        }
        *codes.entry(format!("{:?}", status.code())).or_insert(0) += 1;
    }
    assert_eq!(codes.len(), 2, "{codes:?}");
    until("a free budget", || server.gauge.leased_bytes() == 0).await;
    let most = seen.await.unwrap();
    assert!(most <= CEILING, "{most} bytes were held");
}

/// One large request that stalls holds all that there is for large ones; a small one is accepted all the same.
#[tokio::test]
async fn small_requests_have_bytes_of_their_own() {
    let server = Running::start(Limits { decoding_bytes_max: 8 << 20, ..limits() });
    let call = Call::begin(server.channel().await);
    call.announce(4_000_000);
    until("a lease", || server.gauge.leased_bytes() >= 6 << 20).await;
    server.client().await.upsert_objects(small()).await.unwrap();
    let second = Call::begin(server.channel().await);
    second.announce(100_000);
    let status = second.answer.await.unwrap();
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert!(retry_after(&status).is_some());
}

/// Watches the gauge until the budget was used and is free again.
fn seen_by(server: &Running) -> JoinHandle<usize> {
    let gauge = server.gauge.clone();
    tokio::spawn(async move {
        let mut most = 0;
        loop {
            let now = gauge.leased_bytes();
            if now == 0 && most > 1 << 20 {
                return most;
            }
            most = most.max(now);
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
}

/// A message that says it is too long is refused before it is sent.
#[tokio::test]
async fn too_long_is_refused_at_once() {
    let server = Running::start(limits());
    let call = Call::begin(server.channel().await);
    call.announce(u32::MAX);
    let status = call.answer.await.unwrap();
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert!(status.message().contains("limits.request_bytes_max"), "{status}");
    assert_eq!(server.gauge.leased_bytes(), 0);
}

/// A body that stalls, before its length or after it, ends with DEADLINE_EXCEEDED; one that goes on beyond its
/// length or ends before it is not accepted.
#[tokio::test]
async fn malformed_bodies() {
    let server = Running::start(Limits { receive_timeout: Duration::from_millis(200), ..limits() });
    let channel = server.channel().await;
    let silent = Call::begin(channel.clone());
    assert_eq!(silent.answer.await.unwrap().code(), Code::DeadlineExceeded);

    let stalled = Call::begin(channel.clone());
    stalled.announce(100);
    stalled.send(10);
    assert_eq!(stalled.answer.await.unwrap().code(), Code::DeadlineExceeded);

    let endless = Call::begin(channel.clone());
    endless.announce(10);
    endless.send(10);
    endless.send(1);
    assert_eq!(endless.answer.await.unwrap().code(), Code::InvalidArgument);

    let cut = Call::begin(channel.clone());
    cut.announce(10);
    cut.send(5);
    drop(cut.feed);
    assert_eq!(cut.answer.await.unwrap().code(), Code::Internal);

    let piecemeal = Call::begin(channel);
    let message = prost::Message::encode_to_vec(&small());
    for byte in [&[0][..], &(message.len() as u32).to_be_bytes(), &message].concat() {
        piecemeal.feed.send(Bytes::copy_from_slice(&[byte])).unwrap();
    }
    drop(piecemeal.feed);
    assert_eq!(piecemeal.answer.await.unwrap().code(), Code::Ok);
    assert_eq!(server.log.appends.lock().unwrap().len(), 1);
    until("a free budget", || server.gauge.leased_bytes() == 0).await;
}

/// A compressed request is not understood, and says so: nothing of a bomb is unpacked, and no bytes are leased for it.
#[tokio::test]
async fn compressed_requests() {
    let server = Running::start(limits());
    for encoding in ["gzip", "zstd", "deflate", "br", "gzip, gzip", "identity"] {
        let call = Call::begin_at(server.channel().await, "sync.v1.SyncService/UpsertObjects", encoding);
        // Its first byte says that it is compressed.
        call.feed.send([&[1][..], &100_u32.to_be_bytes()].concat().into()).unwrap();
        call.send(100);
        drop(call.feed);
        let code = call.answer.await.unwrap().code();
        assert!(
            matches!(code, Code::Unimplemented | Code::Internal | Code::InvalidArgument),
            "{encoding}: {code:?}"
        );
        assert_eq!(server.gauge.leased_bytes(), 0, "{encoding}");
    }
    assert_eq!(server.log.appends.lock().unwrap().len(), 0);
}

/// A request of the largest size is accepted, and one of two million empty payloads is refused without becoming any
/// larger than it is.
#[tokio::test]
async fn the_largest_requests() {
    let server = Running::start(limits());
    let mut client = server.client().await;
    let text = text("x".repeat(1_000_000));
    let payloads = (0..4).map(|id| payload(&id.to_string(), object([("a", text.clone())]))).collect();
    client.upsert_objects(save(payloads)).await.unwrap();
    assert_eq!(server.records().len(), 4);
    let empty = vec![SyncPayload::default(); 2_000_000];
    let status = client.upsert_objects(save(empty)).await.unwrap_err();
    assert!(status.message().contains("has 2000000 records"), "{status}");
}

/// Stalled calls to health are cut, too, and there are only so many at once; finished ones make room.
#[tokio::test]
async fn health_calls_are_limited() {
    let limits = Limits { connections_max: 2, receive_timeout: Duration::from_millis(200), ..limits() };
    let server = Running::start(limits);
    let channel = server.channel().await;
    let begin = || Call::begin_at(channel.clone(), "grpc.health.v1.Health/Check", "identity");
    let calls = [begin(), begin(), begin(), begin()];
    let mut codes = Vec::new();
    for call in calls {
        codes.push(call.answer.await.unwrap().code());
    }
    codes.sort_by_key(|code| *code as i32);
    use Code::{DeadlineExceeded as Cut, ResourceExhausted as Busy};
    assert_eq!(codes, [Cut, Cut, Busy, Busy]);
    for _ in 0..3 {
        let whole = begin();
        whole.announce(0);
        drop(whole.feed);
        assert_eq!(whole.answer.await.unwrap().code(), Code::Ok);
    }
}

/// The bytes stay leased while the log has not answered, and are free when the caller goes away.
#[tokio::test]
async fn the_lease_lasts_through_the_append() {
    let server = Running::start_with(limits(), Indexes::new([]), MemoryLog::closed());
    let mut client = server.client().await;
    let call = tokio::spawn(async move { client.upsert_objects(small()).await });
    until("an append", || server.log.waiting() == 1).await;
    assert!(server.gauge.leased_bytes() > 0);
    call.abort();
    until("a free budget", || server.gauge.leased_bytes() == 0).await;
}

/// Control characters grow sixfold as JSON: what grows beyond the lease is leased, too, or refused.
#[tokio::test]
async fn json_that_outgrows_its_message() {
    let grown = || {
        let text = text("\u{1}".repeat(100_000));
        save((0..4).map(|id| payload(&id.to_string(), object([("a", text.clone())]))).collect())
    };
    let server = Running::start_with(limits(), Indexes::new([]), MemoryLog::closed());
    let mut client = server.client().await;
    let call = tokio::spawn(async move { client.upsert_objects(grown()).await });
    until("an append", || server.log.waiting() == 1).await;
    assert!(server.gauge.leased_bytes() > 2_400_000, "{}", server.gauge.leased_bytes());
    call.abort();

    let server = Running::start(Limits { decoding_bytes_max: 1_500_000, ..limits() });
    let status = server.client().await.upsert_objects(grown()).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
    assert!(retry_after(&status).is_some());
}

/// Connections beyond the limit are closed at once, and one that goes makes room.
#[tokio::test]
async fn connections_are_limited() {
    let server = Running::start(Limits { connections_max: 2, ..limits() });
    let first = server.client().await;
    let mut second = server.client().await;
    second.upsert_objects(small()).await.unwrap();
    let mut third = TcpStream::connect(server.address).await.unwrap();
    assert!(matches!(third.read(&mut [0; 16]).await, Ok(0) | Err(_)));
    drop(first);
    let deadline = Instant::now() + Duration::from_secs(10);
    let mut later = loop {
        assert!(Instant::now() < deadline);
        let address = format!("http://{}", server.address);
        if let Ok(mut client) = Client::connect(address).await
            && client.upsert_objects(small()).await.is_ok()
        {
            break client;
        }
    };
    later.upsert_objects(small()).await.unwrap();
}

/// A connection that says nothing, or stalls within its first frames, is closed; one that has spoken HTTP/2 and is
/// idle stays.
#[tokio::test]
async fn silent_connections_are_closed() {
    let server = Running::start(Limits { receive_timeout: Duration::from_millis(150), ..limits() });
    let mut idle = server.client().await;
    idle.upsert_objects(small()).await.unwrap();
    // The preface, empty settings, and the head of a HEADERS frame whose block never comes.
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let settings = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    let headers = [0, 0, 9, 1, 4, 0, 0, 0, 1];
    for bytes in [vec![], preface[..10].to_vec(), [&preface[..], &settings, &headers].concat()] {
        let mut connection = TcpStream::connect(server.address).await.unwrap();
        connection.write_all(&bytes).await.unwrap();
        let closed = async { while matches!(connection.read(&mut [0; 1024]).await, Ok(1..)) {} };
        tokio::time::timeout(Duration::from_secs(10), closed).await.expect("the connection is closed");
    }
    idle.upsert_objects(small()).await.unwrap();
}

/// A client is told how many requests it may have open on one connection.
#[tokio::test]
async fn streams_are_limited() {
    let limits = Limits { connection_requests_max: 3, ..limits() };
    let server = Running::start_with(limits, Indexes::new([]), MemoryLog::closed());
    let mut client = server.client().await;
    // Until the server's settings have come the client knows of no limit.
    server.log.gate.add_permits(1);
    client.upsert_objects(small()).await.unwrap();
    let mut calls = JoinSet::new();
    for _ in 0..10 {
        let mut client = client.clone();
        calls.spawn(async move { client.upsert_objects(small()).await.map(drop) });
    }
    until("three appends", || server.log.waiting() == 1 + 3).await;
    server.log.gate.add_permits(1);
    until("one more", || server.log.waiting() == 1 + 4).await;
    assert_eq!(server.log.appends.lock().unwrap().len(), 1 + 1);
    server.log.gate.add_permits(9);
    while let Some(call) = calls.join_next().await {
        call.unwrap().unwrap();
    }
}
