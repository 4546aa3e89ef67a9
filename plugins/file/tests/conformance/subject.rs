//! A directory, and its reader: it drops the lines that come again, as the plugin's documentation asks, and applies
//! the others.

use std::{
    collections::HashSet,
    fs,
    io::{ErrorKind, Write as _},
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    sync::Arc,
};

use async_trait::async_trait;
use plugin_api::{
    destination::Destination,
    operation::Action,
    testing::{Applied, Fault, State, Subject},
};
use plugin_file::{File, Settings};
use serde_json::Value;
use tempfile::TempDir;

/// The files that a full disk concerns.
const FILES: [&str; 2] = ["articles.ndjson", "products.ndjson"];

pub(crate) struct Files {
    root: TempDir,
}

#[async_trait]
impl Subject for Files {
    async fn start() -> Self {
        Self { root: TempDir::new().expect("a directory can be made") }
    }

    fn destination(&self) -> Arc<dyn Destination> {
        // Small enough to rotate now and then.
        Arc::new(File::new(Settings { rotate_bytes: 16 << 10, ..Settings::new(self.dir()) }))
    }

    async fn inject(&self, fault: Fault) -> bool {
        match fault {
            Fault::Down => {
                if self.dir().exists() {
                    fs::rename(self.dir(), self.aside()).expect("it can be moved");
                }
                fs::write(self.dir(), "").expect("a file can take its place");
            }
            Fault::Overloaded => {
                fs::create_dir_all(self.dir()).expect("it can be made");
                for file in FILES.map(|file| self.dir().join(file)) {
                    let _ = fs::hard_link(&file, aside(&file));
                    let full = file.with_extension("full");
                    symlink("/dev/full", &full).expect("a link can be made");
                    fs::rename(full, &file).expect("it can take the file's place");
                }
            }
            Fault::Torn => {
                for file in self.files() {
                    let mut file = fs::OpenOptions::new().append(true).open(file).expect("it is there");
                    file.write_all(br#"{"action":"save","index":"#).expect("it takes more");
                }
            }
            // A file system answers nobody and looks at nothing, and what it does not take is all the same to us.
            Fault::Throttled { .. }
            | Fault::Unavailable
            | Fault::ServerError
            | Fault::Cut
            | Fault::CutAfterApplying
            | Fault::Slow
            | Fault::Hold
            | Fault::Partly
            | Fault::TooLarge
            | Fault::Echo
            | Fault::Redirect(_)
            | Fault::NotServing
            | Fault::Page
            | Fault::Refused
            | Fault::RefusedIndex(_)
            | Fault::Poison { .. } => return false,
        }
        true
    }

    async fn recover(&self) {
        if self.dir().is_file() {
            fs::remove_file(self.dir()).expect("it can go");
            if self.aside().exists() {
                fs::rename(self.aside(), self.dir()).expect("it can come back");
            }
        }
        for file in FILES.map(|file| self.dir().join(file)) {
            if file.is_symlink() && fs::rename(aside(&file), &file).is_err() {
                fs::remove_file(&file).expect("it can go");
            }
        }
    }

    async fn state(&self) -> State {
        let (mut state, mut seen, mut applied) = (State::default(), HashSet::new(), Vec::new());
        for file in self.files() {
            let text = match fs::read_to_string(&file) {
                Ok(text) => text,
                // It was rotated just now.
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                Err(error) => panic!("{}: {error}", file.display()),
            };
            for line in text.split_inclusive('\n') {
                let line: Value =
                    serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"));
                let operation = operation(&line);
                applied.push(operation.clone());
                if seen.insert([&line["log_id"], &line["position"], &line["number"]].map(Value::to_string)) {
                    apply(&mut state, operation, &line["data"]);
                }
            }
        }
        State { applied: Some(applied), ..state }
    }

    /// The next write waits for the one that was dropped.
    fn late_is_harmless(&self) -> bool {
        true
    }
}

impl Files {
    fn dir(&self) -> PathBuf {
        self.root.path().join("out")
    }

    /// Where the directory is while it is away.
    fn aside(&self) -> PathBuf {
        self.root.path().join("away")
    }

    /// Every file, those of an index in the order in which they were written.
    fn files(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.dir()).into_iter().flatten();
        let mut files: Vec<PathBuf> =
            entries.map(|entry| entry.expect("the directory can be read").path()).collect();
        files.retain(|file| file.extension().is_some_and(|extension| extension == "ndjson"));
        files.sort();
        files
    }
}

/// Where a file is while the disk is full.
fn aside(file: &Path) -> PathBuf {
    file.with_extension("aside")
}

fn operation(line: &Value) -> Applied {
    let text = |name: &str| line[name].as_str().expect("every line has it");
    let action = Action::ALL.into_iter().find(|action| action.as_str() == text("action"));
    Applied::new(text("index"), text("object_id"), action.expect("a known action"), &line["data"])
}

fn apply(state: &mut State, Applied { key, action, .. }: Applied, data: &Value) {
    let replace = |object: &mut Value| {
        for (name, value) in data.as_object().into_iter().flatten() {
            object[name] = value.clone();
        }
    };
    match action {
        Action::Save => _ = state.objects.insert(key, data.clone()),
        Action::Delete => _ = state.objects.remove(&key),
        Action::PartialUpdate => {
            replace(state.objects.entry(key).or_insert_with(|| Value::Object(Default::default())))
        }
        Action::PartialUpdateNoCreate => _ = state.objects.get_mut(&key).map(replace),
    }
}
