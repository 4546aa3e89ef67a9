//! Many producers at once.

use std::{
    collections::HashMap,
    future::Future as _,
    sync::{
        Once,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use tokio::task::JoinSet;

use super::*;
use crate::log::{
    block::{self, Place, Source},
    segment_header,
};

const APPENDERS: u64 = 64;
const EACH: u64 = 40;

/// G1: each of 64 producers is answered with exactly what a reader then finds: id, position, version, content; in
/// this process and after a crash.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn everyone_gets_their_own_answer() {
    let mut bench = Bench::new();
    bench.segment_bytes = 256 << 10;
    let (log, _) = bench.open();
    let log = Arc::new(log);
    let mut tasks = JoinSet::new();
    for appender in 0..APPENDERS {
        let log = log.clone();
        tasks.spawn(async move {
            let mut answers = Vec::new();
            for index in 0..EACH {
                let number = appender * EACH + index;
                let appended = append(&log, number, (number % 5 + 1) as u32, (number % 700) as usize).await;
                answers.push((number, appended));
            }
            answers
        });
    }
    let answers: HashMap<u64, Appended> = tasks.join_all().await.into_iter().flatten().collect();
    assert!(bench.segments().len() > 3);
    let copy = bench.crash("killed");
    check_groups(&copy);
    check(&log, &answers).await;
    check(&bench.try_open(copy).unwrap().0, &answers).await;
}

async fn check(log: &EmbeddedLog, answers: &HashMap<u64, Appended>) {
    let frames = read_all(log, 0).await;
    assert_eq!(frames.len() as u64, APPENDERS * EACH);
    let (mut offset, mut version, mut last_of) = (0, 0, HashMap::new());
    for (frame, number) in frames.iter().zip(numbers(&frames)) {
        let found = Appended {
            request_id: frame.request_id,
            position: frame.position,
            version: frame.version,
            repeated: false,
        };
        assert_eq!(found, answers[&number]);
        let sent = request(number, (number % 5 + 1) as u32, (number % 700) as usize);
        assert_eq!((frame.records, &frame.payload[..]), (sent.records, &sent.payload[..]));
        assert_eq!(frame.attributes, sent.attributes);
        assert_eq!(frame.position.offset, offset, "positions are dense");
        assert!(frame.version.0 > version, "versions increase");
        offset += u64::from(frame.records);
        version = frame.version.0 + u64::from(frame.records) - 1;
        let before = last_of.insert(number / EACH, number);
        assert!(before.is_none_or(|before| before < number), "one producer's order is kept");
    }
}

/// Rule 6 rests on this: each frame says where its write group begins, and groups of several frames do form.
fn check_groups(dir: &Path) {
    let mut larger = 0;
    for path in segments_in(dir) {
        let file = std::fs::File::open(&path).unwrap();
        let header = segment_header::decode(&std::fs::read(&path).unwrap()[..HEADER]).unwrap();
        let (limit, until) = (file.metadata().unwrap().len(), u64::MAX);
        let source = Source { file: &file, nonce: header.nonce, log_id: header.log_id, limit, until };
        let found = block::read(source, Place { at: HEADER as u64, offset: header.base }).unwrap().found;
        let mut group_at = HEADER as u64;
        for frame in &found {
            if frame.group_at == frame.at {
                group_at = frame.at;
            } else {
                larger += 1;
            }
            assert_eq!(frame.group_at, group_at);
        }
        assert!(!found.is_empty());
    }
    assert!(larger > 100, "{larger}");
}

/// G2: looking at the log's status all the time holds up nobody: neither the writer nor the next look.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn status_holds_up_nobody() {
    let bench = Bench::new();
    let log = Arc::new(bench.open().0);
    let stop = Arc::new(AtomicBool::new(false));
    let mut looking = Vec::new();
    for _ in 0..2 {
        let (log, stop) = (log.clone(), stop.clone());
        // Threads of their own: one that never ends must not keep the test from failing.
        looking.push(std::thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                log.status();
            }
        }));
    }
    let mut tasks = JoinSet::new();
    for appender in 0..8 {
        let log = log.clone();
        tasks.spawn(async move {
            for index in 0..200 {
                append(&log, appender * 200 + index, 1, 100).await;
            }
        });
    }
    let all = tokio::time::timeout(std::time::Duration::from_secs(30), tasks.join_all()).await;
    assert!(all.is_ok(), "appends and looks wait for each other");
    stop.store(true, Ordering::Relaxed);
    looking.into_iter().for_each(|thread| thread.join().unwrap());
}

/// Holds up the answerer's thread when it tells the first one: longer than closing takes that does not wait for it.
struct HeldUp(Once);

impl Wake for HeldUp {
    fn wake(self: Arc<Self>) {
        if std::thread::current().name() == Some("log-answerer") {
            self.0.call_once(|| std::thread::park_timeout(Duration::from_millis(500)));
        }
    }
}

/// G1: whoever closes the log knows that everybody has an answer: those, too, that the writer did not tell itself.
#[test]
fn closing_waits_for_every_answer() {
    let bench = Bench::new();
    let (log, _) = bench.open();
    let held_up = Arc::new(HeldUp(Once::new()));
    let waker = Waker::from(held_up.clone());
    let mut context = Context::from_waker(&waker);
    let mut appends: Vec<_> = (0..10_000).map(|number| log.append(request(number, 1, 100))).collect();
    let mut answers: Vec<_> = appends.iter_mut().map(|append| append.as_mut().poll(&mut context)).collect();
    tokio::runtime::Runtime::new().unwrap().block_on(log.close());
    for (append, answer) in appends.iter_mut().zip(&mut answers).filter(|(_, answer)| answer.is_pending()) {
        *answer = append.as_mut().poll(&mut context);
    }
    assert!(answers.iter().all(|answer| matches!(answer, Poll::Ready(Ok(_)))), "closed with an answer due");
    assert!(held_up.0.is_completed(), "the writer told everybody itself");
}

/// G1: a producer that goes away may or may not have been accepted; nobody else notices, and closing finishes what
/// was taken.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn cancelled_appends() {
    let bench = Bench::new();
    let (log, _) = bench.open();
    let log = Arc::new(log);
    let (mut kept, mut dropped) = (JoinSet::new(), JoinSet::new());
    for number in 0..400 {
        let log = log.clone();
        let append = async move { append(&log, number, 1, 100).await };
        if number % 2 == 0 {
            kept.spawn(append)
        } else {
            dropped.spawn(append)
        };
    }
    dropped.shutdown().await;
    let answers = kept.join_all().await;
    log.close().await;
    let found: HashMap<_, _> =
        read_all(&log, 0).await.into_iter().map(|frame| (frame.position, frame.request_id)).collect();
    assert_eq!(answers.len(), 200);
    for answer in answers {
        assert_eq!(found[&answer.position], answer.request_id);
    }
    drop(log);
    assert_eq!(bench.open().1.end.offset, found.len() as u64);
}

/// G1: closing finishes every append that was taken, also those that only wait.
#[tokio::test]
async fn close_finishes_what_was_taken() {
    let bench = Bench::new();
    let (log, _) = bench.open();
    let mut appends: Vec<_> = (0..40).map(|number| Box::pin(append(&log, number, 1, 10))).collect();
    for append in &mut appends {
        // Polled once: it is in the queue now. (Not many more would be: tokio lets a task do only so much at once.)
        let _ = append.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    }
    log.close().await;
    for (number, append) in appends.into_iter().enumerate() {
        assert_eq!(append.await.position, position(number as u64));
    }
    assert_eq!(numbers(&read_all(&log, 0).await), (0..40).collect::<Vec<_>>());
}

/// G9: what waits is bounded in bytes: far more than the queue holds goes through it, each request whole.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_than_the_queue_holds() {
    let mut bench = Bench::new();
    bench.segment_bytes = 16 << 20;
    bench.disk_bytes_max = 256 << 20;
    let (log, _) = bench.open();
    let log = Arc::new(log);
    let mut tasks = JoinSet::new();
    for number in 0..40 {
        let log = log.clone();
        let bytes = if number == 7 { 12 << 20 } else { 1 << 20 };
        tasks.spawn(async move { append(&log, number, 1, bytes).await });
    }
    assert_eq!(tasks.join_all().await.len(), 40);
    let mut found = numbers(&read_all(&log, 0).await);
    found.sort_unstable();
    assert_eq!(found, (0..40).collect::<Vec<_>>());
}
