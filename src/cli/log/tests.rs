//! The commands on real logs, from their arguments to their output.

use std::{
    fs::{self, OpenOptions},
    os::unix::fs::FileExt,
    sync::Arc,
    time::Duration,
};

use clap::Parser as _;
use plugin_api::operation::Action;
use serde_json::Value;
use tempfile::TempDir;

use super::*;
use crate::{
    cli::text,
    dead_letter::{Cause, Filter, Order, Range, View, store_path},
    log::{
        EmbeddedLog, Settings,
        interface::{
            Append, Appended, Attributes, BacklogLimit, From, Idempotency, Log as _, Progress, Totals,
        },
    },
    record::PayloadWriter,
};

#[derive(Debug, clap::Parser)]
struct Program {
    #[command(flatten)]
    arguments: Arguments,
}

/// What a command printed and how it ended.
#[derive(Debug)]
struct Ran {
    out: String,
    errors: String,
    outcome: Outcome,
}

/// 2020-01-01T00:00:00Z; requests are accepted a second apart from then on.
const BEGIN: u64 = 1_577_836_800_000_000;

#[derive(Debug)]
struct Seconds(std::sync::atomic::AtomicU64);

impl crate::runtime::Clock for Seconds {
    fn now(&self) -> Timestamp {
        Timestamp(BEGIN + self.0.load(std::sync::atomic::Ordering::SeqCst) * 1_000_000)
    }
}

/// A data directory with the log of an agent that has stopped.
struct Bench {
    dir: TempDir,
    clock: Arc<Seconds>,
}

impl Bench {
    fn new() -> Self {
        Self { dir: TempDir::new().unwrap(), clock: Arc::new(Seconds(Default::default())) }
    }

    /// The log of four requests with two records each, and a cursor that has settled the first one.
    async fn filled() -> (Self, Vec<Appended>) {
        let bench = Self::new();
        let log = bench.open();
        log.subscribe("search", From::Oldest).await.unwrap();
        let mut appended = Vec::new();
        for (number, index) in ["products", "offers", "products", "products"].into_iter().enumerate() {
            bench.clock.0.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            appended.push(log.append(request(number, index)).await.unwrap());
        }
        let totals = Totals { written: 1, skipped: 1, ..Totals::default() };
        let next = appended[1].position;
        log.commit("search", &Progress { next, totals, ..Progress::default() }).await.unwrap();
        log.close().await;
        drop(log);
        (bench, appended)
    }

    fn log_dir(&self) -> PathBuf {
        self.dir.path().join("logs/default")
    }

    fn open(&self) -> EmbeddedLog {
        let settings = Settings {
            dir: self.log_dir(),
            disk_bytes_max: 1 << 30,
            segment_bytes: 64 << 10,
            retention: crate::log::Retention { age: Duration::ZERO, bytes_max: 0 },
            destinations: [("search".to_owned(), BacklogLimit::UNLIMITED)].into(),
        };
        EmbeddedLog::open(settings, self.clock.clone()).unwrap().0
    }

    fn segment(&self) -> PathBuf {
        self.log_dir().join("00000000000000000000.seg")
    }

    fn flip(&self, at: u64) {
        let file = OpenOptions::new().read(true).write(true).open(self.segment()).unwrap();
        let mut byte = [0];
        file.read_exact_at(&mut byte, at).unwrap();
        file.write_all_at(&[byte[0] ^ 1], at).unwrap();
    }

    fn run(&self, arguments: &str) -> Ran {
        self.try_run(arguments).unwrap()
    }

    fn try_run(&self, arguments: &str) -> anyhow::Result<Ran> {
        self.answer(arguments, None)
    }

    /// Runs a command at a terminal at which somebody types this.
    fn answer(&self, arguments: &str, typed: Option<&str>) -> anyhow::Result<Ran> {
        let terminal = typed.map(|typed| Box::new(io::Cursor::new(typed.to_owned())) as Box<dyn io::BufRead>);
        let words = ["log"].into_iter().chain(arguments.split_whitespace());
        let arguments = Program::try_parse_from(words)?.arguments;
        let (mut out, mut errors) = (Vec::new(), Vec::new());
        let now = Timestamp(BEGIN + 3_600_000_000);
        let outcome = execute(&arguments, self.dir.path(), now, &mut out, &mut errors, terminal)?;
        let text = |bytes| anstream::adapter::strip_str(&String::from_utf8(bytes).unwrap()).to_string();
        Ok(Ran { out: text(out), errors: text(errors), outcome })
    }
}

fn request(number: usize, index: &str) -> Append {
    let mut payload = PayloadWriter::new(Action::Save, index, 64);
    for id in ["a", "b"] {
        let body = format!("{{\"n\":{number}.10,\"id\":\"{id}\"}}");
        let write = |out: &mut Vec<u8>| {
            out.extend_from_slice(body.as_bytes());
            Ok::<_, ()>(())
        };
        payload.record(id, write).unwrap();
    }
    let idempotency = (number == 1).then(|| Idempotency { key: "key-1".to_owned(), digest: [1; 32] });
    let caller = (number == 1).then(|| "shop".into());
    let attributes = Attributes { idempotency, caller, traceparent: None };
    Append { records: 2, payload: payload.into_bytes(), attributes }
}

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn offsets(ran: &Ran) -> Vec<u64> {
    lines(&ran.out).iter().map(|line| line["position"]["offset"].as_u64().unwrap()).collect()
}

/// A sound log ends with 0 and what was read.
#[tokio::test]
async fn verify_says_that_it_is_sound() {
    let (bench, _) = Bench::filled().await;
    let ran = bench.run("verify");
    assert_eq!(ran.outcome, Outcome::Done);
    assert!(ran.out.starts_with("log ") && ran.out.ends_with("\nsound\n"), "{}", ran.out);
    assert!(
        ran.out.contains("1 segments, 4 frames, 8 records from 0:0 to before 0:8, 64.00 KiB read in"),
        "{}",
        ran.out
    );
    let ran = bench.run("verify --json");
    let report: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(
        (&report["sound"], &report["findings"], &report["end"]),
        (&true.into(), &Value::Array(vec![]), &"0:8".into())
    );
}

/// What is found is told with its file, its byte and what to do, and the exit code tells how bad it is.
#[tokio::test]
async fn verify_tells_what_it_finds() {
    let (bench, _) = Bench::filled().await;
    fs::write(bench.log_dir().join("cursors/x.cursor.tmp"), "").unwrap();
    let ran = bench.run("verify");
    assert_eq!(ran.outcome, Outcome::Harmless);
    assert!(ran.out.contains("\nharmless: cursors/x.cursor.tmp\n  half made"), "{}", ran.out);
    assert!(ran.out.ends_with("\n1 found, no record is lost by it\n"), "{}", ran.out);
    bench.flip(4096 + 70);
    let ran = bench.run("verify");
    assert_eq!(ran.outcome, Outcome::Grave);
    let head = "\ngrave: 00000000000000000000.seg, byte 4096\n  rotten: checksum 0x";
    assert!(ran.out.contains(head) && ran.out.contains("what to do: restore"), "{}", ran.out);
    assert!(ran.out.ends_with("\n2 found, 1 of it grave\n"), "{}", ran.out);
    let report: Value = serde_json::from_str(&bench.run("verify --json").out).unwrap();
    let finding = &report["findings"][0];
    assert_eq!((&finding["severity"], &finding["byte"]), (&"grave".into(), &4096.into()));
    assert!(finding["file"].as_str().unwrap().ends_with("/logs/default/00000000000000000000.seg"));
}

/// The table as a whole; with every frame read, by index and caller, too.
#[tokio::test]
async fn stats_as_a_table() {
    let (bench, _) = Bench::filled().await;
    let text = bench.run("stats").out;
    let (_, rest) = text.split_once('\n').unwrap();
    assert_eq!(
        rest,
        format!(
            "  counted    by footers, and the newest segment's frames; --scan counts requests and callers, too
  segments   1, 64.00 KiB on disk, {} B of frames
  requests   4
  records    8, from 0:0 to before 0:8
  oldest     accepted 2020-01-01T00:00:01Z, 60 minutes ago
  newest     accepted 2020-01-01T00:00:04Z, 60 minutes ago

DESTINATION  NEXT  LAG  LAG BYTES  WRITTEN  SUPERSEDED  SKIPPED  DEAD-LETTERED  GAP
search        0:2    6      {} B        1           0        1              0    0

INDEX     RECORDS
offers          2
products        6
",
            frame_bytes(0) * 3 + frame_bytes(1),
            frame_bytes(0) * 2 + frame_bytes(1)
        )
    );
    let text = bench.run("stats --scan").out;
    assert!(text.contains("counted    by every frame"), "{text}");
    assert!(text.contains("INDEX     RECORDS  REQUESTS  BYTES\noffers          2         1"), "{text}");
    assert!(text.contains("CALLER       RECORDS  REQUESTS  BYTES\n(not known)        6         3"), "{text}");
}

/// What a request of the bench takes in its segment.
fn frame_bytes(number: usize) -> usize {
    let request = request(number, if number == 1 { "offers" } else { "products" });
    let attributes = if number == 1 { 6 + 32 + 5 + 6 + 4 } else { 0 };
    68 + attributes + request.payload.len()
}

/// The same for programs; a cursor that cannot be used says why, and versions ahead of the clock are told.
#[tokio::test]
async fn stats_as_json() {
    let (bench, appended) = Bench::filled().await;
    let report: Value = serde_json::from_str(&bench.run("stats --json").out).unwrap();
    assert_eq!(
        (&report["records"], &report["by_caller"], &report["source"]),
        (&8.into(), &Value::Null, &"footers".into())
    );
    let search = &report["destinations"]["search"];
    assert_eq!((&search["next"], &search["lag_records"]), (&"0:2".into(), &6.into()));
    assert_eq!((&search["totals"]["written"], &search["totals"]["gap"]), (&1.into(), &0.into()));
    assert_eq!(report["last_version"], appended[3].version.0 + 1);
    let report: Value = serde_json::from_str(&bench.run("stats --scan --json").out).unwrap();
    assert_eq!(
        (&report["by_index"]["offers"]["records"], &report["by_caller"]["shop"]["requests"]),
        (&2.into(), &1.into())
    );

    fs::write(bench.log_dir().join("cursors/search.cursor"), "rubbish").unwrap();
    bench.clock.0.store(7200, std::sync::atomic::Ordering::SeqCst);
    let log = bench.open();
    log.append(request(4, "products")).await.unwrap();
    log.close().await;
    drop(log);
    let text = bench.run("stats").out;
    assert!(text.contains("search       unusable   10"), "{text}");
    assert!(text.contains("the cursor of search cannot be used: its magic is missing"), "{text}");
    assert!(text.contains("versions run 60 minutes ahead of the clock"), "{text}");
}

/// A line has everything that is known of a record, and its data byte for byte.
#[tokio::test]
async fn dump_has_everything() {
    let (bench, appended) = Bench::filled().await;
    let ran = bench.run("dump --from 0:2 --limit 1");
    let Appended { request_id, version, .. } = appended[1];
    assert_eq!(
        ran.out,
        format!(
            "{{\"position\":{{\"partition\":0,\"offset\":2}},\"version\":{version},\"request_id\":\"{request_id}\",\
             \"accepted_at\":\"2020-01-01T00:00:02.000000Z\",\"action\":\"save\",\"index\":\"offers\",\
             \"object_id\":\"a\",\"caller\":\"shop\",\"idempotency_key\":\"key-1\",\"data\":{{\"n\":1.10,\"id\":\"a\"}}}}\n"
        )
    );
    let second = &lines(&bench.run("dump --from 3 --limit 1").out)[0];
    assert_eq!((&second["version"], &second["object_id"]), (&(version.0 + 1).into(), &"b".into()));
}

/// Positions, times, index and limit choose the records.
#[tokio::test]
async fn dump_chooses() {
    let (bench, _) = Bench::filled().await;
    for (arguments, expected) in [
        ("dump", (0..8).collect::<Vec<u64>>()),
        ("dump --from 0:3", (3..8).collect()),
        ("dump --from 8", vec![]),
        ("dump --from 1 --until 0:3", vec![1, 2]),
        ("dump --until 0", vec![]),
        ("dump --since 2020-01-01T00:00:03Z", vec![4, 5, 6, 7]),
        ("dump --since 2020-01-01T00:00:02Z --until 2020-01-01T00:00:03Z", vec![2, 3]),
        ("dump --since 1s", vec![]),
        ("dump --index offers", vec![2, 3]),
        ("dump --index products --from 3 --limit 3", vec![4, 5, 6]),
        ("dump --limit 0", vec![]),
    ] {
        let ran = bench.run(arguments);
        assert_eq!((offsets(&ran), ran.outcome), (expected, Outcome::Done), "{arguments}");
    }
    for wrong in ["dump --from x", "dump --from 1:5", "dump --from 1 --since 1s", "dump --until soon"] {
        let error = bench.try_run(wrong).unwrap_err();
        assert_eq!(error.downcast::<clap::Error>().unwrap().exit_code(), 2, "{wrong}");
    }
}

/// Rot ends a dump and is named; with --keep-going it is passed over. Either way the exit code tells.
#[tokio::test]
async fn dump_stops_at_rot() {
    let (bench, _) = Bench::filled().await;
    bench.flip(4096 + frame_bytes(0) as u64 + 90);
    let ran = bench.run("dump");
    assert_eq!((offsets(&ran), ran.outcome), (vec![0, 1], Outcome::Grave));
    assert!(ran.errors.contains("0:2 to before 0:4 cannot be read: "), "{}", ran.errors);
    assert!(ran.errors.contains("--keep-going"), "{}", ran.errors);
    let ran = bench.run("dump --keep-going");
    assert_eq!((offsets(&ran), ran.outcome), (vec![0, 1, 4, 5, 6, 7], Outcome::Grave));
    assert!(ran.errors.contains("0:2 to before 0:4"), "{}", ran.errors);
    let ran = bench.run("dump --from 4");
    assert_eq!((offsets(&ran), ran.outcome), (vec![4, 5, 6, 7], Outcome::Done));
}

/// Nothing in a record reaches a terminal as a command to it, and a body that is no JSON is not lost.
#[tokio::test]
async fn dump_escapes() {
    let bench = Bench::new();
    let log = bench.open();
    let mut payload = PayloadWriter::new(Action::Save, "evil\u{1b}[2J", 64);
    for (id, body) in [("\u{9b}31m", "{\"\u{202e}\":\n\"\u{7f}\"}"), ("b", "{broken")] {
        let write = |out: &mut Vec<u8>| {
            out.extend_from_slice(body.as_bytes());
            Ok::<_, ()>(())
        };
        payload.record(id, write).unwrap();
    }
    let payload = payload.into_bytes();
    log.append(Append { records: 2, payload, attributes: Attributes::default() }).await.unwrap();
    log.close().await;
    drop(log);
    let ran = bench.run("dump");
    assert!(!ran.out.contains(|char| text::is_unprintable(char) && char != '\n'), "{:?}", ran.out);
    let lines = lines(&ran.out);
    assert_eq!((&lines[0]["index"], &lines[0]["object_id"]), (&"evil\u{1b}[2J".into(), &"\u{9b}31m".into()));
    assert_eq!(
        (&lines[0]["data"]["\u{202e}"], &lines[1]["data_text"]),
        (&"\u{7f}".into(), &"{broken".into())
    );
    let text = bench.run("stats --scan").out;
    assert!(text.contains("evil\\u{1b}[2J"), "{text}");
}

/// No data directory, no log, an agent that runs: each is said, with what to do.
#[tokio::test]
async fn says_why_it_cannot() {
    let bench = Bench::new();
    let error = |bench: &Bench| bench.try_run("verify").unwrap_err().to_string();
    assert!(error(&bench).contains("there is no log here"), "{}", error(&bench));
    assert_eq!(fs::read_dir(bench.dir.path()).unwrap().count(), 0, "nothing is made");
    let log = bench.open();
    assert!(error(&bench).contains("stop it, or look at a copy"), "{}", error(&bench));
    log.close().await;
    drop(log);
    assert_eq!(bench.run("verify").outcome, Outcome::Done);
    let gone = Bench::new();
    fs::remove_dir(gone.dir.path()).unwrap();
    assert!(error(&gone).contains("--data-dir"), "{}", error(&gone));
    fs::create_dir(gone.dir.path()).unwrap();
}

/// The ranges in a destination's dead letters.
fn ranges(bench: &Bench, destination: &str) -> Vec<Range> {
    let view = View::open(&store_path(bench.dir.path(), destination)).unwrap();
    view.ranges(&Filter::default(), Order::OldestFirst).unwrap()
}

/// Rot is shown with what giving it up means; it takes a position and a confirmation, and is recorded in the dead
/// letters of whoever still needed it. Once more, it does nothing.
#[tokio::test]
async fn skip_gives_up_what_is_named_and_confirmed() {
    let (bench, _) = Bench::filled().await;
    assert_eq!(bench.run("skip").out, "nothing is rotten that could be given up\n");
    let (from, to) = (4096 + frame_bytes(0), 4096 + frame_bytes(0) + frame_bytes(1));
    bench.flip(from as u64 + 90);
    let shown = format!(
        "rotten: 00000000000000000000.seg, byte {from} to before {to} ({} B): checksum",
        frame_bytes(1)
    );
    let ran = bench.run("skip");
    assert!(ran.outcome == Outcome::Grave && ran.out.starts_with(&shown), "{ran:?}");
    assert!(
        ran.out.contains("search has not received 2 of them") && ran.out.ends_with("skip 0:2`\n"),
        "{ran:?}"
    );

    for (arguments, typed) in [("skip 0:3", None), ("skip 0:3", Some("no\n")), ("skip 0:3", Some(""))] {
        let ran = bench.answer(arguments, typed).unwrap();
        assert!(ran.outcome == Outcome::Unconfirmed && ran.errors.contains("nothing is given up"), "{ran:?}");
        assert!(ran.out.starts_with(&shown) && ran.out.contains("0:2 to before 0:4: 2 records"), "{ran:?}");
        assert!(!bench.log_dir().join("skipped").exists() && !bench.dir.path().join("dead-letters").exists());
    }
    let ran = bench.answer("skip 0:3", Some("yes\n")).unwrap();
    assert!(ran.outcome == Outcome::Done && ran.out.ends_with("given up; start the agent\n"), "{ran:?}");
    let range = ranges(&bench, "search").remove(0);
    assert_eq!((range.first.offset, range.end.offset, range.records, range.cause), (2, 4, 2, Cause::Rotten));
    assert!(range.message.contains("an operator has given up 0:2 to before 0:4"), "{}", range.message);

    let ran = bench.run("skip 2 --yes");
    assert_eq!((ran.outcome, ran.out.as_str()), (Outcome::Done, "0:2 was given up before; nothing to do\n"));
    assert_eq!((ranges(&bench, "search").len(), bench.run("verify").outcome), (1, Outcome::Harmless));
    let ran = bench.run("dump");
    assert_eq!((offsets(&ran), ran.outcome), (vec![0, 1, 4, 5, 6, 7], Outcome::Done));
    assert!(ran.errors.contains("0:2 to before 0:4 cannot be read"), "{}", ran.errors);
    assert!(bench.run("stats").out.contains("2 records were given up with `log skip`"));
}

/// A crash after the dead letters and before the log's own record: doing it again ends in the same state.
#[tokio::test]
async fn skip_again_after_a_crash() {
    let (bench, _) = Bench::filled().await;
    bench.flip(4096 + frame_bytes(0) as u64 + 90);
    let in_the_way = bench.log_dir().join("skipped.tmp");
    fs::create_dir(&in_the_way).unwrap();
    bench.try_run("skip 0:2 --yes").unwrap_err();
    assert_eq!(ranges(&bench, "search").len(), 1);
    assert_eq!(bench.run("verify").outcome, Outcome::Grave, "nothing is passed over yet");
    fs::remove_dir(&in_the_way).unwrap();
    assert_eq!(bench.run("skip 0:2 --yes").outcome, Outcome::Done);
    assert_eq!((ranges(&bench, "search").len(), bench.run("verify").outcome), (1, Outcome::Harmless));
}

/// Who has received the records already is not told of them; a destination whose cursor is lost needs them all.
#[tokio::test]
async fn skip_asks_who_needs_it() {
    let (bench, _) = Bench::filled().await;
    bench.flip(4096 + 90);
    let ran = bench.run("skip 0 --yes");
    assert!(ran.out.contains("every destination has them"), "{ran:?}");
    assert!(!bench.dir.path().join("dead-letters").exists());

    let (bench, _) = Bench::filled().await;
    bench.flip(4096 + 90);
    fs::remove_file(bench.log_dir().join("cursors/search.cursor")).unwrap();
    assert_eq!(bench.run("skip 0 --yes").outcome, Outcome::Done);
    assert_eq!(ranges(&bench, "search")[0].records, 2);
}

/// What is sound, torn or not there is not given up, and it says which.
#[tokio::test]
async fn skip_refuses_what_is_not_rotten() {
    let (bench, _) = Bench::filled().await;
    let refused = |arguments: &str| {
        let ran = bench.run(arguments);
        assert_eq!(ran.outcome, Outcome::CannotSkip, "{arguments}: {ran:?}");
        ran.errors
    };
    assert!(refused("skip 0:2 --yes").contains("0:2 is sound"));
    assert!(refused("skip 0:8 --yes").contains("the log ends at 0:8"));
    let last = 4096 + frame_bytes(0) * 2 + frame_bytes(1);
    bench.flip(last as u64 + 90);
    assert!(refused("skip 0:6 --yes").contains("torn by a crash"));
    assert!(!bench.log_dir().join("skipped").exists());
    let error = bench.try_run("skip --yes").unwrap_err();
    assert_eq!(error.downcast::<clap::Error>().unwrap().exit_code(), 2);
}

/// `sync-agent log dump | head -1`: the reader's going away is recognised, whatever it interrupts.
#[tokio::test]
async fn a_broken_pipe_is_recognised() {
    let (bench, _) = Bench::filled().await;
    for words in ["verify", "verify --json", "stats", "stats --json", "dump", "skip"] {
        let (reader, mut writer) = io::pipe().unwrap();
        drop(reader);
        let arguments =
            Program::try_parse_from(["log"].into_iter().chain(words.split(' '))).unwrap().arguments;
        let error =
            execute(&arguments, bench.dir.path(), Timestamp(BEGIN), &mut writer, &mut Vec::new(), None);
        assert!(is_broken_pipe(&error.unwrap_err()), "{words}");
    }
}

/// clap's own checks of the commands' definition.
#[test]
fn the_arguments_are_consistent() {
    use clap::CommandFactory as _;
    Program::command().debug_assert();
}
