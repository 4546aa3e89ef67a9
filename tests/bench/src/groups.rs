//! The write groups of a log, read from its segments' bytes as `src/log/FORMAT.md` has them: what the plain file of a
//! comparison must write and sync.

use std::{
    fs::{self, File},
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
};

use anyhow::Context as _;

const HEADER_BYTES: u64 = 4096;
const FRAME_HEAD_BYTES: usize = 68;
const FRAME_MAGIC: [u8; 4] = [0xF5, 0xFE, 0xFF, 0x01];

/// What was written with one pwrite and synced with one fdatasync.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Group {
    pub(crate) bytes: u64,
    pub(crate) requests: u64,
}

/// A log's segments, oldest first.
pub(crate) fn segments(log: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let entries = fs::read_dir(log).with_context(|| format!("list {log:?}"))?;
    let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<anyhow::Result<Vec<_>>>()?;
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "seg"));
    paths.sort();
    Ok(paths)
}

/// Every write group of a log, in order.
pub(crate) fn groups(log: &Path) -> anyhow::Result<Vec<Group>> {
    let mut groups: Vec<Group> = Vec::new();
    for path in segments(log)? {
        let file = File::open(&path).with_context(|| format!("open {path:?}"))?;
        let (mut at, size) = (HEADER_BYTES, file.metadata()?.len());
        let mut head = [0; FRAME_HEAD_BYTES];
        while at + head.len() as u64 <= size {
            file.read_exact_at(&mut head, at)?;
            // The footer, or space that is not written yet.
            if head[..4] != FRAME_MAGIC {
                break;
            }
            let bytes = u64::from(number(&head[4..8])?);
            let starts_group = number(&head[40..44])? == 0;
            match groups.last_mut() {
                Some(group) if !starts_group => {
                    group.bytes += bytes;
                    group.requests += 1;
                }
                _ => groups.push(Group { bytes, requests: 1 }),
            }
            at += bytes;
        }
    }
    Ok(groups)
}

fn number(bytes: &[u8]) -> anyhow::Result<u32> {
    Ok(u32::from_le_bytes(bytes.try_into().context("four bytes")?))
}
