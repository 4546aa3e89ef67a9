//! A config's text.
#![no_main]

use std::{
    io,
    path::{Path, PathBuf},
};

use sync_agent::config::{Environment, load_text};

/// Every variable and every file holds the same.
struct Everywhere;

impl Environment for Everywhere {
    fn variable(&self, _: &str) -> Option<String> {
        Some("SECRET".to_owned())
    }

    fn secret_file(&self, _: &Path) -> io::Result<String> {
        Ok("SECRET".to_owned())
    }

    fn working_directory(&self) -> PathBuf {
        PathBuf::from("/srv")
    }
}

libfuzzer_sys::fuzz_target!(|text: &str| {
    if let Err(errors) = load_text(Some(Path::new("agent.toml")), text.to_owned(), &Everywhere) {
        assert!(!errors.render(false).is_empty());
    }
});
