//! Repeats are recognised: in flight, in every state of the log, and after a restart. (G1, G2)

use std::{collections::HashMap, fs, sync::Mutex, task::Poll};

use plugin_api::operation::Action;
use ring::digest::{SHA256, digest};

use super::{faulty::Call, gate::Gate, *};
use crate::{
    log::{
        interface::{ContentDigest, From, Idempotency},
        segment, segment_footer,
        segment_header::{self, HEADER_BYTES},
    },
    record::PayloadWriter,
};

const SECOND: u64 = 1_000_000;
const WINDOW: Duration = Duration::from_secs(600);

/// What was sent: the key, the index, and what tells contents apart.
#[derive(Clone, Copy)]
struct Sent<'a> {
    key: &'a str,
    index: &'a str,
    content: &'a str,
    caller: Option<&'a str>,
    bytes: usize,
}

fn sent<'a>(key: &'a str, content: &'a str) -> Sent<'a> {
    Sent { key, index: "products", content, caller: None, bytes: 0 }
}

fn digest_of(sent: Sent<'_>) -> [u8; 32] {
    digest(&SHA256, &append_of(sent).payload).as_ref().try_into().unwrap()
}

fn append_of(sent: Sent<'_>) -> Append {
    let mut payload = PayloadWriter::new(Action::Save, sent.index, 64);
    let write = |out: &mut Vec<u8>| {
        out.extend_from_slice(sent.content.as_bytes());
        out.resize(out.len() + sent.bytes, b' ');
        Ok::<_, ()>(())
    };
    payload.record("1", write).unwrap();
    let payload = payload.into_bytes();
    let digest = digest(&SHA256, &payload).as_ref().try_into().unwrap();
    let idempotency = (!sent.key.is_empty()).then(|| Idempotency { key: sent.key.to_owned(), digest });
    let caller = sent.caller.map(Into::into);
    Append { records: 1, payload, attributes: Attributes { idempotency, caller, traceparent: None } }
}

async fn send(log: &EmbeddedLog, sent: Sent<'_>) -> Appended {
    log.append(append_of(sent)).await.unwrap()
}

/// Asserts that this is a repeat of what was answered so.
#[track_caller]
fn assert_repeat(answer: Result<Appended, AppendError>, first: Appended) {
    assert_eq!(answer.unwrap(), Appended { repeated: true, ..first });
}

/// What there was before with the key.
#[track_caller]
fn reused(answer: Result<Appended, AppendError>) -> (ContentDigest, ContentDigest, Appended) {
    match answer {
        Err(AppendError::KeyReused { earlier, digest, request_id }) => {
            let (position, version) = (Default::default(), plugin_api::identity::Version(0));
            (earlier, digest, Appended { request_id, position, version, repeated: false })
        }
        other => panic!("{other:?}"),
    }
}

async fn is_ready<F: Future + Unpin>(future: &mut F) -> bool {
    std::future::poll_fn(|ctx| Poll::Ready(std::pin::Pin::new(&mut *future).poll(ctx).is_ready())).await
}

fn advance(bench: &Bench, seconds: u64) {
    bench.clock.0.fetch_add(seconds * SECOND, Ordering::SeqCst);
}

/// How many frames there are.
async fn frames(log: &EmbeddedLog) -> usize {
    read_all(log, log.status().start.offset).await.len()
}

/// Fills the log with requests of their own keys until it has so many segments; returns their answers.
async fn fill(bench: &Bench, log: &EmbeddedLog, segments: usize) -> Vec<(String, Appended)> {
    let mut all = Vec::new();
    while bench.segments().len() < segments {
        let key = format!("key {}", all.len());
        let appended = send(log, Sent { bytes: 3000, ..sent(&key, &key) }).await;
        all.push((key, appended));
    }
    all
}

/// Asserts that all of these are recognised, and nothing is appended for them.
async fn assert_known(log: &EmbeddedLog, all: &[(String, Appended)]) {
    let end = log.status().end;
    for (key, first) in all {
        assert_repeat(log.append(append_of(Sent { bytes: 3000, ..sent(key, key) })).await, *first);
    }
    assert_eq!(log.status().end, end);
}

/// A repeat gets what the first one got, and nothing is appended; the same key for another index, from another caller
/// or from nobody, and another key are requests of their own.
#[tokio::test]
async fn a_repeat_gets_the_first_answer() {
    let bench = Bench::new();
    let (log, _) = bench.open();
    send(&log, sent("", "zero")).await;
    let first = send(&log, sent("a", "one")).await;
    assert!(!first.repeated);
    assert_repeat(log.append(append_of(sent("a", "one"))).await, first);
    assert_eq!(
        log.recall(&append_of(sent("a", "one"))).await.unwrap().map(|it| it.request_id),
        Some(first.request_id)
    );
    assert_eq!(frames(&log).await, 2);
    let others = [
        Sent { index: "brands", ..sent("a", "one") },
        Sent { caller: Some("shop"), ..sent("a", "one") },
        Sent { caller: Some("stock"), ..sent("a", "one") },
        Sent { caller: Some(""), ..sent("a", "one") },
        sent("b", "one"),
        sent("", "one"),
        sent("", "one"),
    ];
    for (number, other) in others.into_iter().enumerate() {
        assert!(log.recall(&append_of(other)).await.unwrap().is_none());
        assert!(!send(&log, other).await.repeated, "{number}");
    }
    assert_eq!((frames(&log).await, log.status().keys), (9, 6));
}

/// Other content is refused, with both digests whole and the earlier request's id; also once the frame itself is gone,
/// as far as memory has the digest.
#[tokio::test]
async fn other_content_is_told() {
    let bench = Bench::new();
    let (log, _) = bench.open();
    log.subscribe("search", From::Oldest).await.unwrap();
    let first = send(&log, sent("a", "one")).await;
    for answer in [
        log.append(append_of(sent("a", "two"))).await,
        log.recall(&append_of(sent("a", "two"))).await.map(|it| it.unwrap()),
    ] {
        let (earlier, digest, found) = reused(answer);
        assert_eq!(earlier, ContentDigest::Whole(digest_of(sent("a", "one"))));
        assert_eq!(digest, ContentDigest::Whole(digest_of(sent("a", "two"))));
        assert_eq!(found.request_id, first.request_id);
    }
    assert_eq!(frames(&log).await, 1);
    fill(&bench, &log, 2).await;
    log.commit("search", &progress(log.status().end.offset)).await.unwrap();
    assert!(log.status().start > first.position, "the frame is gone");
    let (earlier, ..) = reused(log.append(append_of(sent("a", "two"))).await);
    let whole = ContentDigest::Whole(digest_of(sent("a", "one"))).to_string();
    assert_eq!(earlier.to_string(), format!("{}...", &whole[..24]));
    assert_repeat(log.append(append_of(sent("a", "one"))).await, first);
}

/// A repeat that comes while the first is being synced waits for that fdatasync and gets its answer, also when the first
/// call was dropped meanwhile; one with other content waits, too, and is refused then.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn repeats_in_flight_wait() {
    for dropped in [false, true] {
        let bench = Bench::new();
        let (log, _) = bench.open();
        send(&log, sent("", "zero")).await;
        let gate = Gate::hold(&bench.disk);
        let mut first = Some(Box::pin(log.append(append_of(sent("a", "one")))));
        assert!(!is_ready(first.as_mut().unwrap()).await);
        tokio::task::block_in_place(|| gate.reached());
        if dropped {
            first = None;
        }
        let mut repeat = Box::pin(log.append(append_of(sent("a", "one"))));
        let (one, two) = (append_of(sent("a", "one")), append_of(sent("a", "two")));
        let mut recalled = Box::pin(log.recall(&one));
        let mut other = Box::pin(log.append(two));
        assert!(!is_ready(&mut repeat).await, "answered before it was synced");
        assert!(!is_ready(&mut recalled).await, "answered before it was synced");
        assert!(!is_ready(&mut other).await, "refused although the first may be");
        gate.release();
        let answer = repeat.await.unwrap();
        assert!(answer.repeated);
        assert_eq!(recalled.await.unwrap(), Some(answer));
        if let Some(first) = first {
            assert_eq!(Appended { repeated: true, ..first.await.unwrap() }, answer);
        }
        assert_eq!(reused(other.await).2.request_id, answer.request_id);
        let frames = read_all(&log, 0).await;
        assert_eq!((frames.len(), frames[1].request_id), (2, answer.request_id));
    }
}

/// After a failed fdatasync the repeats that waited are refused, too; what was accepted before still is. After the
/// restart the key has at most one frame, whatever the disk kept.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn poisoned() {
    let bench = Bench::new();
    let (log, _) = bench.open();
    let before = send(&log, sent("before", "one")).await;
    let gate = Gate::hold(&bench.disk);
    let mut first = Box::pin(log.append(append_of(sent("a", "one"))));
    assert!(!is_ready(&mut first).await);
    tokio::task::block_in_place(|| gate.reached());
    let mut repeat = Box::pin(log.append(append_of(sent("a", "one"))));
    assert!(!is_ready(&mut repeat).await);
    gate.fail();
    for answer in [first.await, repeat.await, log.append(append_of(sent("a", "two"))).await] {
        assert!(matches!(answer, Err(AppendError::Poisoned { .. })), "{answer:?}");
    }
    assert_eq!(log.recall(&append_of(sent("a", "one"))).await.unwrap(), None);
    assert_repeat(log.append(append_of(sent("before", "one"))).await, before);
    reused(log.append(append_of(sent("before", "two"))).await);
    log.close().await;
    assert_repeat(log.append(append_of(sent("before", "one"))).await, before);
    assert!(matches!(log.append(append_of(sent("new", "one"))).await, Err(AppendError::Poisoned { .. })));
    drop(log);
    let (log, _) = bench.open();
    let answer = send(&log, sent("a", "one")).await;
    assert_repeat(log.append(append_of(sent("before", "one"))).await, before);
    let with_key: Vec<_> =
        read_all(&log, 0).await.into_iter().filter(|it| it.request_id == answer.request_id).collect();
    assert_eq!((with_key.len(), frames(&log).await), (1, 2));
}

/// A closed log answers repeats and refuses the rest.
#[tokio::test]
async fn closed() {
    let bench = Bench::new();
    let (log, _) = bench.open();
    let first = send(&log, sent("a", "one")).await;
    log.close().await;
    assert_repeat(log.append(append_of(sent("a", "one"))).await, first);
    assert!(matches!(log.append(append_of(sent("b", "one"))).await, Err(AppendError::Closed)));
}

/// A log whose budget is used up answers repeats, and a request that it refuses leaves nothing behind: its key is free
/// for whatever comes next, here and after a restart.
#[tokio::test]
async fn a_full_log() {
    let mut bench = Bench::new();
    bench.disk_bytes_max = 64 << 10;
    let (log, _) = bench.open();
    log.subscribe("search", From::Oldest).await.unwrap();
    let mut accepted = Vec::new();
    loop {
        let key = format!("key {}", accepted.len());
        match log.append(append_of(Sent { bytes: 3000, ..sent(&key, &key) })).await {
            Ok(appended) => accepted.push((key, appended)),
            Err(AppendError::Full { .. }) => break,
            Err(error) => panic!("{error}"),
        }
    }
    let refused = format!("key {}", accepted.len());
    let large = |content| append_of(Sent { bytes: 3000, ..sent(&refused, content) });
    assert_known(&log, &accepted).await;
    assert_eq!(log.recall(&large(&refused)).await.unwrap(), None);
    // Two at once: neither waits for the other in vain.
    let (one, two) = tokio::join!(log.append(large("one")), log.append(large("two")));
    for answer in [one, two] {
        assert!(matches!(answer, Err(AppendError::Full { .. })), "{answer:?}");
    }
    assert_eq!(log.status().keys, accepted.len());
    let dir = bench.crash("full");
    assert_known(&bench.try_open(dir).unwrap().0, &accepted).await;
    log.commit("search", &progress(accepted.len() as u64)).await.unwrap();
    let answer = log.append(large("three")).await.unwrap();
    assert!(!answer.repeated);
    assert_known(&log, &accepted).await;
    assert_repeat(log.append(large("three")).await, answer);
}

/// A request too large for the log leaves nothing behind either.
#[tokio::test]
async fn a_request_too_large() {
    let bench = Bench::new();
    let (log, _) = bench.open();
    let large = append_of(Sent { bytes: 20_000, ..sent("a", "one") });
    assert!(matches!(log.append(large).await, Err(AppendError::TooLarge { .. })));
    assert!(!send(&log, sent("a", "two")).await.repeated);
}

/// The keys of footers and of the open segment are there again after a restart and after kill -9, also twice in a row.
#[tokio::test]
async fn keys_survive_a_restart() {
    let bench = Bench::new();
    let (log, _) = bench.open();
    let mut all = fill(&bench, &log, 4).await;
    let dir = bench.crash("killed");
    let (killed, report) = bench.try_open(dir.clone()).unwrap();
    assert_eq!((report.keys, report.keys_reach, report.alerts.len()), (all.len(), WINDOW, 0));
    assert_known(&killed, &all).await;
    reused(killed.append(append_of(sent("key 0", "other"))).await);
    let more = send(&killed, Sent { bytes: 3000, ..sent("more", "more") }).await;
    all.push(("more".to_owned(), more));
    killed.close().await;
    drop(killed);
    let (again, report) = bench.try_open(dir).unwrap();
    assert_eq!(report.keys, all.len());
    assert_known(&again, &all).await;
}

/// Reads of each segment's file while a log is opened.
fn reads_while_opening(bench: &Bench) -> (EmbeddedLog, OpenReport, HashMap<PathBuf, usize>) {
    let reads = Arc::new(Mutex::new(HashMap::new()));
    let counted = reads.clone();
    bench.disk.set(move |call, path: &Path| {
        if call == Call::Read {
            *counted.lock().unwrap().entry(path.to_owned()).or_default() += 1;
        }
        Ok(())
    });
    let (log, report) = bench.open();
    bench.disk.set(|_, _| Ok(()));
    let reads = reads.lock().unwrap().clone();
    (log, report, reads)
}

/// Of segments that end before the window nothing but header and footer is read, and their keys are not known any more.
#[tokio::test]
async fn opening_reads_no_more_than_the_window() {
    let bench = Bench::new();
    let (log, _) = bench.open();
    let old = fill(&bench, &log, 6).await;
    let old_segments = bench.segments().len() - 1;
    advance(&bench, 601);
    let mut new = Vec::new();
    while bench.segments().len() < old_segments + 4 {
        let key = format!("new {}", new.len());
        let appended = send(&log, Sent { bytes: 3000, ..sent(&key, &key) }).await;
        new.push((key, appended));
    }
    log.close().await;
    drop(log);
    let (log, report, reads) = reads_while_opening(&bench);
    let segments = bench.segments();
    // Header, trailer, footer; two reads more tell that nothing follows.
    let most = |segments: &[PathBuf]| segments.iter().map(|path| reads[path]).max().unwrap();
    let (before, within) = (most(&segments[..old_segments - 1]), most(&segments[old_segments + 1..][..2]));
    assert_eq!(within, before + 1, "of a segment within the window its keys are read, besides");
    assert_known(&log, &new).await;
    let last_old = old.len() - 1;
    assert!((new.len()..new.len() + 4).contains(&report.keys), "{report:?}");
    for (key, _) in &old[..last_old] {
        assert_eq!(log.recall(&append_of(Sent { bytes: 3000, ..sent(key, key) })).await.unwrap(), None);
    }
}

/// Where the log's beginning was given back the window is shorter after a restart, grows again, and status says so.
#[tokio::test]
async fn the_window_reaches_as_far_back_as_the_log() {
    let bench = Bench::new();
    let (log, report) = bench.open();
    assert_eq!((report.keys_reach, log.status().keys_reach), (WINDOW, WINDOW));
    log.subscribe("search", From::Oldest).await.unwrap();
    fill(&bench, &log, 3).await;
    advance(&bench, 100);
    let begin = log.status().end.offset;
    fill(&bench, &log, 4).await;
    log.commit("search", &progress(log.status().end.offset)).await.unwrap();
    assert!(log.status().start.offset > begin);
    assert_eq!(log.status().keys_reach, WINDOW, "memory still has them all");
    log.close().await;
    drop(log);
    advance(&bench, 50);
    let (log, report) = bench.open();
    assert_eq!(report.keys_reach, Duration::from_secs(50));
    advance(&bench, 20);
    assert_eq!(log.status().keys_reach, Duration::from_secs(70));
    advance(&bench, 1000);
    assert_eq!(log.status().keys_reach, WINDOW);
}

/// A key is free after ten minutes, however the clock is set back meanwhile, and not before.
#[tokio::test]
async fn the_window_ends() {
    for restarts in [false, true] {
        let bench = Bench::new();
        bench.clock.0.store(10_000 * SECOND, Ordering::SeqCst);
        let (mut log, _) = bench.open();
        let first = send(&log, sent("a", "one")).await;
        bench.clock.0.store(5000 * SECOND, Ordering::SeqCst);
        send(&log, sent("", "so that the log sees the clock")).await;
        for seconds in [0, 300, 300] {
            advance(&bench, seconds);
            if restarts {
                send(&log, sent("", "here, too")).await;
                log.close().await;
                drop(log);
                log = bench.open().0;
            }
            assert_repeat(log.append(append_of(sent("a", "one"))).await, first);
        }
        advance(&bench, 1);
        assert!(!send(&log, sent("a", "two")).await.repeated, "restarts: {restarts}");
        reused(log.append(append_of(sent("a", "one"))).await);
    }
}

/// Rewrites the file of the segment at this place in the order.
fn damage(bench: &Bench, number: usize, change: impl FnOnce(&mut Vec<u8>)) {
    let path = &bench.segments()[number];
    let mut bytes = fs::read(path).unwrap();
    change(&mut bytes);
    fs::write(path, bytes).unwrap();
}

/// The bytes before the footer of a sealed segment, and its footer without keys.
fn without_keys(bytes: &[u8]) -> Vec<u8> {
    let header = segment_header::decode(&bytes[..HEADER_BYTES]).unwrap();
    let trailer = segment_footer::decode_trailer(&bytes[bytes.len() - 24..], bytes.len() as u64).unwrap();
    let footer = segment_footer::decode(header.nonce, &bytes[trailer.at as usize..]).unwrap();
    let mut out = bytes[..footer.frames_end() as usize].to_vec();
    let footer = segment_footer::Footer { at: footer.frames_end(), keys: None, ..footer };
    out.extend(segment_footer::encode(header.nonce, &footer));
    out
}

/// A segment whose footer or keys are rotten, or that was written by a version without keys in its footer, is scanned;
/// no other is, and every key is known.
#[tokio::test]
async fn rotten_footers_and_keys() {
    type Change = fn(&mut Vec<u8>);
    let changes: [(Change, usize); 3] = [
        (|bytes| *bytes.last_mut().unwrap() ^= 1, 1),
        (
            |bytes| {
                let trailer = segment_footer::decode_trailer(&bytes[bytes.len() - 24..], bytes.len() as u64);
                bytes[trailer.unwrap().at as usize - 1] ^= 1;
            },
            1,
        ),
        (|bytes| *bytes = without_keys(bytes), 0),
    ];
    for (number, (change, alerts)) in changes.into_iter().enumerate() {
        let bench = Bench::new();
        let (log, _) = bench.open();
        let all = fill(&bench, &log, 5).await;
        log.close().await;
        drop(log);
        let (log, _, sound) = reads_while_opening(&bench);
        log.close().await;
        drop(log);
        damage(&bench, 2, change);
        let (log, report, reads) = reads_while_opening(&bench);
        assert_eq!((report.keys, report.alerts.len()), (all.len(), alerts), "{number}: {:?}", report.alerts);
        assert_known(&log, &all).await;
        let segments = bench.segments();
        for (place, path) in segments.iter().enumerate().filter(|(place, _)| *place != 2) {
            assert_eq!(reads[path], sound[path], "{number}: segment {place}");
        }
        assert_eq!(segment::base_of(segments[2].file_name().unwrap().as_ref()), Some(log_base(&segments[2])));
    }
}

fn log_base(path: &Path) -> u64 {
    path.file_stem().unwrap().to_str().unwrap().parse().unwrap()
}

/// Rule 3: keys and footer are on disk as far as any byte. The segment is simply not sealed yet, and every key is known.
#[tokio::test]
async fn sealing_cut_short() {
    let bench = Bench::new();
    let (log, _) = bench.open();
    let mut all = fill(&bench, &log, 3).await;
    log.close().await;
    drop(log);
    let newest = bench.segments().pop().unwrap();
    all.truncate(log_base(&newest) as usize);
    fs::remove_file(newest).unwrap();
    let sealed = fs::read(bench.segments().pop().unwrap()).unwrap();
    let trailer = segment_footer::decode_trailer(&sealed[sealed.len() - 24..], sealed.len() as u64).unwrap();
    let frames_end = trailer.at as usize - 3 * 56;
    for written in (frames_end..=sealed.len()).step_by(5) {
        let dir = bench.crash("sealing");
        let mut bytes = sealed[..written].to_vec();
        bytes.resize(16 << 10, 0);
        fs::write(segments_in(&dir).pop().unwrap(), bytes).unwrap();
        let (log, report) = bench.try_open(dir).unwrap();
        assert_eq!((report.keys, report.alerts.len()), (all.len(), 0), "{written}");
        assert_known(&log, &all).await;
        log.close().await;
    }
}

/// Frames that are rotten where keys have to be read from them: what can be read is known, the rest is said to be not,
/// and the log opens.
#[tokio::test]
async fn rot_in_what_is_scanned() {
    let bench = Bench::new();
    let (log, _) = bench.open();
    let all = fill(&bench, &log, 4).await;
    log.close().await;
    drop(log);
    damage(&bench, 1, |bytes| {
        *bytes = without_keys(bytes);
        bytes[HEADER_BYTES + 3000 + 500] ^= 1;
    });
    let (log, report) = bench.open();
    assert!(report.keys < all.len() && report.alerts.len() == 1, "{report:?}");
    assert!(report.alerts[0].contains("rotten"), "{report:?}");
    assert_known(&log, &all[..4]).await;
    assert_eq!(log.status().keys_reach, Duration::ZERO);
}
