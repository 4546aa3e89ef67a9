//! The dashboard in a real browser, at a real agent: what an operator sees of it and does with it, with every sort of text
//! from outside that would like to be markup; and fifty destinations over an hour.
//!
//! `chromium/run` brings the browser and the packages; without it every test says so and passes. The steps are Node
//! scripts beside it, which ask for what they cannot do themselves, a line each: `please cure`, answered `done cure`.

use std::{
    collections::BTreeMap,
    env, fs,
    future::Future,
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use fakes::elasticsearch::{Auth, FakeElasticsearch, Fault, Options, Poison};
use harness::process::{Agent, Setup, free_address};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    process::Command,
    sync::Mutex,
    time::timeout,
};

use crate::launched::setup;

/// How long a script may take: many times what it takes on a busy machine.
const DEADLINE: Duration = Duration::from_secs(300);
/// What becomes a running script wherever it becomes markup.
const MARKUP: &str = "<img src=x onerror=window.__xss=1>";
/// The same as an object's id.
const SCRIPT: &str = "<script>window.__xss=1</script>";

/// One browser at a time is enough for a machine.
static TURN: Mutex<()> = Mutex::const_new(());

/// Where the packages are, if they are.
fn packages() -> Option<PathBuf> {
    let found = env::var_os("CHROMIUM_PACKAGES").filter(|found| !found.is_empty());
    if found.is_none() {
        eprintln!("skipped: CHROMIUM_PACKAGES is not set (tests/real/chromium/run sets it)");
    }
    found.map(PathBuf::from)
}

/// Starts an agent with its admin API on a port as well, and tells its address there.
async fn start(setup: Setup) -> (Agent, String) {
    let mut agent = setup.write().unwrap();
    let address = free_address();
    edit(&agent, "[listen]\n", &format!("[listen]\nadmin = \"{address}\"\n"));
    agent.restart().await.unwrap();
    (agent, format!("http://{address}"))
}

/// Changes the config's file.
fn edit(agent: &Agent, from: &str, to: &str) {
    let path = agent.directory().join("config.toml");
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains(from), "{text}");
    fs::write(path, text.replacen(from, to, 1)).unwrap();
}

/// Sends lines to an index, as a producer would.
fn send(agent: &Agent, index: &str, lines: &[String]) {
    let path = agent.directory().join("lines.ndjson");
    fs::write(&path, lines.join("\n")).unwrap();
    let address = agent.address().to_string();
    let path = path.to_string_lossy().into_owned();
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_sync-agent"));
    let output = command.args(["send", "--target", &address, "--index", index, &path]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
}

async fn eventually(what: &str, mut is: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is() {
        assert!(start.elapsed() < DEADLINE, "in vain: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Runs a script to its end, doing what it asks for.
async fn run<F: Future<Output = ()>>(
    script: &str,
    packages: &Path,
    (agent, url): (&Agent, &str),
    mut please: impl FnMut(String) -> F,
) {
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/real/chromium");
    let target = PathBuf::from(env!("CARGO_BIN_EXE_sync-agent"));
    let pictures = target.ancestors().nth(2).unwrap().join("dashboard");
    let token = fs::read_to_string(agent.data_directory().join("admin-token")).unwrap();
    let mut command = Command::new("node");
    command.arg(here.join(script)).env("CHROMIUM_PACKAGES", packages).env("DASHBOARD_URL", url);
    command.env("DASHBOARD_TOKEN", token.trim()).env("DASHBOARD_PICTURES", pictures);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().unwrap();
    let (mut stdin, stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let mut lines = BufReader::new(stdout).lines();
    let work = async {
        while let Some(line) = lines.next_line().await.unwrap() {
            match line.strip_prefix("please ") {
                Some(what) => {
                    please(what.to_owned()).await;
                    stdin.write_all(format!("done {what}\n").as_bytes()).await.unwrap();
                }
                None => eprintln!("{script}: {line}"),
            }
        }
        child.wait().await.unwrap()
    };
    let status = timeout(DEADLINE, work).await.unwrap_or_else(|_| panic!("{script} does not end"));
    assert!(status.success(), "{script} ended with {status}");
}

async fn elasticsearch() -> FakeElasticsearch {
    let options = Options { auth: Auth::Header("ApiKey key".to_owned()), ..Options::default() };
    FakeElasticsearch::start(options).await.unwrap()
}

/// Scenario: an operator opens the page while one destination is down and another refused three records. He finds what is
/// wrong, pauses and resumes one, looks at the letters, replays them in vain and, once they are taken, for good; the config
/// is broken; the agent falls silent for a while. Names, ids, errors and bodies that would be markup are text all the
/// time, and axe-core finds nothing, in both themes and on a phone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_sees_and_acts() {
    let Some(packages) = packages() else { return };
    let _turn = TURN.lock().await;
    let (search, catalog, mirror) = (elasticsearch().await, elasticsearch().await, elasticsearch().await);
    let refusal = |kind: &str| (kind.to_owned(), format!("{MARKUP} \u{202e}cannot be"));
    let (kind, reason) = refusal("mapper_parsing_exception");
    catalog.poison_text("__xss", Poison::Item { status: 400, kind, reason });
    let (kind, reason) = refusal("cluster_block_exception");
    mirror.fail_all(Fault::Refused { status: 503, kind, reason });
    let patience = "backoff = { min = \"10ms\", max = \"2s\" }\n";
    let setup = setup().file("archive").elasticsearch("catalog", &catalog.url()).config(patience);
    let setup = setup.elasticsearch("mirror", &mirror.url()).config(patience);
    let rule = format!("[[indexes]]\nmatch = {MARKUP:?}\ndestinations = [\"catalog\"]\n");
    let (agent, url) = start(setup.elasticsearch("search", &search.url()).config(&rule)).await;
    let html = format!("</pre>{SCRIPT}{MARKUP}");
    let record = |id: &str, text: &str| {
        let fields = BTreeMap::from([("objectID", id), ("html", text), ("turned", "\u{202e}txt.exe")]);
        serde_json::to_string(&fields).unwrap()
    };
    let good = (0..50).map(|number| record(&number.to_string(), "good"));
    send(&agent, "products", &good.chain([record(SCRIPT, &html), record("2", &html)]).collect::<Vec<_>>());
    send(&agent, MARKUP, &[record("1", "of an index that cannot be")]);
    eventually("all three are dead letters", || agent.dead_letters().len() == 3).await;

    let please = async |what: String| match what.as_str() {
        "cure" => catalog.cure(),
        "break" => {
            let known = "[destinations.archive]\n";
            edit(&agent, known, &format!("{known}\"{MARKUP}\" = true\n"));
        }
        "stop" => agent.stop(),
        "go on" => agent.resume(),
        _ => panic!("{what}"),
    };
    run("operator.mjs", &packages, (&agent, &url), please).await;
}

/// Scenario: fifty destinations, a page that stays open for an hour of updates.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_destinations_over_an_hour() {
    let Some(packages) = packages() else { return };
    let _turn = TURN.lock().await;
    let setup = (0..50).fold(setup(), |setup, number| setup.file(&format!("archive-{number:02}")));
    let (agent, url) = start(setup).await;
    run("fifty.mjs", &packages, (&agent, &url), async |what| panic!("{what}")).await;
}
