//! The one thread that appends: it takes everything that waits, writes it with one pwrite, syncs it with one fdatasync,
//! publishes how far the log is durable, and answers. There is no timer: a lone request waits for one sync only.
//!
//! An error of a write or a sync poisons the log (rule 2): the writer never tries again, and refuses everything until
//! the agent is restarted.

use std::{
    fmt, io, mem,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use plugin_api::identity::{Position, Timestamp, Version};
use ring::rand::SystemRandom;
use tokio::sync::{oneshot, watch};

use super::{
    catalogue::{Catalogue, Durable},
    directory::{self, Directory},
    files,
    frame::{self, Stamp},
    idempotency::Claim,
    interface::{AppendError, Appended},
    queue::{Pending, Queue},
    request_id::RequestIds,
    segment::{self, Active, Entry},
    segment_header::{Header, Previous},
};
use crate::runtime::Clock;

/// When a refused producer should come back.
pub(super) const RETRY_AFTER: Duration = Duration::from_secs(1);

/// What the buffers keep when the writer has nothing to do.
const GROUP_BYTES_KEPT: usize = 1 << 20;
const REQUESTS_KEPT: usize = 1024;

/// The writer's state; [`Writer::run`] is its thread.
pub(super) struct Writer {
    pub(super) queue: Arc<Queue>,
    pub(super) directory: Arc<Directory>,
    pub(super) catalogue: Arc<Catalogue>,
    pub(super) durable: watch::Sender<Durable>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) ids: RequestIds,
    pub(super) random: SystemRandom,
    pub(super) disk_bytes_max: u64,
    pub(super) segment_bytes: u64,
    /// `None` until the first append, and after a failure between two segments.
    pub(super) active: Option<Active>,
    /// The end of what was written: offset, version, and the nonce of the newest segment.
    pub(super) last: Previous,
    pub(super) taken: Vec<Pending>,
    pub(super) group: Vec<u8>,
    pub(super) waiting: Vec<(Answer, Appended, Option<Claim>)>,
    /// Do not ask the file system for space again before.
    pub(super) no_space_until: Option<Instant>,
}

type Answer = oneshot::Sender<Result<Appended, AppendError>>;

/// Why a request cannot be put into the group.
enum Refusal {
    /// Try again later; the log is sound.
    Later(AppendError),
    /// Rule 2.
    Poison(String),
}

impl Writer {
    /// Appends until the queue is closed and empty.
    pub(super) fn run(mut self) {
        while self.turn() {}
    }

    /// Waits for requests, appends all that wait, and answers them; `false` once the queue is closed and empty.
    pub(super) fn turn(&mut self) -> bool {
        if !self.queue.take(&mut self.taken) {
            return false;
        }
        let now = self.clock.now();
        let mut taken = mem::take(&mut self.taken);
        for pending in taken.drain(..) {
            self.add(pending, now);
        }
        self.taken = taken;
        self.flush();
        if self.queue.is_empty() {
            // After a burst.
            self.group.shrink_to(GROUP_BYTES_KEPT);
            self.waiting.shrink_to(REQUESTS_KEPT);
            self.taken.shrink_to(REQUESTS_KEPT);
        }
        true
    }

    /// Puts a request into the group, or answers that it cannot be.
    fn add(&mut self, pending: Pending, now: Timestamp) {
        // Wherever this ends without an append, the claim is given up.
        let Pending { request, answer, claim } = pending;
        if let Some(cause) = self.directory.poisoned() {
            return reply(answer, Err(AppendError::Poisoned { cause: cause.to_owned() }));
        }
        let size = frame::size_of(&request);
        let has_room = |active: &Active| active.has_room(self.group.len(), size);
        if !self.active.as_ref().is_some_and(has_room) {
            self.flush();
            match self.roll(now) {
                Ok(()) => {}
                Err(Refusal::Later(refused)) => return reply(answer, Err(refused)),
                Err(Refusal::Poison(cause)) => {
                    let cause = self.directory.poison(cause).to_owned();
                    return reply(answer, Err(AppendError::Poisoned { cause }));
                }
            }
        }
        let Some(active) = &mut self.active else { return };
        let offset = self.last.end;
        let version = (self.last.last_version + 1).max(now.0);
        let request_id = self.ids.make(offset, version);
        let group_delta = u32::try_from(self.group.len()).expect("a group is at most 72 MiB");
        let stamp = Stamp { offset, version, time: now, group_delta, request_id };
        let at = active.at + self.group.len() as u64;
        frame::encode(&mut self.group, active.segment.nonce, &stamp, &request);
        active.note(at, active.at, Entry { offset, version, time: now.0, records: request.records });
        if let Some(claim) = &claim {
            active.keys.push(&claim.accepted(offset, version));
        }
        self.last = active.as_previous();
        let position = Position { partition: 0, offset };
        let appended = Appended { request_id, position, version: Version(version), repeated: false };
        self.waiting.push((answer, appended, claim));
    }

    /// Makes the group durable and answers everyone in it.
    fn flush(&mut self) {
        let Some(active) = &mut self.active else { return };
        if self.group.is_empty() {
            return;
        }
        let written = active.file.write_at(&self.group, active.at).and_then(|()| active.file.sync_data());
        match written {
            Ok(()) => {
                active.at += self.group.len() as u64;
                let durable = Durable { end: self.last.end, segment: active.segment.base, at: active.at };
                self.durable.send_replace(durable);
                for (answer, appended, claim) in self.waiting.drain(..) {
                    if let Some(claim) = claim {
                        claim.complete(appended);
                    }
                    reply(answer, Ok(appended));
                }
            }
            Err(error) => {
                let cause = self.directory.poison(cause_of(&active.segment.path, &error)).to_owned();
                for (answer, ..) in self.waiting.drain(..) {
                    reply(answer, Err(AppendError::Poisoned { cause: cause.clone() }));
                }
            }
        }
        self.group.clear();
    }

    /// Begins the next segment, after sealing the one before it. Whatever may be refused is refused before anything
    /// is changed.
    fn roll(&mut self, now: Timestamp) -> Result<(), Refusal> {
        if let Some(cause) = self.directory.poisoned() {
            return Err(Refusal::Poison(cause.to_owned()));
        }
        if self.active.as_ref().is_some_and(Active::is_empty) {
            return self.enlarge();
        }
        self.reserve()?;
        let path = self.directory.path.clone();
        let prepared = match segment::prepare(&self.directory.files, &path, self.last.end, self.segment_bytes)
        {
            Ok(prepared) => prepared,
            Err(error) if files::is_no_space(&error) => return Err(self.no_space()),
            Err(error) => return Err(Refusal::Poison(cause_of(&path, &error))),
        };
        if let Some(active) = self.active.take() {
            let path = active.segment.path.clone();
            let bytes = active.seal().map_err(|error| Refusal::Poison(cause_of(&path, &error)))?;
            self.catalogue.resize_newest(bytes_on_disk(bytes));
        }
        let header = Header {
            log_id: self.directory.log_id,
            base: self.last.end,
            nonce: directory::random_nonce(&self.random).map_err(Refusal::Poison)?,
            previous: self.last,
            created_at: now,
        };
        let active = prepared
            .install(&path, &header)
            .map_err(|error| Refusal::Poison(cause_of(&segment::path_of(&path, header.base), &error)))?;
        self.catalogue.push(active.segment.clone(), bytes_on_disk(self.segment_bytes));
        self.active = Some(active);
        Ok(())
    }

    /// Gives an empty segment the space that it should have: the disk was full when the log was opened, or segments
    /// were smaller before.
    fn enlarge(&mut self) -> Result<(), Refusal> {
        let Some(active) = &mut self.active else { return Ok(()) };
        match active.file.allocate(self.segment_bytes) {
            Ok(()) => {
                active.limit = self.segment_bytes;
                self.catalogue.resize_newest(bytes_on_disk(self.segment_bytes));
                Ok(())
            }
            Err(error) if files::is_no_space(&error) => Err(self.no_space()),
            Err(error) => Err(Refusal::Poison(cause_of(&active.segment.path, &error))),
        }
    }

    fn no_space(&mut self) -> Refusal {
        self.no_space_until = Some(Instant::now() + RETRY_AFTER);
        Refusal::Later(AppendError::NoSpace { retry_after: RETRY_AFTER })
    }

    /// Refuses early when the next segment would exceed the budget (rule 11).
    fn reserve(&mut self) -> Result<(), Refusal> {
        if self.no_space_until.is_some_and(|until| Instant::now() < until) {
            return Err(Refusal::Later(AppendError::NoSpace { retry_after: RETRY_AFTER }));
        }
        let next = bytes_on_disk(self.segment_bytes);
        if self.catalogue.bytes() + next <= self.disk_bytes_max {
            return Ok(());
        }
        self.catalogue.reclaim().map_err(|error| Refusal::Poison(cause_of(&self.directory.path, &error)))?;
        let used = self.catalogue.bytes();
        if used + next <= self.disk_bytes_max {
            return Ok(());
        }
        let budget = self.disk_bytes_max;
        Err(Refusal::Later(AppendError::Full { used, budget, retry_after: RETRY_AFTER }))
    }
}

impl Drop for Writer {
    /// However the thread ends, nobody waits for it in vain: the queue takes no more, and what waits is dropped.
    fn drop(&mut self) {
        self.queue.close();
        if std::thread::panicking() {
            self.directory.poison("the writer panicked".to_owned());
        }
        self.queue.take(&mut Vec::new());
    }
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer").field("last", &self.last).finish_non_exhaustive()
    }
}

/// What a file of so many bytes counts for: whole blocks.
pub(super) fn bytes_on_disk(bytes: u64) -> u64 {
    bytes.next_multiple_of(4096)
}

fn reply(answer: Answer, result: Result<Appended, AppendError>) {
    // Whoever asked may be gone; the append stands.
    let _ = answer.send(result);
}

fn cause_of(path: &Path, error: &io::Error) -> String {
    format!("{}: {error}", path.display())
}
