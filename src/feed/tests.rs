//! The shared end of a real log: each lane comes past every record once, in order, whoever reads it, and nobody waits for
//! another.

use std::{
    future::Future,
    io,
    pin::pin,
    sync::Arc,
    task::{Context, Waker},
    time::Duration,
};

use plugin_api::{identity::Position, operation::Action};
use tempfile::TempDir;
use tokio::time::timeout;

use super::{block::Block, tail::Tail};
use crate::{
    log::{
        EmbeddedLog, Retention, Settings,
        interface::{Append, Attributes, BacklogLimit, Log, Reader},
    },
    record::PayloadWriter,
    runtime::SystemClock,
};

/// Far longer than anything here takes.
const DEADLINE: Duration = Duration::from_secs(20);

/// A few of them make a block.
const RECORD_BYTES: usize = 200_000;

/// Bytes that are kept for all, with the block that is too much.
const KEPT_BYTES: usize = 9 << 20;

struct Bench {
    _root: TempDir,
    log: Arc<EmbeddedLog>,
    tail: Arc<Tail>,
}

impl Bench {
    fn new() -> Self {
        let root = TempDir::new().unwrap();
        let settings = Settings {
            dir: root.path().join("log"),
            disk_bytes_max: 256 << 20,
            segment_bytes: 16 << 20,
            retention: Retention { age: Duration::ZERO, bytes_max: 0 },
            destinations: [("any".to_owned(), BacklogLimit::UNLIMITED)].into(),
        };
        let log = Arc::new(EmbeddedLog::open(settings, Arc::new(SystemClock)).unwrap().0);
        let tail = Arc::new(Tail::new(log.clone()));
        Self { _root: root, log, tail }
    }

    /// Appends so many records, each named after its offset.
    async fn append(&self, records: usize, bytes: usize) {
        for _ in 0..records {
            let mut payload = PayloadWriter::new(Action::Save, "products", 64);
            let id = self.log.status().end.offset.to_string();
            let write = |out: &mut Vec<u8>| {
                out.extend_from_slice(format!(r#"{{"text":"{}"}}"#, "x".repeat(bytes)).as_bytes());
                Ok::<_, io::Error>(())
            };
            payload.record(&id, write).unwrap();
            let payload = payload.into_bytes();
            self.log.append(Append { records: 1, payload, attributes: Attributes::default() }).await.unwrap();
        }
    }

    fn lane_at(&self, offset: u64) -> Lane {
        Lane { tail: self.tail.clone(), at: Position { partition: 0, offset }, own: None }
    }

    fn end(&self) -> Position {
        self.log.status().end
    }
}

/// What of a lane concerns the tail.
struct Lane {
    tail: Arc<Tail>,
    at: Position,
    own: Option<Box<dyn Reader>>,
}

impl Lane {
    /// Takes the next block, which must hold the lane's place and every record behind it.
    async fn next(&mut self) -> Arc<Block> {
        let next = timeout(DEADLINE, self.tail.next(self.at, &mut self.own));
        let block = next.await.expect("nobody is waited for").unwrap();
        assert!(block.first() <= self.at && self.at < block.end(), "{:?} at {}", block.first(), self.at);
        let mut offset = block.first().offset;
        for (frame, records) in block.frames() {
            assert_eq!(frame.position.offset, offset);
            for record in records {
                assert_eq!(*record.object_id, *offset.to_string());
                offset += 1;
            }
        }
        assert_eq!(block.end().offset, offset);
        self.at = block.end();
        block
    }

    async fn go_to(&mut self, end: Position) {
        while self.at < end {
            self.next().await;
        }
    }
}

/// Whether a future still waits.
fn waits<T>(future: std::pin::Pin<&mut impl Future<Output = T>>) -> bool {
    future.poll(&mut Context::from_waker(Waker::noop())).is_pending()
}

/// Near the end a block is read and decoded once, whether the lanes ask at once or one after the other.
#[tokio::test]
async fn near_the_end_a_block_is_read_once() {
    let bench = Bench::new();
    let (mut one, mut two, mut three) = (bench.lane_at(0), bench.lane_at(0), bench.lane_at(0));
    for _ in 0..3 {
        let (of_one, of_two, ()) = tokio::join!(one.next(), two.next(), bench.append(1, 10));
        assert!(Arc::ptr_eq(&of_one, &of_two));
        assert!(Arc::ptr_eq(&of_one, &three.next().await));
    }
    assert_eq!((one.at, two.at, three.at), (bench.end(), bench.end(), bench.end()));
}

/// G5: the lane that reads for all goes away while it waits for the next record; another one takes over.
#[tokio::test]
async fn a_reader_that_goes_hands_over() {
    let bench = Bench::new();
    let (mut gone, mut left) = (bench.lane_at(0), bench.lane_at(0));
    let mut left_waits = pin!(left.next());
    {
        let mut goes = pin!(gone.next());
        assert!(waits(goes.as_mut()) && waits(left_waits.as_mut()));
    }
    let (block, ()) = tokio::join!(left_waits, bench.append(1, 10));
    assert!(Arc::ptr_eq(&block, &gone.next().await), "it goes on where it was");
}

/// G5, G9: a lane that is far behind reads for itself until it reaches what is kept, as often as it falls behind, and the
/// lane at the end does not wait for it. What is kept stays bounded.
#[tokio::test]
async fn a_lane_that_is_behind_reads_for_itself() {
    let bench = Bench::new();
    let (mut ahead, mut behind) = (bench.lane_at(0), bench.lane_at(0));
    for _ in 0..2 {
        bench.append(60, RECORD_BYTES).await;
        let end = bench.end();
        ahead.go_to(end).await;
        assert!(bench.tail.kept_bytes() < KEPT_BYTES, "{} bytes", bench.tail.kept_bytes());
        let mut at_end = pin!(ahead.next());
        assert!(waits(at_end.as_mut()));
        behind.next().await;
        assert!(behind.own.is_some(), "it is not behind: the test tells nothing");
        while behind.own.is_some() {
            behind.next().await;
        }
        assert!(behind.at <= end, "it never reached what is kept");
        // Not to the end: it falls behind once more.
        let (block, ()) = tokio::join!(at_end, bench.append(1, 10));
        assert_eq!(block.first(), end);
    }
    behind.go_to(bench.end()).await;
}

/// G5: a lane that starts beyond where the reader stands gets its place at once, and the others go on by themselves until
/// they are there.
#[tokio::test]
async fn a_lane_that_starts_ahead_moves_the_reader() {
    let bench = Bench::new();
    bench.append(30, RECORD_BYTES).await;
    let end = bench.end();
    let mut first = bench.lane_at(0);
    first.next().await;
    let mut ahead = bench.lane_at(end.offset - 1);
    ahead.next().await;
    assert_eq!(ahead.at, end);
    first.next().await;
    assert!(first.own.is_some(), "nobody reads for it any more");
    first.go_to(end).await;
    let (of_first, of_ahead, ()) = tokio::join!(first.next(), ahead.next(), bench.append(1, 10));
    assert!(Arc::ptr_eq(&of_first, &of_ahead));
}
