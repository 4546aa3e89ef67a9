//! What a config may take from outside its text: environment variables, secret files, the working directory. Passed
//! in, so that checking stays a pure function and a test needs no process-wide variable.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
};

/// Answers what the config asks of its surroundings.
pub trait Environment {
    /// A variable's value; `None` if it is unset, empty or not UTF-8. Compose files and manifests set variables to
    /// nothing where they mean "unset".
    fn variable(&self, name: &str) -> Option<String>;

    /// The whole of a secret's file.
    ///
    /// # Errors
    /// Whatever keeps the file from being read as UTF-8.
    fn secret_file(&self, path: &Path) -> io::Result<String>;

    /// What relative paths are relative to.
    fn working_directory(&self) -> PathBuf;
}

/// The process's own surroundings.
#[derive(Clone, Copy, Debug, Default)]
pub struct ProcessEnvironment;

impl Environment for ProcessEnvironment {
    fn variable(&self, name: &str) -> Option<String> {
        env::var(name).ok().filter(|value| !value.is_empty())
    }

    fn secret_file(&self, path: &Path) -> io::Result<String> {
        fs::read_to_string(path)
    }

    fn working_directory(&self) -> PathBuf {
        env::current_dir().unwrap_or_else(|_| PathBuf::from("/"))
    }
}
