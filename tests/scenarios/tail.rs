//! An operator looks at records while they pass: `sync-agent tail` beside a running agent.

use std::{
    cell::Cell,
    fs::{self, File},
    io::Write as _,
    os::unix::process::ExitStatusExt as _,
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
    time::Instant,
};

use fakes::elasticsearch::Poison;
use harness::{
    guests::example,
    load::options::{Options, Until},
    ndjson::Journal,
    process::Agent,
};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::support::{DEADLINE, accepted, eventually, fake_elasticsearch, file, settled, setup};

/// A tail as a process, whose output goes to files.
struct Tail {
    child: Child,
    path: PathBuf,
}

impl Tail {
    /// Returns once it watches, or has ended.
    async fn start(agent: &Agent, arguments: &[&str]) -> Self {
        thread_local!(static STARTED: Cell<u32> = const { Cell::new(0) });
        let number = STARTED.replace(STARTED.get() + 1);
        let path = agent.directory().join(format!("tail-{number}-{}", arguments.join("_").replace('*', "")));
        let mut command = Command::new(env!("CARGO_BIN_EXE_sync-agent"));
        command.arg("tail").args(arguments).arg("--data-dir").arg(agent.data_directory());
        command.stdin(Stdio::null()).stdout(File::create(&path).unwrap());
        command.stderr(File::create(path.with_extension("stderr")).unwrap());
        let mut tail = Self { child: command.spawn().unwrap(), path };
        eventually("it watches", || {
            std::future::ready(tail.errors().contains("watching") || tail.child.try_wait().unwrap().is_some())
        })
        .await;
        tail
    }

    fn text(&self) -> String {
        fs::read_to_string(&self.path).unwrap()
    }

    fn errors(&self) -> String {
        fs::read_to_string(self.path.with_extension("stderr")).unwrap()
    }

    fn events(&self) -> Vec<Value> {
        let text = self.text();
        // The last line may be in the making.
        let whole = text.rfind('\n').map_or(0, |end| end + 1);
        text[..whole].lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// What happened to an object, each as its destination and the event, sorted.
    fn of(&self, object: &str) -> Vec<(String, String)> {
        let word = |value: &Value| value.as_str().unwrap_or("-").to_owned();
        let events = self.events().into_iter().filter(|event| event["record"]["object_id"] == object);
        let mut of: Vec<_> =
            events.map(|event| (word(&event["destination"]), word(&event["event"]))).collect();
        of.sort_unstable();
        of
    }

    fn find(&self, object: &str, destination: &str) -> Value {
        let is_it =
            |event: &Value| event["record"]["object_id"] == object && event["destination"] == destination;
        self.events().into_iter().find(is_it).unwrap()
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    async fn ended(&mut self) -> ExitStatus {
        let mut status = None;
        eventually("it ends", || {
            status = self.child.try_wait().unwrap();
            std::future::ready(status.is_some())
        })
        .await;
        status.unwrap()
    }

    fn sum(&self, key: &str) -> u64 {
        self.events().iter().filter_map(|event| event[key].as_u64()).sum()
    }

    fn count(&self, event: &str) -> usize {
        self.events().iter().filter(|seen| seen["event"] == event).count()
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn send(agent: &Agent, index: &str, lines: &[Value]) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sync-agent"));
    command.args(["send", "--index", index, "--target", &agent.address().to_string(), "-"]);
    let mut sending =
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    sending.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    assert!(sending.wait().unwrap().success());
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected.iter().map(|(destination, event)| ((*destination).to_owned(), (*event).to_owned())).collect()
}

/// Scenario: records are accepted, changed and refused by a transform, delivered, rejected, and sent again; three look:
/// at everything, at one index and destination, and on a terminal.
///
/// Protects G10: whatever a record or a destination says, no control character of it is printed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_happens_to_records_is_seen() {
    let mirror = fake_elasticsearch().await;
    mirror.poison_text(
        "poisonous",
        Poison::Item {
            status: 400,
            kind: "mapper_parsing_exception".to_owned(),
            reason: "failed to parse \u{1b}[2J\u{202e}".to_owned(),
        },
    );
    let setup = setup().file("archive").elasticsearch("mirror", &mirror.url());
    let module = setup.directory().join("publish.wasm");
    fs::write(&module, example("publish")).unwrap();
    let config = format!(
        "[[indexes]]\nmatch = \"products\"\ndestinations = [\"archive\", \"mirror\"]\ntransform = \"publish\"\n\
         [transforms.publish]\npath = {module:?}\n"
    );
    let agent = setup.config(&config).start().await.unwrap();
    let all = Tail::start(&agent, &["--json"]).await;
    let users = Tail::start(&agent, &["--json", "--index", "user*", "--destination", "mirror"]).await;
    let words = Tail::start(&agent, &[]).await;

    send(
        &agent,
        "products",
        &[
            json!({"objectID": "lamp", "name": "Lamp", "published": true}),
            json!({"objectID": "desk", "name": "Desk", "published": false}),
            json!({"objectID": "chair", "name": "Chair"}),
        ],
    );
    send(
        &agent,
        "users",
        &[
            json!({"objectID": "ann", "name": "Ann"}),
            json!({"objectID": "bob", "name": "poisonous"}),
            json!({"objectID": "eve\u{1b}[31m\u{9b}", "\u{202e}name\u{1b}]0;x\u{7}": "\u{1b}[2J\u{2066}"}),
            json!({"objectID": "long", "text": "x".repeat(20_000)}),
        ],
    );
    let (archive, mirrored) = (("archive", "delivered"), ("mirror", "delivered"));
    let accepted = ("-", "accepted");
    let failed = [accepted, ("archive", "dead_lettered"), ("mirror", "dead_lettered")];
    for (object, expected) in [
        ("lamp", &[accepted, archive, mirrored]),
        ("desk", &[accepted, archive, mirrored]),
        ("chair", &failed),
        ("ann", &[accepted, archive, mirrored]),
        ("bob", &[accepted, archive, ("mirror", "dead_lettered")]),
        ("eve\u{1b}[31m\u{9b}", &[accepted, archive, mirrored]),
        ("long", &[accepted, archive, mirrored]),
    ] {
        let expected = pairs(expected);
        eventually(&format!("{expected:?} of {object}"), || std::future::ready(all.of(object) == expected))
            .await;
    }
    // Before and after the transform, of what was accepted and of what it made.
    let lamp = all.find("lamp", "mirror");
    assert_eq!(lamp["record"]["data"], json!({"name": "Lamp", "published": true}), "{lamp}");
    assert_eq!(lamp["operation"]["data"], json!({"name": "Lamp"}), "{lamp}");
    assert!(lamp["milliseconds"].is_u64() && lamp["position"]["offset"].is_u64(), "{lamp}");
    let desk = all.find("desk", "archive");
    assert_eq!((&desk["record"]["action"], &desk["operation"]["action"]), (&json!("save"), &json!("delete")));
    let ann = all.find("ann", "mirror");
    assert_eq!((&ann["operation"], &ann["record"]["index"]), (&Value::Null, &json!("users")), "{ann}");
    assert!(all.find("chair", "mirror")["reason"].as_str().unwrap().starts_with("transform_failed"));
    let bob = all.find("bob", "mirror");
    assert!(bob["reason"].as_str().unwrap().contains("failed to parse"), "{bob}");
    let long = all.find("long", "mirror");
    assert_eq!((&long["record"]["data"], &long["record"]["data_bytes"]), (&Value::Null, &json!(20_011)));
    assert!(long["record"]["data_start"].as_str().unwrap().starts_with("{\"text\":\"xxx"), "{long}");

    eventually("the others see theirs", || {
        std::future::ready(users.of("long").len() == 2 && words.text().matches(" long ").count() == 3)
    })
    .await;
    assert_eq!(users.of("ann"), pairs(&[accepted, mirrored]));
    assert_eq!(users.of("bob"), pairs(&[accepted, ("mirror", "dead_lettered")]));
    assert_eq!((users.of("lamp"), users.of("desk")), (vec![], vec![]));
    let text = words.text();
    for line in [
        "products lamp save to mirror in ",
        "\n      - published: true\n",
        "products desk save to archive in ",
        " becomes\n    delete desk\n",
        "dead-lettered  products chair save at mirror after ",
        "dead-lettered  users bob save at mirror after ",
        "failed to parse \\u{1b}[2J\\u{202e}",
        "users eve\\u{1b}[31m\\u{9b} save to archive in ",
        "\n      {\"\\u202ename\\u001b]0;x\\u0007\":\"\\u001b[2J\\u2066\"}\n",
    ] {
        assert!(text.contains(line), "{line:?} is missing in\n{text}");
    }
    for text in [all.text(), users.text(), text] {
        let bad = |char: char| {
            (char.is_control() && char != '\n')
                || matches!(char, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
        };
        assert!(!text.contains(bad), "{text:?}");
    }

    // What is sent again is seen again.
    let output = agent.execute(&["destination", "reset-cursor", "mirror", "--from", "oldest"]);
    assert!(output.status.success(), "{output:?}");
    let again = pairs(&[accepted, archive, mirrored, mirrored]);
    eventually("it is", || std::future::ready(all.of("ann") == again)).await;
}

/// Scenario: 50,000 records go through as fast as they can, while one looks at a few of them, one does not read at all,
/// and one has stopped in the middle.
///
/// Protects G5 and G9: delivery waits for none of them; each is told how much it missed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn delivery_waits_for_nobody_who_looks() {
    const RECORDS: u64 = 50_000;
    const RATE: usize = 5;
    let agent = setup().file("archive").start().await.unwrap();
    let mut journal = Journal::new(agent.output("archive"));
    let few = Tail::start(&agent, &["--json", "--rate", "5"]).await;
    let stopped = Tail::start(&agent, &["--json", "--rate", "1000"]).await;
    stopped.signal(Signal::STOP);
    let started = Instant::now();
    let load =
        Options { connections: 2, in_flight: 2, request_records: 50, recorded: true, ..Options::default() };
    let report = accepted(&agent, Options { until: Until::Records(RECORDS), ..load }).await;
    settled(&report.history, || file(&mut journal)).await;
    let seconds = started.elapsed().as_secs() as usize + 2;

    stopped.signal(Signal::CONT);
    for tail in [&few, &stopped] {
        let all = || {
            let told = (tail.count("accepted") + tail.count("delivered")) as u64;
            told + tail.sum("over_rate") + tail.sum("too_slow")
        };
        eventually("everything is shown or counted", || std::future::ready(all() >= 2 * RECORDS)).await;
        assert_eq!(all(), 2 * RECORDS, "each is shown or counted, once");
    }
    for kind in ["accepted", "delivered"] {
        let shown = few.count(kind);
        assert!((RATE..=RATE * seconds).contains(&shown), "{shown} {kind} in {seconds} s");
    }
    assert_eq!(few.sum("too_slow"), 0);
    assert!(stopped.sum("too_slow") > 0, "it read everything: the test tells nothing");
}

/// Scenario: too many look, one looks at what is not there, one is ended by a signal, and the agent restarts.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tail_ends_with_words() {
    let mut agent = setup().file("archive").start().await.unwrap();
    let mut looking = Vec::new();
    for _ in 0..4 {
        looking.push(Tail::start(&agent, &["--json"]).await);
    }
    let mut more = Tail::start(&agent, &[]).await;
    assert_eq!(more.ended().await.code(), Some(1));
    assert_eq!(
        more.errors(),
        "sync-agent: 4 tails run already, which is the most at once; end one of them first\n"
    );
    let mut interrupted = looking.pop().unwrap();
    // Not Ctrl-C's: whoever runs the tests in the background ignores that one, and so does all that they start.
    interrupted.signal(Signal::TERM);
    assert_eq!(interrupted.ended().await.signal(), Some(15), "as any command that a signal ends");

    let mut other = Tail::start(&agent, &["--destination", "nobody"]).await;
    assert_eq!(other.ended().await.code(), Some(1));
    assert_eq!(other.errors(), "sync-agent: there is no destination \"nobody\"; choose one of: archive\n");
    // The agent may not have noticed yet that one is gone.
    let deadline = Instant::now() + DEADLINE;
    let mut last = Tail::start(&agent, &[]).await;
    while last.child.try_wait().unwrap().is_some() && Instant::now() < deadline {
        last = Tail::start(&agent, &[]).await;
    }
    send(&agent, "products", &[json!({"objectID": "lamp"})]);
    eventually("it sees", || std::future::ready(last.text().contains("lamp"))).await;

    agent.restart().await.unwrap();
    for mut tail in looking.into_iter().chain([last]) {
        assert_eq!(tail.ended().await.code(), Some(1));
        assert!(tail.errors().contains("went away"), "{}", tail.errors());
    }
    let tail = Tail::start(&agent, &["--json"]).await;
    send(&agent, "products", &[json!({"objectID": "desk"})]);
    eventually("the next one sees again", || std::future::ready(tail.of("desk").len() == 2)).await;
    drop(tail);

    agent.terminate(DEADLINE).await.unwrap();
    let mut none = Tail::start(&agent, &[]).await;
    assert_eq!(none.ended().await.code(), Some(1));
    assert!(none.errors().contains("no agent runs on"), "{}", none.errors());
}
