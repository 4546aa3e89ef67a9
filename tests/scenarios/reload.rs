//! The config is edited again and again while records pass, in every way in which operators do.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Output,
    time::{Duration, Instant},
};

use fastrand::Rng;
use harness::{
    algolia, elasticsearch,
    guests::stamps,
    journal::Marks,
    load::{
        control::Control,
        options::{Options, Until},
        run::run,
    },
    ndjson::Journal,
    process::Agent,
};

use crate::support::{DEADLINE, fake, fake_elasticsearch, file, lively, settled, setup};

/// Reloads of the scenario, over all its lives.
const RELOADS: usize = 200;
/// The agent is killed after so many.
const RELOADS_BETWEEN_KILLS: usize = 40;

/// The config as it stands, part by part.
#[derive(Clone, Debug)]
struct Config {
    /// What never changes: where the agent listens and keeps its data.
    head: String,
    search: String,
    mirror: String,
    archive: String,
    /// Destinations that come and go, with a directory each.
    extras: BTreeSet<usize>,
    /// Whether records pass the transform.
    transformed: bool,
    linger: [u32; 3],
    operations_max: [u32; 3],
    cpu_ms_max: u32,
    retention_hours: u32,
    indexes_max: u32,
    /// Whether the rule of all indexes stands in the file, or the defaults do.
    rule: bool,
    /// What breaks it.
    broken: Option<&'static str>,
}

/// Each of them makes a config with an error.
const BREAKS: [&str; 5] = [
    "\n[destinations.search2\n",
    "\n[[indexes]]\nmatch = \"other\"\ndestinations = [\"nowhere\"]\n",
    "\n[transforms.gone]\npath = \"/nowhere/gone.wasm\"\n",
    "\n[destinations.odd]\ntype = \"file\"\n",
    "\n[limits]\nunknown = 1\n",
];

impl Config {
    fn text(&self, directory: &Path) -> String {
        let keys = |at: usize| {
            format!(
                "batch = {{ operations_max = {}, linger = \"{}ms\" }}\nbackoff = {{ min = \"10ms\", max = \"200ms\" }}\ntimeout = \"5s\"\n",
                self.operations_max[at], self.linger[at]
            )
        };
        let mut text = format!(
            "{}retention = {{ age = \"{}h\" }}\n[defaults]\ndestinations = {}\n{}{}{}{}{}{}",
            self.head,
            self.retention_hours,
            self.names(),
            self.search,
            keys(0),
            self.mirror,
            keys(1),
            self.archive,
            keys(2),
        );
        for extra in &self.extras {
            let dir = directory.join(format!("extra{extra}"));
            text.push_str(&format!("[destinations.extra{extra}]\ntype = \"file\"\ndir = {dir:?}\n"));
        }
        if self.broken != Some(BREAKS[4]) {
            text.push_str(&format!("[limits]\nindexes_max = {}\n", self.indexes_max));
        }
        if self.rule || self.transformed {
            let transform = if self.transformed { "transform = \"stamps\"\n" } else { "" };
            text.push_str(&format!(
                "[[indexes]]\nmatch = \"products*\"\ndestinations = {}\n{transform}",
                self.names()
            ));
        }
        let module = directory.join("stamps.wasm");
        text.push_str(&format!("[transforms.stamps]\npath = {module:?}\ncpu_ms_max = {}\n", self.cpu_ms_max));
        text.push_str(self.broken.unwrap_or_default());
        text
    }

    fn names(&self) -> String {
        let extras = self.extras.iter().map(|extra| format!("extra{extra}"));
        let names: Vec<String> =
            ["search", "mirror", "archive"].map(str::to_owned).into_iter().chain(extras).collect();
        format!("{names:?}")
    }

    /// Changes one thing.
    fn change(&mut self, rng: &mut Rng) {
        let broken = self.broken.take();
        match rng.usize(..10) {
            0 | 1 => {
                let extra = rng.usize(..3);
                if !self.extras.remove(&extra) {
                    self.extras.insert(extra);
                }
            }
            2 => self.transformed = !self.transformed,
            3 => self.rule = !self.rule,
            4 => self.cpu_ms_max = rng.u32(100..1_000),
            5 => self.retention_hours = rng.u32(1..48),
            6 => self.indexes_max = rng.u32(10..2_000),
            7 if broken.is_none() => self.broken = Some(BREAKS[rng.usize(..BREAKS.len())]),
            8 => self.linger[rng.usize(..3)] = rng.u32(0..100),
            _ => self.operations_max[rng.usize(..3)] = rng.u32(5..1_000),
        }
    }
}

/// Replaces the file as editors do, as copies do, or as Kubernetes does.
fn write(path: &Path, text: &str, rng: &mut Rng) {
    match rng.usize(..3) {
        0 => fs::write(path, text).unwrap(),
        1 => {
            let new = path.with_extension("new");
            fs::write(&new, text).unwrap();
            fs::rename(new, path).unwrap();
        }
        _ => {
            let release = path.with_file_name(format!("..{}", rng.u64(..)));
            fs::create_dir(&release).unwrap();
            fs::write(release.join("config.toml"), text).unwrap();
            let link = path.with_extension("link");
            std::os::unix::fs::symlink(release.join("config.toml"), &link).unwrap();
            fs::rename(link, path).unwrap();
        }
    }
}

async fn execute(agent: &Agent, arguments: &[&str]) -> Output {
    tokio::task::block_in_place(|| agent.execute(arguments))
}

/// Scenario: under load the config is changed 200 times at random: destinations are added, removed and changed, rules and
/// transforms too, the file is broken and repaired, its module is replaced; the agent is killed in between.
///
/// Protects G7 with G3 and G4: nothing is lost, repeated out of order or stalled; a broken config changes nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_reloads_under_load() {
    let seed = std::env::var("RELOAD_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(7);
    println!("RELOAD_SEED={seed}");
    let mut rng = Rng::with_seed(seed);
    let (search, mirror) = (fake().await, fake_elasticsearch().await);
    let setup =
        setup().file("archive").algolia("search", &search.url()).elasticsearch("mirror", &mirror.url());
    let directory = setup.directory().to_owned();
    fs::write(directory.join("stamps.wasm"), stamps(0)).unwrap();
    let mut agent = setup.write().unwrap();
    let path = directory.join("config.toml");
    let mut config = config_of(&agent, &search.url(), &mirror.url());
    write(&path, &config.text(&directory), &mut rng);
    agent.restart().await.unwrap();

    let mut journal = Journal::new(agent.output("archive"));
    let (mut search_marks, mut mirror_marks) = (Marks::default(), Marks::default());
    let mut requests = Vec::new();
    let (mut refused, mut accepted, mut longest) = (0, 0, Duration::ZERO);
    let mut options = Options { until: Until::Elapsed(100 * DEADLINE), ..lively() };
    for life in 0..RELOADS / RELOADS_BETWEEN_KILLS {
        options.control = Control::default();
        let control = options.control.clone();
        let load = tokio::spawn(run(agent.address(), options.clone()));
        for number in 0..RELOADS_BETWEEN_KILLS {
            if number % 10 == 9 {
                let module = directory.join("stamps.wasm.new");
                fs::write(&module, stamps((life * RELOADS_BETWEEN_KILLS + number) as u32)).unwrap();
                fs::rename(module, directory.join("stamps.wasm")).unwrap();
            }
            config.change(&mut rng);
            write(&path, &config.text(&directory), &mut rng);
            // The agent follows the file by itself, too: whoever comes first.
            let start = Instant::now();
            let output = execute(&agent, &["reload", "--json"]).await;
            longest = longest.max(start.elapsed());
            let told = String::from_utf8_lossy(&output.stdout).into_owned();
            let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
            if config.broken.is_some() {
                assert!(!output.status.success(), "{config:?} was accepted: {told}");
                refused += 1;
            } else {
                assert!(output.status.success(), "{config:?} was refused: {told}{stderr}");
                accepted += 1;
            }
            // Records go on at every destination that stays.
            let before = control.acknowledged();
            let moves = Instant::now();
            while control.acknowledged() < before + 50 {
                assert!(moves.elapsed() < DEADLINE, "ingest stalls after {config:?}");
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        }
        // The last change meets the kill somewhere on its way: not a wait for something, the moment is what is tried out.
        config.change(&mut rng);
        write(&path, &config.text(&directory), &mut rng);
        tokio::time::sleep(Duration::from_millis(150 + rng.u64(..100))).await;
        agent.kill();
        let report = load.await.unwrap().unwrap();
        options.first_sequence = report.next_sequence;
        requests.extend(report.history);
        journal.restarted().unwrap();
        search.set_hosts(fakes::algolia::HostState::Refusing).await.unwrap();
        mirror.set_hosts(fakes::elasticsearch::HostState::Refusing).await.unwrap();
        search_marks.restarts.push(search.journal().len());
        mirror_marks.restarts.push(mirror.journal().len());
        search.set_hosts(fakes::algolia::HostState::Serving).await.unwrap();
        mirror.set_hosts(fakes::elasticsearch::HostState::Serving).await.unwrap();
        // A broken file serves with the config before it.
        agent.restart().await.unwrap();
    }
    println!("{accepted} accepted, {refused} refused, the longest took {longest:?}");
    assert!(refused > 5, "the seed breaks too little");
    settled(&requests, || algolia::destination(&search.journal(), &search_marks)).await;
    settled(&requests, || elasticsearch::destination(&mirror.journal(), &mirror_marks)).await;
    settled(&requests, || file(&mut journal)).await;
    assert_eq!(agent.dead_letters(), []);
    assert_eq!(search.violations(), Vec::<String>::new());
    assert_eq!(mirror.violations(), Vec::<String>::new());
}

fn config_of(agent: &Agent, search: &str, mirror: &str) -> Config {
    let (address, http, data) = (agent.address(), agent.http_address(), agent.data_directory());
    let archive: PathBuf = agent.output("archive");
    Config {
        head: format!("[listen]\ngrpc = \"{address}\"\nhttp = \"{http}\"\n[data]\ndir = {data:?}\n"),
        search: format!(
            "[destinations.search]\ntype = \"algolia\"\napp_id = {{ env = \"HARNESS_APP_ID\" }}\napi_key = {{ env = \"HARNESS_API_KEY\" }}\nhosts = [{search:?}]\n"
        ),
        mirror: format!(
            "[destinations.mirror]\ntype = \"elasticsearch\"\nauth = {{ api_key = {{ env = \"HARNESS_API_KEY\" }} }}\nnodes = [{mirror:?}]\n"
        ),
        archive: format!("[destinations.archive]\ntype = \"file\"\ndir = {archive:?}\n"),
        extras: BTreeSet::new(),
        transformed: false,
        linger: [5; 3],
        operations_max: [100; 3],
        cpu_ms_max: 250,
        retention_hours: 24,
        indexes_max: 1_000,
        rule: false,
        broken: None,
    }
}

/// Scenario: a config with five errors.
///
/// Protects G7: all five are named with line and key, at once, and nothing is changed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_errors_are_named_at_once() {
    let agent = setup().file("archive").start().await.unwrap();
    let path = agent.directory().join("config.toml");
    let good = fs::read_to_string(&path).unwrap();
    let bad = format!(
        "{good}\nbatch = {{ operations_max = 0 }}\nlinger = 3\n[destinations.odd]\ntype = \"ftp\"\n[[indexes]]\nmatch = \"a\"\n\
         destinations = [\"nowhere\"]\ntransform = \"none\"\n"
    );
    fs::write(&path, &bad).unwrap();
    let output = execute(&agent, &["reload", "--json"]).await;
    assert!(!output.status.success());
    let told =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    for key in [
        "destinations.archive.batch.operations_max",
        "destinations.archive.linger",
        "destinations.odd.type",
        "indexes[0].destinations[0]",
        "indexes[0].transform",
    ] {
        assert!(told.contains(key), "{key} is not named in {told}");
    }
    assert!(told.matches("\"line\"").count() >= 5, "{told}");
    let status = execute(&agent, &["status", "--json"]).await;
    let status: serde_json::Value = serde_json::from_slice(&status.stdout).unwrap();
    assert_eq!(status["config"]["generation"], 1, "{status}");
    assert_eq!(status["config"]["refused"]["config"]["errors"].as_array().map(Vec::len), Some(5), "{status}");
    let report = crate::support::accepted(&agent, Options { until: Until::Records(50), ..lively() }).await;
    let mut journal = Journal::new(agent.output("archive"));
    settled(&report.history, || file(&mut journal)).await;
}

/// Scenario: the config is broken, and the agent is killed and started on it; then with `--strict`; then it is repaired.
///
/// Protects G7: it serves with the last config that it accepted and says so; `--strict` exits instead.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_on_a_broken_config_serves_with_the_last_one() {
    let mut agent = setup().file("archive").start().await.unwrap();
    let path = agent.directory().join("config.toml");
    let good = fs::read_to_string(&path).unwrap();
    fs::write(&path, format!("{good}\n[broken\n")).unwrap();
    agent.restart().await.unwrap();
    assert!(agent.stderr().contains("serves with the last one that it had accepted"), "{}", agent.stderr());
    let report = crate::support::accepted(&agent, Options { until: Until::Records(50), ..lively() }).await;
    let mut journal = Journal::new(agent.output("archive"));
    settled(&report.history, || file(&mut journal)).await;

    agent.kill();
    let strict = execute(&agent, &["run", "--strict"]).await;
    assert_eq!(strict.status.code(), Some(2), "{}", String::from_utf8_lossy(&strict.stderr));

    agent.restart().await.unwrap();
    fs::write(&path, &good).unwrap();
    crate::support::eventually("the repaired config serves", || async {
        let status = execute(&agent, &["status", "--json"]).await;
        let status: serde_json::Value = serde_json::from_slice(&status.stdout).unwrap();
        status["config"]["serving_last_accepted"] == false
    })
    .await;
}

/// Scenario: a key's file holds a wrong key, then the right one; then a config names a wrong one; then a destination is to
/// begin where the log has nothing.
///
/// Protects G10 and G7: secrets are picked up anew as their files change, and a destination that refuses everything goes on
/// at once; a change that its destination refuses is refused, and so is one that cannot begin.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn secrets_and_beginnings_are_checked() {
    let search = fake().await;
    let setup = setup().file("archive");
    let (key, app) = (setup.directory().join("key"), setup.directory().join("app"));
    fs::write(&app, "app").unwrap();
    fs::write(&key, "not-the-key").unwrap();
    let destination = |key: &Path| {
        format!(
            "[destinations.search]\ntype = \"algolia\"\napp_id = {{ file = {app:?} }}\napi_key = {{ file = {key:?} }}\nhosts = [{:?}]\n",
            search.url()
        )
    };
    let rule = "[[indexes]]\nmatch = \"*\"\ndestinations = [\"archive\", \"search\"]\n";
    let agent = setup.config(&format!("{}{rule}", destination(&key))).start().await.unwrap();
    let report = crate::support::accepted(&agent, Options { until: Until::Records(100), ..lively() }).await;
    let state = async |name: &str| {
        let status = execute(&agent, &["status", "--json"]).await;
        let status: serde_json::Value = serde_json::from_slice(&status.stdout).unwrap();
        let all = status["destinations"].as_array().unwrap();
        all.iter().find(|destination| destination["name"] == name).unwrap()["state"].clone()
    };
    crate::support::eventually("the wrong key pauses it", async || state("search").await == "paused").await;
    fs::write(&key, "key").unwrap();
    settled(&report.history, || algolia::destination(&search.journal(), &Marks::default())).await;

    let path = agent.directory().join("config.toml");
    let good = fs::read_to_string(&path).unwrap();
    let wrong = agent.directory().join("wrong");
    fs::write(&wrong, "another").unwrap();
    let refused = async |text: String, words: &str| {
        fs::write(&path, text).unwrap();
        let output = execute(&agent, &["reload"]).await;
        let told = [&output.stdout[..], &output.stderr[..]].map(String::from_utf8_lossy).concat();
        assert!(!output.status.success() && told.contains(words), "{words}: {told}");
        assert!(!told.contains("another") && !told.contains("not-the-key"), "a secret is shown: {told}");
    };
    refused(good.replace(&format!("{key:?}"), &format!("{wrong:?}")), "refuses the agent").await;
    let late = agent.directory().join("late");
    let from = format!(
        "{good}[destinations.late]\ntype = \"file\"\ndir = {late:?}\nfrom = \"2001-01-01T00:00:00Z\"\n"
    );
    refused(from, "lies before the log's start").await;
    refused(good.replace("[defaults]", "[limits]\nreceive_timeout = \"3s\"\n[defaults]"), "restart").await;
    fs::write(&path, &good).unwrap();
    assert!(execute(&agent, &["reload"]).await.status.success());
    assert_eq!(state("search").await, "running");
}
