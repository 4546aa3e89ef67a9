//! Clients that speak HTTP/2 themselves, to see what they can make the agent hold or wait for. (G9)

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use super::*;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// RFC 9113, 3.4
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// RFC 9113, 4.1
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A field that no table keeps (RFC 7541, 6.2.2), with a value of at most 126 bytes.
fn field(name: &str, value: &str) -> Vec<u8> {
    [&[0, name.len() as u8], name.as_bytes(), &[value.len() as u8], value.as_bytes()].concat()
}

/// The head of a request to the service.
fn head() -> Vec<u8> {
    [
        field(":method", "POST"),
        field(":scheme", "http"),
        field(":path", "/sync.v1.SyncService/UpsertObjects"),
        field(":authority", "agent"),
        field("content-type", "application/grpc"),
        field("te", "trailers"),
    ]
    .concat()
}

/// As many bytes of fields as that, at least.
fn fields(bytes: usize) -> Vec<u8> {
    let one = field("x-field", &"x".repeat(100));
    one.iter().copied().cycle().take(bytes.next_multiple_of(one.len())).collect()
}

async fn connect(server: &Running) -> TcpStream {
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(&[PREFACE, &frame(SETTINGS, 0, 0, &[])].concat()).await.unwrap();
    stream
}

/// Writes piece after piece until the server hangs up; returns how many bytes it took.
async fn write_until_closed(
    stream: TcpStream,
    pieces: impl Iterator<Item = Vec<u8>>,
    pause: Duration,
) -> usize {
    let (mut reading, mut writing) = stream.into_split();
    let mut closed = tokio::spawn(async move {
        let mut part = [0; 4096];
        while matches!(reading.read(&mut part).await, Ok(1..)) {}
    });
    let mut written = 0;
    let write = async {
        for piece in pieces {
            if closed.is_finished() || writing.write_all(&piece).await.is_err() {
                return;
            }
            written += piece.len();
            // The pace is what is tried out.
            tokio::time::sleep(pause).await;
        }
        let _ = (&mut closed).await;
    };
    timeout(Duration::from_secs(20), write).await.expect("the connection is closed");
    written
}

/// A head that comes byte by byte, in one frame or in many, holds its connection no longer than silence does.
#[tokio::test]
async fn slow_heads_are_cut() {
    let server = Running::start(Limits { receive_timeout: Duration::from_millis(200), ..limits() });
    let mut honest = server.client().await;
    let long = frame(HEADERS, END_HEADERS, 1, &fields(8_000));
    let in_one = long.into_iter().map(|byte| vec![byte]);
    let begun = frame(HEADERS, 0, 1, &head());
    let more = fields(8_000).chunks(109).map(|field| frame(CONTINUATION, 0, 1, field)).collect::<Vec<_>>();
    let in_many =
        std::iter::once(begun).chain(more).flat_map(|frame| frame.into_iter().map(|byte| vec![byte]));
    let pieces: [Box<dyn Iterator<Item = Vec<u8>>>; 2] = [Box::new(in_one), Box::new(in_many)];
    for pieces in pieces {
        let stream = connect(&server).await;
        let written = write_until_closed(stream, pieces, Duration::from_millis(10)).await;
        assert!(written < 8_000, "it took all {written} bytes");
        honest.upsert_objects(small()).await.unwrap();
    }
}

/// CONTINUATION frames without end, empty ones or full of fields, end the connection before they become a megabyte.
#[tokio::test]
async fn floods_of_continuations_are_cut() {
    let server = Running::start(limits());
    let mut honest = server.client().await;
    for payload in [vec![], fields(1), fields(16_000)] {
        let begun = frame(HEADERS, 0, 1, &head());
        let more = std::iter::repeat_with(|| frame(CONTINUATION, 0, 1, &payload));
        let stream = connect(&server).await;
        let written = write_until_closed(stream, std::iter::once(begun).chain(more), Duration::ZERO).await;
        // What lies in the sockets' buffers was never read.
        assert!(written < 8 << 20, "it took {written} bytes of frames of {}", payload.len());
        honest.upsert_objects(small()).await.unwrap();
    }
    assert_eq!(server.gauge.leased_bytes(), 0);
}

/// Heads beyond 8 KiB are refused, whoever's they are: nothing of the request is accepted, and others go on.
#[tokio::test]
async fn oversized_heads_are_refused() {
    let server = Running::start(limits());
    let mut honest = server.client().await;
    let message = prost::Message::encode_to_vec(&small());
    let body = [&[0][..], &(message.len() as u32).to_be_bytes(), &message].concat();
    for (bytes, accepted) in [(1_000, true), (12_000, false), (200_000, false)] {
        let before = server.log.appends.lock().unwrap().len();
        let block = [head(), fields(bytes)].concat();
        let mut blocks = block.chunks(16_000);
        let mut frames =
            frame(HEADERS, if block.len() <= 16_000 { END_HEADERS } else { 0 }, 1, blocks.next().unwrap());
        let more = blocks.clone().count();
        for (number, block) in blocks.enumerate() {
            frames.extend(frame(CONTINUATION, if number + 1 == more { END_HEADERS } else { 0 }, 1, block));
        }
        frames.extend(frame(DATA, END_STREAM, 1, &body));
        let mut stream = connect(&server).await;
        // It may have hung up already.
        let _ = stream.write_all(&frames).await;
        let mut answer = Vec::new();
        let mut part = [0; 4096];
        while let Ok(Ok(length @ 1..)) = timeout(Duration::from_millis(500), stream.read(&mut part)).await {
            answer.extend_from_slice(&part[..length]);
        }
        let appended = server.log.appends.lock().unwrap().len() - before;
        assert_eq!(appended == 1, accepted, "{bytes}: {answer:?}");
        honest.upsert_objects(small()).await.unwrap();
    }
}
