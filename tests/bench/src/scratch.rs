//! Space to work in where the agents of the other scenarios keep their data, and what rounds come to.

use std::{fs::File, path::PathBuf};

use anyhow::Context as _;
use rustix::fs::syncfs;
use tempfile::TempDir;

/// A directory that is gone when this is dropped, with everything that the disk has to do for it.
#[derive(Debug)]
pub(crate) struct Scratch {
    directory: Option<TempDir>,
}

impl Scratch {
    pub(crate) fn new() -> anyhow::Result<Self> {
        let directory = tempfile::Builder::new().prefix("bench-").tempdir().context("make a directory")?;
        Ok(Self { directory: Some(directory) })
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.as_ref().map(|directory| directory.path().join(name)).unwrap_or_default()
    }
}

impl Drop for Scratch {
    /// Waits until the disk has the removal behind it: gigabytes that are given back would slow down what runs next.
    fn drop(&mut self) {
        let Some(directory) = self.directory.take() else { return };
        let parent = directory.path().parent().map(File::open);
        drop(directory);
        if let Some(Ok(parent)) = parent {
            // Only for the sake of quiet.
            let _ = syncfs(parent);
        }
    }
}

/// The middle one; of two, the smaller one.
pub(crate) fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len().saturating_sub(1) / 2).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_one() {
        assert_eq!(median([3.0, 1.0, 2.0].into_iter()), 2.0);
        assert_eq!(median([4.0, 1.0].into_iter()), 1.0);
        assert!(median(std::iter::empty()).is_nan());
    }
}
