//! What a config may take from outside its text: environment variables, secret files, the working directory. Passed
//! in, so that checking stays a pure function and a test needs no process-wide variable.

#[cfg(test)]
use std::collections::HashMap;
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

/// A test's own surroundings: variables, files, and `/srv`.
#[cfg(test)]
pub(crate) struct FixedEnvironment {
    variables: HashMap<&'static str, &'static str>,
    files: HashMap<&'static str, &'static str>,
}

#[cfg(test)]
impl FixedEnvironment {
    pub(crate) fn new(
        variables: &[(&'static str, &'static str)],
        files: &[(&'static str, &'static str)],
    ) -> Self {
        Self { variables: variables.iter().copied().collect(), files: files.iter().copied().collect() }
    }
}

#[cfg(test)]
impl Environment for FixedEnvironment {
    fn variable(&self, name: &str) -> Option<String> {
        self.variables.get(name).map(|value| (*value).to_owned()).filter(|value| !value.is_empty())
    }

    fn secret_file(&self, path: &Path) -> io::Result<String> {
        let content = path.to_str().and_then(|path| self.files.get(path));
        content.map(|content| (*content).to_owned()).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn working_directory(&self) -> PathBuf {
        PathBuf::from("/srv")
    }
}
