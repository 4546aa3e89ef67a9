//! Where the demo plays: its directory with a real config, the fake Algolia and the fake Elasticsearch, and an agent that
//! runs on that config.
//!
//! The directory is removed and made anew, but only if a demo made it and none uses it: a demo marks it by the first
//! line of its `agent.toml`, and locks that file as long as it runs.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io::{self, Read, Write},
    net::SocketAddr,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, bail};
use fakes::{
    algolia::{self, FakeAlgolia},
    elasticsearch::{self, FakeElasticsearch},
};

use super::plan::{INDEX, REDACTED};
use crate::{
    agent::{Agent, Start},
    cli::guests,
    config::{self, Environment},
    delivery::Snapshot,
    log::interface::LogStatus,
};

/// The destinations' names, as the config has them.
pub(super) const FILES: &str = "files";
/// See [`FILES`].
pub(super) const ALGOLIA: &str = "algolia";
/// See [`FILES`].
pub(super) const ELASTIC: &str = "elastic";
/// The one that is added at the end.
pub(super) const COPY: &str = "copy";

const MARK: &str = "# Made by `sync-agent demo`, which removes this directory and makes it anew each time.\n";
const CONFIG: &str = "agent.toml";
const MODULE: &str = "redact.wasm";
const APP_ID: &str = "algolia-app-id";
const API_KEY: &str = "algolia-api-key";
/// How long requests to destinations may take to end.
const GRACE: Duration = Duration::from_secs(3);

/// See the module's text.
pub(super) struct Stage {
    pub(super) dir: PathBuf,
    pub(super) agent: Agent,
    pub(super) algolia: FakeAlgolia,
    pub(super) elasticsearch: FakeElasticsearch,
    /// Keeps other demos away from the directory.
    _lock: File,
}

/// The demo's agent is configured by its file alone: what is set for another agent must not redirect this one.
struct FileOnly;

impl Environment for FileOnly {
    fn variable(&self, _: &str) -> Option<String> {
        None
    }

    fn secret_file(&self, path: &Path) -> io::Result<String> {
        fs::read_to_string(path)
    }

    fn working_directory(&self) -> PathBuf {
        config::ProcessEnvironment.working_directory()
    }
}

impl Stage {
    /// Makes the directory and starts the fakes and the agent.
    pub(super) async fn start(dir: &Path, listen: SocketAddr) -> anyhow::Result<Self> {
        let path = dir
            .to_str()
            .with_context(|| format!("{} is not UTF-8, so no config can name it", dir.display()))?;
        let mut config_file = make_anew(dir)?;
        let detail = algolia::Detail::Attribute("price".to_owned());
        let fake = algolia::Options { detail, ..algolia::Options::default() };
        let (app_id, api_key) = (fake.app_id.clone(), fake.api_key.clone());
        let algolia = FakeAlgolia::start(fake).await.context("the fake Algolia cannot start")?;
        let detail = elasticsearch::Detail::Attribute("price".to_owned());
        let fake = elasticsearch::Options { detail, ..elasticsearch::Options::default() };
        let elasticsearch =
            FakeElasticsearch::start(fake).await.context("the fake Elasticsearch cannot start")?;

        let text = config_text(path, listen, &algolia.url(), &elasticsearch.url());
        for (name, secret) in [(APP_ID, app_id), (API_KEY, api_key)] {
            let path = dir.join(name);
            create(&path)
                .and_then(|mut file| file.write_all(secret.as_bytes()))
                .with_context(|| path.display().to_string())?;
        }
        let module = dir.join(MODULE);
        fs::write(&module, guests::REDACT).with_context(|| module.display().to_string())?;
        let config_path = dir.join(CONFIG);
        config_file.write_all(text.as_bytes()).with_context(|| config_path.display().to_string())?;
        let loaded = match config::load(Some(&config_path), &FileOnly) {
            Ok(loaded) => loaded,
            Err(errors) => bail!("the demo's config is refused:\n{}", errors.render(false)),
        };
        let environment = Arc::new(FileOnly);
        let start = Start { loaded, environment, refused: None, last_accepted_modules: false };
        let agent = Agent::start(start).await.context("the agent cannot start")?;
        Ok(Self { dir: dir.to_owned(), agent, algolia, elasticsearch, _lock: config_file })
    }

    /// A destination's lane as it is now.
    pub(super) fn lane(&self, name: &str) -> Option<Snapshot> {
        self.agent.lanes().into_iter().find(|lane| &*lane.destination == name)
    }

    pub(super) fn log(&self) -> LogStatus {
        self.agent.log_status()
    }

    /// The agent's data directory.
    pub(super) fn data_dir(&self) -> PathBuf {
        self.dir.join("data")
    }

    /// Where the file destination writes.
    pub(super) fn files_dir(&self) -> PathBuf {
        self.dir.join("out")
    }

    /// Where the destination that is added at the end writes.
    pub(super) fn copy_dir(&self) -> PathBuf {
        self.dir.join(COPY)
    }

    /// Edits the config as an operator would, while the agent runs on it: one more destination, filled from the log.
    pub(super) fn add_copy(&self) -> anyhow::Result<()> {
        let path = self.config_path();
        let edit = || {
            let dir = toml::Value::String(self.copy_dir().display().to_string());
            let text = fs::read_to_string(&path)?;
            let text = text.replace(&format!("\"{ELASTIC}\"]"), &format!("\"{ELASTIC}\", \"{COPY}\"]"));
            let added = format!("\n[destinations.{COPY}]\ntype = \"file\"\ndir = {dir}\nfrom = \"oldest\"\n");
            fs::write(&path, text + &added)
        };
        edit().with_context(|| path.display().to_string())
    }

    /// The agent's config file.
    pub(super) fn config_path(&self) -> PathBuf {
        self.dir.join(CONFIG)
    }

    /// Stops the agent, then the fakes.
    pub(super) async fn stop(self) {
        self.agent.stop(GRACE).await;
    }
}

/// The config after its mark, as an operator would write it. Paths are quoted as TOML wants it.
fn config_text(dir: &str, listen: SocketAddr, algolia: &str, elasticsearch: &str) -> String {
    let quoted =
        |name: &str| toml::Value::String(format!("{}/{name}", dir.trim_end_matches('/'))).to_string();
    format!(
        r#"
[listen]
grpc = "{listen}"                  # port 0: any that is free
http = "off"                            # or where /metrics and health are served, such as "127.0.0.1:9600"

[data]
dir = {data}

[destinations.{FILES}]
type = "file"
dir = {out}

[destinations.{ALGOLIA}]
type = "algolia"
app_id = {{ file = {app_id} }}
api_key = {{ file = {api_key} }}
hosts = ["{algolia}"]    # the fake; without this line, Algolia's own

[destinations.{ELASTIC}]
type = "elasticsearch"
nodes = ["{elasticsearch}"]    # the other fake
backoff = {{ min = "100ms", max = "1s" }}  # short, so that you need not wait

[[indexes]]
match = "{INDEX}"
destinations = ["{FILES}", "{ALGOLIA}", "{ELASTIC}"]
transform = "redact"

[transforms.redact]
path = {module}    # a newer module in its place goes live within seconds
config = {{ fields = {REDACTED:?} }}
"#,
        module = quoted(MODULE),
        data = quoted("data"),
        out = quoted("out"),
        app_id = quoted(APP_ID),
        api_key = quoted(API_KEY),
    )
}

/// A directory that holds nothing but its locked config file, and in that the mark.
fn make_anew(dir: &Path) -> anyhow::Result<File> {
    let shown = dir.display();
    match fs::symlink_metadata(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error).with_context(|| shown.to_string()),
        Ok(_) => remove(dir)?,
    }
    DirBuilder::new().recursive(true).mode(0o700).create(dir).with_context(|| shown.to_string())?;
    let path = dir.join(CONFIG);
    let mut file = create(&path).with_context(|| path.display().to_string())?;
    lock(&file, dir)?;
    file.write_all(MARK.as_bytes()).with_context(|| path.display().to_string())?;
    Ok(file)
}

/// Removes what a former demo left; refuses whatever else is there.
fn remove(dir: &Path) -> anyhow::Result<()> {
    let shown = dir.display();
    let stranger = || {
        format!(
            "{shown} was not made by a demo, so it is not removed: choose another directory with --dir, or remove it"
        )
    };
    if !fs::symlink_metadata(dir).is_ok_and(|metadata| metadata.is_dir()) {
        bail!(stranger());
    }
    let mut entries = fs::read_dir(dir).with_context(|| shown.to_string())?.peekable();
    if entries.peek().is_none() {
        return Ok(());
    }
    let Ok(mut config_file) = File::open(dir.join(CONFIG)) else { bail!(stranger()) };
    let mut first_line = vec![0; MARK.len()];
    if config_file.read_exact(&mut first_line).is_err() || first_line != MARK.as_bytes() {
        bail!(stranger());
    }
    lock(&config_file, dir)?;
    // The mark goes last: what is left after a failure is still known as a demo's.
    for entry in entries {
        let path = entry.with_context(|| shown.to_string())?.path();
        if path.file_name().is_some_and(|name| name == CONFIG) {
            continue;
        }
        let removed = if path.is_dir() && !path.is_symlink() {
            fs::remove_dir_all(&path)
        } else {
            fs::remove_file(&path)
        };
        removed.with_context(|| format!("{} cannot be removed", path.display()))?;
    }
    fs::remove_dir_all(dir).with_context(|| format!("{shown} cannot be removed"))
}

fn lock(file: &File, dir: &Path) -> anyhow::Result<()> {
    match file.try_lock() {
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) => {
            bail!(
                "another demo is running in {}: stop it, or choose another directory with --dir",
                dir.display()
            )
        }
        Err(TryLockError::Error(error)) => {
            Err(error).with_context(|| format!("{} cannot be locked", dir.display()))
        }
    }
}

fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}
