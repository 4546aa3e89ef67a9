//! What an operator's agent keeps beside its data, for its next start: the last config that was accepted, and what the
//! operator has said that the config does not say. No secrets: a config only names where these are.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use serde::{Deserialize, Serialize};

use crate::runtime::files;

/// The directory for it, in the data directory.
#[derive(Debug)]
pub(super) struct Kept {
    dir: PathBuf,
    commands: Mutex<Commands>,
}

/// What the operator has said.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Commands {
    /// Destinations that are paused, with the reason.
    #[serde(default)]
    pub(super) paused: BTreeMap<String, String>,
    /// Intake is refused.
    #[serde(default)]
    pub(super) draining: bool,
}

const CONFIG: &str = "accepted.toml";
const COMMANDS: &str = "commands.json";

impl Kept {
    /// Reads what the operator has said. What cannot be read is an error: going on without it would send what is not to
    /// be sent.
    pub(super) fn open(data_dir: &Path) -> io::Result<Self> {
        let dir = dir(data_dir);
        let path = dir.join(COMMANDS);
        let commands = match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| {
                let what = format!(
                    "{}: {error}: it says what operators have paused; mend it, or remove it to let everything run",
                    path.display()
                );
                io::Error::new(io::ErrorKind::InvalidData, what)
            })?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Commands::default(),
            Err(error) => return Err(error),
        };
        Ok(Self { dir, commands: Mutex::new(commands) })
    }

    pub(super) fn commands(&self) -> Commands {
        self.lock().clone()
    }

    /// Takes note of what an operator says, before it is done.
    pub(super) fn say<T>(&self, change: impl FnOnce(&mut Commands) -> T) -> io::Result<T> {
        let mut commands = self.lock();
        let mut changed = commands.clone();
        let told = change(&mut changed);
        if changed != *commands {
            files::replace(&self.dir.join(COMMANDS), &serde_json::to_vec_pretty(&changed)?)?;
            *commands = changed;
        }
        Ok(told)
    }

    /// Keeps a config that was accepted.
    pub(super) fn accept(&self, text: &str) -> io::Result<()> {
        let path = self.dir.join(CONFIG);
        match fs::read(&path) {
            Ok(kept) if kept == text.as_bytes() => Ok(()),
            _ => files::replace(&path, text.as_bytes()),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Commands> {
        self.commands.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The config that was accepted last in this data directory.
pub(super) fn accepted(data_dir: &Path) -> Option<String> {
    fs::read_to_string(dir(data_dir).join(CONFIG)).ok()
}

fn dir(data_dir: &Path) -> PathBuf {
    data_dir.join("config")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What an operator has said is there after a restart; what was kept is whole or an error.
    #[test]
    fn commands_survive() {
        let root = tempfile::tempdir().unwrap();
        let kept = Kept::open(root.path()).unwrap();
        assert_eq!(kept.commands(), Commands::default());
        kept.say(|commands| commands.paused.insert("mirror".to_owned(), "moves".to_owned())).unwrap();
        assert_eq!(Kept::open(root.path()).unwrap().commands(), kept.commands());
        fs::write(root.path().join("config/commands.json"), "{").unwrap();
        let error = Kept::open(root.path()).unwrap_err().to_string();
        assert!(error.contains("commands.json") && error.contains("remove it"), "{error}");
    }
}
