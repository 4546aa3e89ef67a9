//! Keys go to their destinations and nowhere else: all that a run writes and answers is searched for them.

mod echo;
mod wanted;

use std::{
    fs::{self, File},
    net::SocketAddr,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use fakes::{
    algolia::{self, FakeAlgolia},
    elasticsearch::{self, Auth, FakeElasticsearch},
};
use harness::{
    guests::guest,
    process::{Agent, free_address},
};
use serde_json::Value;
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    time::timeout,
};

use self::{echo::Echo, wanted::Wanted};
use crate::{
    support::{DEADLINE, IMPATIENT, eventually, setup},
    traces::{Collector, sampled, save},
};

const ALGOLIA_KEY: &str = "K3y+of/Alg0lia=a91f";
const ELASTIC_KEY: &str = "K3y+of/Elast1c=b82e";
const PASSWORD: &str = "Passw0rd+of/agent=c73d";
const LITERAL: &str = "L1teral+in/the=d64c";

/// What answered, and what it said.
struct Answers(Vec<(String, Vec<u8>)>);

impl Answers {
    fn command(&mut self, agent: &Agent, arguments: &[&str]) -> (bool, Vec<u8>) {
        let output = tokio::task::block_in_place(|| agent.execute(arguments));
        let told = [output.stdout, output.stderr].concat();
        self.0.push((format!("{arguments:?}"), told.clone()));
        (output.status.success(), told)
    }

    async fn http(&mut self, method: &str, to: (SocketAddr, &str), token: Option<&str>, body: &str) -> u16 {
        let ((address, path), length) = (to, body.len());
        let token = token.map(|token| format!("authorization: Bearer {token}\r\n")).unwrap_or_default();
        let head = format!("{method} {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n");
        let head = format!("{head}content-type: application/json\r\n{token}content-length: {length}\r\n\r\n");
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
        let (mut told, mut part) = (Vec::new(), vec![0; 1 << 16]);
        // A stream has no end: its beginning says what there is.
        while let Ok(Ok(length @ 1..)) = timeout(Duration::from_millis(500), stream.read(&mut part)).await {
            told.extend_from_slice(&part[..length]);
        }
        let status = String::from_utf8_lossy(&told).split(' ').nth(1).and_then(|status| status.parse().ok());
        self.0.push((format!("{method} {path} {body}"), told));
        status.unwrap_or_else(|| panic!("{method} {path} {body}: no answer"))
    }
}

fn edit(agent: &Agent, from: &str, to: &str) {
    let path = agent.directory().join("config.toml");
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains(from), "{from} in {text}");
    fs::write(&path, text.replace(from, to)).unwrap();
}

/// What only a test has: keys, and servers for them.
struct Place {
    keys: TempDir,
    search: FakeAlgolia,
    mirror: FakeElasticsearch,
    echo: Echo,
    collector: Collector,
    otlp: SocketAddr,
}

impl Place {
    async fn new(elsewhere: String) -> Self {
        let keys = TempDir::new().unwrap();
        fs::write(keys.path().join("algolia"), format!("{ALGOLIA_KEY}\n")).unwrap();
        fs::write(keys.path().join("password"), PASSWORD).unwrap();
        let options = algolia::Options {
            app_id: "app".to_owned(),
            api_key: ALGOLIA_KEY.to_owned(),
            ..algolia::Options::default()
        };
        let search = FakeAlgolia::start(options).await.unwrap();
        let auth = Auth::Header(format!("ApiKey {ELASTIC_KEY}"));
        let options = elasticsearch::Options { auth, ..elasticsearch::Options::default() };
        let mirror = FakeElasticsearch::start(options).await.unwrap();
        let (collector, otlp) = Collector::start().await;
        Self { keys, search, mirror, echo: Echo::start(elsewhere).await, collector, otlp }
    }

    /// An agent that logs all it can, with every kind of destination, transforms that log and panic, and an admin API.
    async fn agent(&self, admin: SocketAddr) -> Agent {
        let setup = setup().file("archive");
        let module = setup.directory().join("misbehaves.wasm");
        fs::write(&module, guest("misbehaves")).unwrap();
        let (algolia_key, password) = (self.keys.path().join("algolia"), self.keys.path().join("password"));
        let (search, mirror, echo, otlp) = (self.search.url(), self.mirror.url(), self.echo.url(), self.otlp);
        let algolia = format!(
            "type = \"algolia\"\napp_id = {{ env = \"APP\" }}\napi_key = {{ file = {algolia_key:?} }}\n{IMPATIENT}"
        );
        let config = format!(
            "\n[destinations.search]\n{algolia}hosts = [{search:?}]\n\
             [destinations.search_echo]\n{algolia}hosts = [{echo:?}]\n\
             [destinations.mirror]\ntype = \"elasticsearch\"\n{IMPATIENT}nodes = [{mirror:?}]\n\
             auth = {{ api_key = {{ env = \"ELASTIC_KEY\" }} }}\n\
             [destinations.mirror_echo]\ntype = \"elasticsearch\"\n{IMPATIENT}nodes = [{echo:?}]\n\
             auth = {{ basic = {{ user = \"agent\", password = {{ file = {password:?} }} }} }}\n\
             [telemetry]\notlp = \"http://{otlp}\"\n\
             [[indexes]]\nmatch = \"broken\"\ndestinations = [\"search\"]\ntransform = \"panics\"\n\
             [[indexes]]\nmatch = \"*\"\n\
             destinations = [\"archive\", \"search\", \"search_echo\", \"mirror\", \"mirror_echo\"]\n\
             transform = \"logs\"\n\
             [transforms.logs]\npath = {module:?}\nconfig = {{ behave = \"log\" }}\n\
             [transforms.panics]\npath = {module:?}\nconfig = {{ behave = \"panic\", only = \"untraced\" }}\n"
        );
        let setup = setup
            .config(&config)
            .environment("APP", "app")
            .environment("ELASTIC_KEY", ELASTIC_KEY)
            // Compilers tell megabytes at this level, and know no keys.
            .environment("RUST_LOG", "trace,cranelift_codegen=off,regalloc2=off,wasmtime=off,wasmtime_environ=off,wasmtime_internal_cranelift=off");
        let mut agent = setup.write().unwrap();
        edit(&agent, "[listen]\n", &format!("[listen]\nadmin = \"{admin}\"\n"));
        agent.restart().await.unwrap();
        agent
    }

    /// Sends a record whose destinations all fail so, each with the key in its words.
    async fn fail(&self, agent: &Agent, answers: &mut Answers, status: u16, number: u8) {
        let words = |key: &str| format!("the key {key} may not do that: {key}");
        self.echo.set_status(status);
        let before = self.echo.answered(status);
        self.search.fail_next(
            1,
            match status {
                302 => algolia::Fault::Redirect(self.echo.url()),
                status => algolia::Fault::Refused { status, message: words(ALGOLIA_KEY) },
            },
        );
        let (kind, reason) = ("mapper_parsing_exception".to_owned(), words(ELASTIC_KEY));
        self.mirror.fail_next(1, elasticsearch::Fault::Items { status: 400, kind, reason });
        save(agent, "products", Some(&sampled(number))).await.unwrap();
        let start = Instant::now();
        while self.echo.answered(status) < before + 4
            || self.search.faults_left() + self.mirror.faults_left() > 0
        {
            assert!(start.elapsed() < DEADLINE, "not all have asked: {}", agent.stderr().len());
            for name in ["search_echo", "mirror_echo", "search"] {
                // What is paused would ask only in a minute.
                answers.command(agent, &["destination", "probe", name]);
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        answers.command(agent, &["status", "--json"]);
        answers.command(agent, &["status"]);
    }
}

/// Scenario: an agent at the level TRACE, with keys from the environment and from files for every kind of destination that
/// has any. Destinations answer 400, 401, 403, 500 and 302 and repeat the key in every part of their answer; transforms log
/// and panic; configs with a key in them are refused, in a reload and at a start; every command and every route is asked,
/// rightly and wrongly.
///
/// Protects G10: in all that was written and answered there is no key in any form, and whoever a redirect names hears nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_key_is_in_anything_that_a_run_writes() {
    let elsewhere = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let place = Place::new(format!("http://{}/", elsewhere.local_addr().unwrap())).await;
    let admin = free_address();
    let mut agent = place.agent(admin).await;
    let mut answers = Answers(Vec::new());
    let mut tail = Command::new(env!("CARGO_BIN_EXE_sync-agent"));
    tail.args(["tail", "--json", "--data-dir"]).arg(agent.data_directory()).stdin(Stdio::null());
    tail.stdout(File::create(agent.directory().join("tail")).unwrap());
    tail.stderr(File::create(agent.directory().join("tail-stderr")).unwrap());
    let mut tail = tail.spawn().unwrap();

    save(&agent, "broken", None).await.unwrap();
    for (number, status) in [500, 400, 302, 403, 401].into_iter().enumerate() {
        place.fail(&agent, &mut answers, status, number as u8).await;
    }
    eventually("letters are there", async || {
        let letters = tokio::task::block_in_place(|| agent.dead_letters());
        ["search", "mirror"].iter().all(|name| letters.iter().any(|letter| letter.destination == *name))
    })
    .await;

    every_route(&agent, admin, &mut answers).await;
    every_command(&agent, &mut answers);
    broken_configs(&agent, &mut answers);
    let _ = tail.kill();
    tail.wait().unwrap();
    assert!(agent.terminate(DEADLINE).await.unwrap().success());
    // It serves with the last config that it accepted.
    let of_env = "auth = { api_key = { env = \"ELASTIC_KEY\" } }";
    let literal = format!("auth = {{ api_key = {LITERAL:?} }}");
    edit(&agent, of_env, &literal);
    agent.restart().await.unwrap();
    answers.command(&agent, &["status", "--json"]);
    edit(&agent, &literal, of_env);
    agent.terminate(DEADLINE).await.unwrap();
    for arguments in
        [&["log", "dump"][..], &["log", "stats", "--json", "--scan"], &["log", "verify", "--json"]]
    {
        assert!(answers.command(&agent, arguments).0, "{arguments:?}");
    }
    answers.0.push(("the collector".to_owned(), place.collector.told().into_bytes()));

    let keys =
        [("Algolia's key", ALGOLIA_KEY), ("Elasticsearch's key", ELASTIC_KEY), ("the password", PASSWORD)];
    let wanted = Wanted::new(&[&keys[..], &[("a key in the config", LITERAL)]].concat());
    let (files, mut found) = wanted.find_below(agent.directory());
    for (what, told) in &answers.0 {
        found.extend(wanted.find(told).into_iter().map(|found| format!("{what}: {found}")));
    }
    assert!(found.is_empty(), "found {}: {}", found.len(), found.join("\n\n"));
    let stderr = agent.stderr();
    let traced = stderr.lines().filter(|line| line.contains("TRACE")).count();
    assert!(files > 10 && answers.0.len() > 60 && traced > 100, "{files} files, {traced} lines of TRACE");
    let redirected = timeout(Duration::ZERO, elsewhere.accept()).await;
    assert!(redirected.is_err(), "whom a redirect names was reached: {redirected:?}");
}

async fn every_route(agent: &Agent, admin: SocketAddr, answers: &mut Answers) {
    let token = fs::read_to_string(agent.data_directory().join("admin-token")).unwrap();
    let token = Some(token.trim());
    let commands = [
        "find",
        "tail",
        "reload",
        "drain",
        "destinations/search/pause",
        "destinations/search/resume",
        "destinations/search/probe",
        "destinations/search/forget",
        "destinations/search/reset-cursor",
        "transforms/logs/resume",
        "dead-letters/list",
        "dead-letters/show",
        "dead-letters/replay",
        "dead-letters/drop",
    ];
    let pages = ["", "v1/status", "v1/events", "v1/history", "dashboard/main.js", "no/such/route"];
    for route in pages.iter().chain(&commands) {
        for token in [token, None, Some("wrong")] {
            answers.http("GET", (admin, &format!("/{route}")), token, "").await;
        }
        answers.http("GET", (admin, &format!("/v1/{route}")), token, "").await;
    }
    for route in commands {
        for body in ["", "{}", "{\"nonsense\":[1]}", "{\"destination\":\"search\"}"] {
            let status = answers.http("POST", (admin, &format!("/v1/{route}")), token, body).await;
            assert_ne!(status, 500, "{route} {body}");
        }
    }
    let letter = "{\"destination\":\"mirror\",\"id\":1}";
    assert_eq!(answers.http("POST", (admin, "/v1/dead-letters/show"), token, letter).await, 200);
    for route in ["/metrics", "/livez", "/readyz", "/healthz", "/nothing"] {
        answers.http("GET", (agent.http_address(), route), None, "").await;
    }
}

fn every_command(agent: &Agent, answers: &mut Answers) {
    let commands: [&[&str]; 12] = [
        &["check"],
        &["check", "--json"],
        &["dead-letters", "list"],
        &["dead-letters", "list", "--json"],
        &["dead-letters", "export"],
        &["dead-letters", "stats", "--json"],
        &["dead-letters", "show", "1", "--destination", "mirror"],
        &["dead-letters", "show", "1", "--destination", "search", "--json"],
        &["dead-letters", "replay", "--destination", "mirror", "--json"],
        &["find", "--index", "products", "untraced", "--json"],
        &["destination", "probe", "mirror_echo", "--json"],
        &["reload", "--json"],
    ];
    for arguments in commands {
        let (_, told) = answers.command(agent, arguments);
        assert!(!told.is_empty(), "{arguments:?} says nothing");
    }
}

/// Configs with a key in them, of which each is refused by `check` and by `reload`.
fn broken_configs(agent: &Agent, answers: &mut Answers) {
    let of_env = "auth = { api_key = { env = \"ELASTIC_KEY\" } }";
    for wrong in [
        format!("auth = {{ api_key = {LITERAL:?} }}"),
        format!("auth = {{ api_key = {{ env = {LITERAL:?} }} }}"),
        format!("auth = {LITERAL:?}"),
        format!("auth = {{ token = {LITERAL:?} }}"),
        format!("auth = {{ basic = {{ user = \"agent\", password = {LITERAL:?} }} }}"),
        format!("auth = {{ api_key = {LITERAL}"),
        format!("password = {LITERAL:?}"),
    ] {
        edit(agent, of_env, &wrong);
        for arguments in [&["check"][..], &["check", "--json"], &["reload"], &["reload", "--json"]] {
            let (succeeded, told) = answers.command(agent, arguments);
            assert!(!succeeded, "{arguments:?} with {wrong}: {}", String::from_utf8_lossy(&told));
        }
        let status = answers.command(agent, &["status", "--json"]).1;
        let status: Value = serde_json::from_slice(&status).unwrap();
        assert!(status["config"].to_string().contains("refused"), "{}", status["config"]);
        edit(agent, &wrong, of_env);
    }
    answers.command(agent, &["reload"]);
}
