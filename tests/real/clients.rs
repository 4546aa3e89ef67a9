//! The producers' examples in `proto/README.md`, as they stand there but for the agent's address: each is written into a
//! directory with a copy of the contract, built and run by the very commands beside it.
//!
//! `clients/run` says in CLIENTS which languages the machine has, and in CLIENTS_DIRECTORY where their projects may stay;
//! without it every test says so and passes.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use harness::process::Agent;
use serde_json::{Value, json};
use tokio::{process::Command, time::timeout};
use tonic::Code;

use crate::{
    doorman::{Doorman, Fate},
    launched::setup,
};

/// Where the page says that the agent is.
const ADDRESS: &str = "127.0.0.1:50051";
/// For one run, with what it fetches and compiles: many times what it takes on a busy machine.
pub(crate) const DEADLINE: Duration = Duration::from_secs(600);
/// When the doorman wants to see a refused request again.
const RETRY_AFTER: Duration = Duration::from_millis(1500);

/// An example of the page.
struct Example {
    directory: PathBuf,
    /// By fence: the files that the page names.
    files: &'static [(&'static str, &'static str)],
    section: String,
}

impl Example {
    /// The section of the language, if the machine has what it needs.
    fn of(language: &str, files: &'static [(&'static str, &'static str)]) -> Option<Self> {
        let there = env::var("CLIENTS").unwrap_or_default();
        let word = language.to_lowercase();
        if !there.split_whitespace().any(|it| it == word) {
            eprintln!("skipped: CLIENTS does not name {word} (tests/real/clients/run sets it)");
            return None;
        }
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let page = fs::read_to_string(root.join("proto/README.md")).unwrap();
        let (_, section) = page.split_once(&format!("\n### {language}\n")).unwrap();
        let section = section.split("\n### ").next().unwrap().to_owned();
        let directory = PathBuf::from(env::var("CLIENTS_DIRECTORY").unwrap()).join(word);
        let contract = Path::new("proto/sync/v1/sync.proto");
        let copy = directory.join(contract);
        fs::create_dir_all(copy.parent().unwrap()).unwrap();
        fs::copy(root.join(contract), copy).unwrap();
        Some(Self { directory, files, section })
    }

    /// The section's only block of this fence, for an agent elsewhere.
    fn block(&self, fence: &str, address: &str) -> String {
        let blocks: Vec<&str> = self.section.split(&format!("```{fence}\n")).skip(1).collect();
        let [block] = blocks[..] else { panic!("{} blocks of {fence}", blocks.len()) };
        block.split_once("```").unwrap().0.replace(ADDRESS, address)
    }

    /// Does what the page says. Returns the exit code, and what was printed.
    async fn run(&self, address: &str) -> (i32, String) {
        for (fence, file) in self.files {
            let path = self.directory.join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            let text = self.block(fence, address);
            assert!(*fence == "xml" || text.contains(address), "{file} does not name {ADDRESS}");
            fs::write(path, text).unwrap();
        }
        let mut shell = Command::new("bash");
        shell.args(["-euc", &self.block("sh", address)]).current_dir(&self.directory);
        let run = shell.stdin(Stdio::null()).kill_on_drop(true).output();
        let output = timeout(DEADLINE, run).await.expect("it ends in time").unwrap();
        let printed = [&output.stdout[..], &output.stderr].map(String::from_utf8_lossy).concat();
        (output.status.code().unwrap(), printed)
    }
}

/// What the example's three requests become, in order.
fn expected() -> Value {
    let lamp = json!({ "name": "Desk lamp", "price": 49.9, "stock": 12, "ean": "9007199254740993" });
    json!([["save", "42", lamp], ["partial_update", "42", { "price": 39.9 }], ["delete", "41", null]])
}

/// Waits until three operations of an index are at the destination `archive`, and returns all that are.
pub(crate) async fn arrived(agent: &Agent, index: &str) -> Value {
    let path = agent.output("archive").join(format!("{index}.ndjson"));
    let arrived = async {
        loop {
            let journal = fs::read_to_string(&path).unwrap_or_default();
            if journal.matches('\n').count() >= 3 {
                return journal;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let journal = timeout(DEADLINE, arrived).await.expect("three operations arrive");
    let operation = |line: &str| {
        let line: Value = serde_json::from_str(line).unwrap();
        json!([line["action"], line["object_id"], line["data"]])
    };
    journal.lines().map(operation).collect()
}

/// Scenario: the first call of each request fails: it is refused with a RetryInfo, its answer is lost, it is too late.
/// Then a request is refused without a RetryInfo.
///
/// Protects what the page promises: each is sent again with its own key, not before the RetryInfo has passed, with a
/// deadline and on the same connection, and arrives once and in order; what must not be sent again is not.
async fn keeps_to_the_table(language: &str, files: &'static [(&'static str, &'static str)]) {
    let Some(example) = Example::of(language, files) else { return };
    let agent = setup().file("archive").start().await.unwrap();
    let full = Fate::Refused(Code::ResourceExhausted, Some(RETRY_AFTER));
    let late = Fate::Refused(Code::DeadlineExceeded, None);
    let fates = [full, Fate::Through, Fate::AnswerLost, Fate::Through, late, Fate::Through];
    let doorman = Doorman::before(agent.address(), &fates).await;
    let (code, printed) = example.run(&doorman.address.to_string()).await;
    assert_eq!(code, 0, "{printed}");
    assert_eq!(arrived(&agent, "products").await, expected());
    let calls = doorman.calls();
    assert_eq!(calls.len(), fates.len(), "{calls:#?}");
    for pair in calls.chunks(2) {
        assert_eq!(pair[0].key, pair[1].key);
    }
    assert!(!calls[0].key.is_empty() && calls[0].key != calls[2].key && calls[2].key != calls[4].key);
    assert!(calls[1].at - calls[0].at >= RETRY_AFTER, "{:?}", calls[1].at - calls[0].at);
    assert!(calls.iter().all(|call| call.timeout.is_some() && call.from == calls[0].from), "{calls:#?}");

    let too_large = Fate::Refused(Code::ResourceExhausted, None);
    let doorman = Doorman::before(agent.address(), &[too_large]).await;
    let (code, printed) = example.run(&doorman.address.to_string()).await;
    assert!(code != 0 && doorman.calls().len() == 1, "{code}: {:#?}\n{printed}", doorman.calls());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn go() {
    keeps_to_the_table("Go", &[("go", "main.go")]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn java() {
    keeps_to_the_table("Java", &[("java", "src/main/java/Producer.java"), ("xml", "pom.xml")]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn python() {
    keeps_to_the_table("Python", &[("python", "producer.py")]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn node() {
    keeps_to_the_table("Node", &[("js", "producer.js")]).await;
}

/// Scenario: the calls by `grpcurl`, which asks the agent itself for the contract; then at an agent that drains.
///
/// Protects what the page promises: they arrive, the exit code is 64 and the status, and the RetryInfo can be read.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn grpcurl() {
    let Some(example) = Example::of("grpcurl", &[]) else { return };
    let agent = setup().file("archive").start().await.unwrap();
    let (code, printed) = example.run(&agent.address().to_string()).await;
    assert_eq!(code, 0, "{printed}");
    assert_eq!(arrived(&agent, "products").await, expected());

    let drains = setup().file("archive").start().await.unwrap();
    assert!(drains.execute(&["drain"]).status.success());
    let (code, printed) = example.run(&drains.address().to_string()).await;
    assert_eq!(code, 64 + Code::Unavailable as i32, "{printed}");
    assert!(printed.contains("\"retryDelay\": \"30s\""), "{printed}");
}
