//! What a log's appends are compared with: one thread that writes the same groups to a file that is preallocated, with
//! one fdatasync each.
//!
//! It makes the file as the log makes a segment, with fallocate(2), and knows neither frames nor rolls nor answers.

use std::{
    fs::{File, OpenOptions},
    os::unix::fs::FileExt as _,
    path::PathBuf,
};

use anyhow::{Context as _, ensure};
use rustix::fs::{FallocateFlags, fallocate};
use serde::{Deserialize, Serialize};

use crate::{
    child::Role,
    groups::{groups, segments},
    job::{Cost, Job, Meter},
};

/// Writes a log's groups again.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Plain {
    /// The log whose groups these are.
    pub(crate) log: PathBuf,
    /// The file to write.
    pub(crate) file: PathBuf,
}

/// How long that took.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Written {
    pub(crate) cost: Cost,
    pub(crate) requests: u64,
    pub(crate) groups: u64,
}

impl Job for Plain {
    const ROLE: Role = Role::Plain;
    type Outcome = Written;

    fn work(self) -> anyhow::Result<Written> {
        let groups = groups(&self.log)?;
        let largest = groups.iter().map(|group| group.bytes).max().context("the log is empty")?;
        let bytes = some_bytes(&self.log, usize::try_from(largest)?)?;
        let total = groups.iter().map(|group| group.bytes).sum();
        let file = OpenOptions::new().write(true).create_new(true).open(&self.file)?;
        fallocate(&file, FallocateFlags::empty(), 0, total).context("preallocate the plain file")?;
        file.sync_all()?;

        let meter = Meter::start()?;
        let mut at = 0;
        for group in &groups {
            file.write_all_at(&bytes[..usize::try_from(group.bytes)?], at)?;
            file.sync_data()?;
            at += group.bytes;
        }
        let requests = groups.iter().map(|group| group.requests).sum();
        Ok(Written { cost: meter.stop()?, requests, groups: groups.len() as u64 })
    }
}

/// The log's own first bytes, as many as the largest group has.
fn some_bytes(log: &std::path::Path, length: usize) -> anyhow::Result<Vec<u8>> {
    let first = segments(log)?.into_iter().next().context("the log has no segment")?;
    let mut bytes = vec![0; length];
    let file = File::open(&first)?;
    ensure!(file.metadata()?.len() >= length as u64, "a group of {length} bytes is larger than {first:?}");
    file.read_exact_at(&mut bytes, 0)?;
    Ok(bytes)
}
