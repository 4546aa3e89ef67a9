//! Logs of any size that take hardly any disk: true headers and footers, a true newest segment, and holes where the
//! frames of the sealed segments would be. Opening a log must not notice.
//!
//! Written from `src/log/FORMAT.md` and from nothing else, so that it also checks that the format is what is written
//! there.

use std::{
    fs::{self, File, OpenOptions},
    os::unix::fs::{FileExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use rustix::fs::{FallocateFlags, fallocate, statvfs, syncfs};

const HEADER_BYTES: usize = 4096;
const TRAILER_BYTES: usize = 24;
const FORMAT: u32 = 1;
const FRAME_MAGIC: [u8; 4] = [0xF5, 0xFE, 0xFF, 0x01];
const INDEX_STEP: u64 = 1 << 20;
/// Frames in a write group of the newest segment.
const GROUP_FRAMES: u64 = 16;
/// Disk that a sealed segment takes at most, beside what [`Plan::sections`] adds.
const SEALED_BYTES: u64 = 32 << 10;

/// What to make.
pub(crate) struct Plan<'a> {
    /// A directory that a log has been opened in, and nothing appended.
    pub(crate) dir: &'a Path,
    /// Whole segments, the newest included.
    pub(crate) segments: u64,
    pub(crate) segment_bytes: u64,
    /// The payload of every frame.
    pub(crate) payload: &'a [u8],
    pub(crate) records: u32,
    /// How much of the newest segment is written.
    pub(crate) newest_bytes: u64,
    /// What each segment holds in time.
    pub(crate) segment_micros: u64,
    /// When the newest segment ends, unix microseconds.
    pub(crate) now: u64,
    /// More sections for the footer of the sealed segment with this number: what later versions add.
    pub(crate) sections: &'a dyn Fn(u64) -> Vec<Section>,
}

/// A section of a footer or of a frame's attributes.
#[derive(Clone, Debug)]
pub(crate) struct Section {
    pub(crate) tag: u16,
    pub(crate) value: Vec<u8>,
}

/// Whether the disk has room for such a log; else how much is missing.
pub(crate) fn room(
    dir: &Path,
    segments: u64,
    segment_bytes: u64,
    section_bytes: u64,
) -> anyhow::Result<Result<(), u64>> {
    let needed = segments * (SEALED_BYTES + section_bytes) + 2 * segment_bytes;
    let disk = statvfs(dir).with_context(|| format!("look at the disk of {dir:?}"))?;
    let free = disk.f_bavail * disk.f_frsize;
    Ok(if free >= needed { Ok(()) } else { Err(needed - free) })
}

impl Plan<'_> {
    /// Makes the log; returns the offset after its last record.
    pub(crate) fn make(&self) -> anyhow::Result<u64> {
        let identity = fs::read(self.dir.join("identity")).context("read the log's identity")?;
        let log_id = *identity.get(16..).and_then(|rest| rest.first_chunk()).context("the log's id")?;
        let mut chain = Chain { log_id, ..Chain::default() };
        for number in 0..self.segments - 1 {
            self.sealed(number, &mut chain)?;
        }
        self.newest(&mut chain)?;
        // Else the first openings would share the disk with what is still to be written.
        syncfs(File::open(self.dir)?)?;
        Ok(chain.end)
    }

    fn sealed(&self, number: u64, chain: &mut Chain) -> anyhow::Result<()> {
        let sections = (self.sections)(number);
        let added: usize = sections.iter().map(|section| 6 + section.value.len()).sum();
        let index_bytes = (self.segment_bytes / INDEX_STEP) * 32;
        let around = (HEADER_BYTES + TRAILER_BYTES + 6 + 56 + 6 + added) as u64 + index_bytes;
        let frame = self.frame(0, &Chain::default(), 0)?.len() as u64;
        let frames = (self.segment_bytes - around) / frame;
        let (path, file) = self.create(chain, number)?;
        let nonce = chain.nonce;

        let records = u64::from(self.records);
        let first_time = self.now - (self.segments - number) * self.segment_micros;
        let time = |frame: u64| first_time + frame * self.segment_micros / frames;
        let place = |frame_number: u64| HEADER_BYTES as u64 + frame_number * frame;
        let (base, first_version) = (chain.end, chain.last_version.max(first_time) + 1);
        let end_at = place(frames);
        let last_version = first_version + frames * records - 1;
        let last_group_at = place(frames - frames.min(GROUP_FRAMES));
        let summary: Vec<u8> = [
            frames,
            base + frames * records,
            first_version,
            last_version,
            first_time,
            time(frames - 1),
            last_group_at,
        ]
        .iter()
        .flat_map(|number| number.to_le_bytes())
        .collect();
        let step = INDEX_STEP.div_ceil(frame);
        let entry = |at: u64| [base + at * records, first_version + at * records, time(at), place(at)];
        let index: Vec<u8> =
            (0..frames).step_by(usize::try_from(step)?).flat_map(entry).flat_map(u64::to_le_bytes).collect();

        let mut footer = Vec::new();
        put(&mut footer, 1, &summary);
        put(&mut footer, 2, &index);
        for Section { tag, value } in &sections {
            put(&mut footer, *tag, value);
        }
        let length = u32::try_from(footer.len())?;
        footer.extend_from_slice(&end_at.to_le_bytes());
        footer.extend_from_slice(&length.to_le_bytes());
        let checksum = crc32c::crc32c_append(crc32c::crc32c(&nonce.to_le_bytes()), &footer);
        footer.extend_from_slice(&checksum.to_le_bytes());
        footer.extend_from_slice(b"SYNCEND\n");
        file.write_all_at(&footer, end_at).with_context(|| format!("write the footer of {path:?}"))?;
        (chain.end, chain.last_version) = (base + frames * records, last_version);
        Ok(())
    }

    /// The segment that is still written to: frames that are there, then space.
    fn newest(&self, chain: &mut Chain) -> anyhow::Result<()> {
        let (path, file) = self.create(chain, self.segments - 1)?;
        fallocate(&file, FallocateFlags::empty(), 0, self.segment_bytes)
            .with_context(|| format!("allocate {path:?}"))?;
        let mut at = HEADER_BYTES as u64;
        let first_time = self.now - self.segment_micros;
        chain.last_version = chain.last_version.max(first_time);
        let limit = self.newest_bytes.min(self.segment_bytes);
        loop {
            let mut group = Vec::new();
            for _ in 0..GROUP_FRAMES {
                let frame = self.frame(u32::try_from(group.len())?, chain, first_time)?;
                if at + (group.len() + frame.len()) as u64 > limit {
                    break;
                }
                group.extend_from_slice(&frame);
                chain.end += u64::from(self.records);
                chain.last_version += u64::from(self.records);
            }
            if group.is_empty() {
                return Ok(());
            }
            file.write_all_at(&group, at).with_context(|| format!("write {path:?}"))?;
            at += group.len() as u64;
        }
    }

    /// A segment's file with its header; its content is a hole.
    fn create(&self, chain: &mut Chain, number: u64) -> anyhow::Result<(PathBuf, File)> {
        let path = self.dir.join(format!("{:020}.seg", chain.end));
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        let nonce = number + 1;
        let mut header = Vec::with_capacity(HEADER_BYTES);
        header.extend_from_slice(b"SYNCSEG\n");
        header.extend_from_slice(&FORMAT.to_le_bytes());
        header.extend_from_slice(&[0; 4]);
        header.extend_from_slice(&chain.log_id);
        let created = self.now - (self.segments - number) * self.segment_micros;
        for number in [chain.end, nonce, chain.end, chain.last_version, chain.nonce, created] {
            header.extend_from_slice(&number.to_le_bytes());
        }
        header.resize(HEADER_BYTES, 0);
        let checksum = crc32c::crc32c_append(crc32c::crc32c(&header[..12]), &header[16..]);
        header[12..16].copy_from_slice(&checksum.to_le_bytes());
        file.write_all_at(&header, 0).with_context(|| format!("write the header of {path:?}"))?;
        chain.nonce = nonce;
        Ok((path, file))
    }

    /// The next frame, with an idempotency key.
    fn frame(&self, group_delta: u32, chain: &Chain, time: u64) -> anyhow::Result<Vec<u8>> {
        let key = format!("key-{:032x}", chain.end);
        let mut attributes = Vec::new();
        put(&mut attributes, 1, &[&[7; 32], key.as_bytes()].concat());
        let length = u32::try_from(68 + attributes.len() + self.payload.len())?;
        let mut frame = Vec::with_capacity(length as usize);
        frame.extend_from_slice(&FRAME_MAGIC);
        frame.extend_from_slice(&length.to_le_bytes());
        frame.extend_from_slice(&[0; 8]);
        for number in [chain.end, chain.last_version + 1, time] {
            frame.extend_from_slice(&number.to_le_bytes());
        }
        frame.extend_from_slice(&group_delta.to_le_bytes());
        frame.extend_from_slice(&self.records.to_le_bytes());
        frame.extend_from_slice(&[0x80; 16]);
        frame.extend_from_slice(&u32::try_from(attributes.len())?.to_le_bytes());
        frame.extend_from_slice(&attributes);
        frame.extend_from_slice(self.payload);
        let checksum = crc32c::crc32c_append(crc32c::crc32c(&chain.nonce.to_le_bytes()), &frame[..8]);
        let checksum = crc32c::crc32c_append(checksum, &frame[12..]);
        frame[8..12].copy_from_slice(&checksum.to_le_bytes());
        Ok(frame)
    }
}

/// How far the log has come: what the next header and frame must say.
#[derive(Debug, Default)]
struct Chain {
    log_id: [u8; 16],
    end: u64,
    last_version: u64,
    nonce: u64,
}

fn put(out: &mut Vec<u8>, tag: u16, value: &[u8]) {
    out.extend_from_slice(&tag.to_le_bytes());
    out.extend_from_slice(&(value.len() as u32).to_le_bytes());
    out.extend_from_slice(value);
}
