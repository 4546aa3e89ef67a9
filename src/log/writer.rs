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
use tokio::sync::watch;

use super::{
    answers::{Answer, Answerer, reply, tell},
    block::Place,
    catalogue::{Catalogue, Durable},
    destinations::Destinations,
    directory::{self, Directory},
    files,
    frame::{self, Payload, Stamp},
    group::Group,
    idempotency::Claim,
    interface::{Append, AppendError, Appended, Frame, LogError, Written},
    newest::{DurableGroup, Newest},
    queue::{Pending, Queue},
    request_id::RequestIds,
    segment::{self, Active, Entry},
    segment_header::{Header, Previous},
};
use crate::{
    record::payload_index,
    runtime::{Clock, Counter},
};

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
    pub(super) destinations: Arc<Destinations>,
    pub(super) durable: watch::Sender<Durable>,
    pub(super) newest: Arc<Newest>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) ids: RequestIds,
    pub(super) random: SystemRandom,
    pub(super) segment_bytes: u64,
    /// `None` until the first append, and after a failure between two segments.
    pub(super) active: Option<Active>,
    /// The end of what was written: offset, version, and the nonce of the newest segment.
    pub(super) last: Previous,
    /// The log byte after the last frame, written or in the group.
    pub(super) end_byte: u64,
    pub(super) taken: Vec<Pending>,
    pub(super) group: Group,
    pub(super) waiting: Vec<Waiting>,
    /// `None` where the writer is driven turn by turn: then a turn has told everybody.
    pub(super) answerer: Option<Answerer>,
    pub(super) tally: Arc<Tally>,
    /// Do not ask the file system for space again before.
    pub(super) no_space_until: Option<Instant>,
}

/// Counts what was written, for whoever looks at the log.
#[derive(Debug, Default)]
pub(super) struct Tally {
    requests: Counter,
    bytes: Counter,
    groups: Counter,
}

impl Tally {
    pub(super) fn written(&self) -> Written {
        Written { requests: self.requests.get(), bytes: self.bytes.get(), groups: self.groups.get() }
    }

    fn wrote(&self, requests: usize, bytes: usize) {
        self.requests.add(requests as u64);
        self.bytes.add(bytes as u64);
        self.groups.add(1);
    }
}

/// A request in the group, and what it is answered once that is durable.
#[derive(Debug)]
pub(super) struct Waiting {
    answer: Answer,
    appended: Appended,
    claim: Option<Claim>,
}

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
            self.group.shrink_to(GROUP_BYTES_KEPT, REQUESTS_KEPT);
            self.waiting.shrink_to(REQUESTS_KEPT);
            self.taken.shrink_to(REQUESTS_KEPT);
        }
        true
    }

    /// Puts a request into the group, or answers that it cannot be.
    fn add(&mut self, pending: Pending, now: Timestamp) {
        // Wherever this ends without an append, the claim is given up.
        let Pending { request, payload_checksum, answer, claim } = pending;
        if let Some(cause) = self.directory.poisoned() {
            return reply(answer, Err(AppendError::Poisoned { cause: cause.to_owned() }));
        }
        let size = frame::size_of(&request);
        if let Err(refusal) = self.within_backlogs() {
            return reply(answer, Err(self.refused(refusal)));
        }
        let has_room = |active: &Active| active.has_room(self.group.bytes(), size);
        if !self.active.as_ref().is_some_and(has_room) {
            self.flush();
            if let Err(refusal) = self.roll(now) {
                return reply(answer, Err(self.refused(refusal)));
            }
        }
        let Some(active) = &mut self.active else { return };
        let offset = self.last.end;
        let version = (self.last.last_version + 1).max(now.0);
        let request_id = self.ids.make(offset, version);
        let group_delta = u32::try_from(self.group.bytes()).expect("a group is at most 72 MiB");
        let stamp = Stamp { offset, version, time: now, group_delta, request_id };
        let at = active.at + self.group.bytes() as u64;
        self.end_byte += size as u64;
        let Append { records, payload, attributes } = request;
        let index = payload_index(&payload).unwrap_or_default();
        active.note(at, active.at, Entry { offset, version, time: now.0, records, index });
        let position = Position { partition: 0, offset };
        let frame = Frame {
            log_id: self.directory.log_id,
            position,
            version: Version(version),
            accepted_at: now,
            records,
            request_id,
            attributes,
            payload: payload.into(),
        };
        if let Some(claim) = &claim {
            active.keys.push(&claim.accepted(offset, version));
        }
        let nonce = active.segment.nonce;
        self.last = active.as_previous();
        self.group.push(frame, |out, frame| {
            let payload = Payload { records, length: frame.payload.len(), checksum: payload_checksum };
            frame::encode_head(out, nonce, &stamp, &frame.attributes, payload);
        });
        let appended = Appended { request_id, position, version: Version(version), repeated: false };
        self.waiting.push(Waiting { answer, appended, claim });
    }

    /// Makes the group durable and answers everyone in it.
    fn flush(&mut self) {
        let Some(active) = &mut self.active else { return };
        if self.group.is_empty() {
            return;
        }
        let written = active.file.write_pieces_at(&mut self.group.pieces(), active.at);
        let written = written.and_then(|()| active.file.sync_data());
        match written {
            Ok(()) => {
                active.at += self.group.bytes() as u64;
                let Previous { end, last_version, .. } = self.last;
                let (segment, at) = (active.segment.base, active.at);
                self.tally.wrote(self.waiting.len(), self.group.bytes());
                let frames = self.group.take();
                // Before anybody is told that it is there.
                self.newest.keep(DurableGroup { segment, frames, end: Place { at, offset: end } });
                self.durable.send_replace(Durable { end, last_version, segment, at });
                let answers = self.waiting.drain(..).map(|Waiting { answer, appended, claim }| {
                    if let Some(claim) = claim {
                        // Here, since keys come in the order of their requests.
                        claim.complete(appended);
                    }
                    (answer, appended)
                });
                match &self.answerer {
                    Some(answerer) if !self.queue.is_empty() => answerer.give(answers.collect()),
                    _ => tell(answers),
                }
            }
            Err(error) => {
                let cause = self.directory.poison(cause_of(&active.segment.path, &error)).to_owned();
                for waiting in self.waiting.drain(..) {
                    reply(waiting.answer, Err(AppendError::Poisoned { cause: cause.clone() }));
                }
                self.group.take();
            }
        }
    }

    /// What a refused request is answered.
    fn refused(&self, refusal: Refusal) -> AppendError {
        match refusal {
            Refusal::Later(refused) => refused,
            Refusal::Poison(cause) => {
                AppendError::Poisoned { cause: self.directory.poison(cause).to_owned() }
            }
        }
    }

    /// Leaves destinations behind that are too far behind, and refuses where one must not be.
    fn within_backlogs(&mut self) -> Result<(), Refusal> {
        if self.destinations.reach.detaches(self.end_byte) {
            // The records that fill the backlog must be durable before anybody is left behind for them.
            self.flush();
            if let Some(cause) = self.directory.poisoned() {
                return Err(Refusal::Poison(cause.to_owned()));
            }
            self.destinations.detach_beyond(self.end_byte).map_err(|error| self.not_recorded(&error))?;
        }
        if self.destinations.reach.refuses(self.end_byte) {
            return Err(Refusal::Later(self.destinations.backlog_full(self.end_byte)));
        }
        Ok(())
    }

    /// What follows when a gap could not be recorded: nobody is left behind without that.
    fn not_recorded(&mut self, error: &LogError) -> Refusal {
        match self.directory.poisoned() {
            Some(cause) => Refusal::Poison(cause.to_owned()),
            None => {
                tracing::error!(%error, "what destinations miss cannot be recorded");
                self.no_space()
            }
        }
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
        let prepare = |of: &Self| segment::prepare(&of.directory.files, &path, of.last.end, of.segment_bytes);
        let prepared = match prepare(self) {
            Err(error) if files::is_no_space(&error) => {
                self.make_room(self.segment_bytes)?;
                prepare(self)
            }
            prepared => prepared,
        };
        let prepared = match prepared {
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
        self.has_space();
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
                self.has_space();
                Ok(())
            }
            Err(error) if files::is_no_space(&error) => Err(self.no_space()),
            Err(error) => Err(Refusal::Poison(cause_of(&active.segment.path, &error))),
        }
    }

    fn no_space(&mut self) -> Refusal {
        if self.no_space_until.is_none() {
            tracing::error!(
                path = %self.directory.path.display(),
                segment_bytes = self.segment_bytes,
                "no space left on device for the log's next segment: requests are refused until there is",
            );
        }
        self.no_space_until = Some(Instant::now() + RETRY_AFTER);
        Refusal::Later(AppendError::NoSpace { retry_after: RETRY_AFTER })
    }

    fn has_space(&mut self) {
        if self.no_space_until.take().is_some() {
            tracing::info!("there is space for the log's next segment again: requests are accepted");
        }
    }

    /// Refuses early when the next segment would exceed the budget (rule 11). Before that, what is kept for retention
    /// goes, and whoever may be left behind is.
    fn reserve(&mut self) -> Result<(), Refusal> {
        if self.no_space_until.is_some_and(|until| Instant::now() < until) {
            return Err(Refusal::Later(AppendError::NoSpace { retry_after: RETRY_AFTER }));
        }
        let next = bytes_on_disk(self.segment_bytes);
        loop {
            let disk_bytes_max = self.catalogue.disk_bytes_max();
            let needed = (self.catalogue.bytes() + next).saturating_sub(disk_bytes_max);
            if needed == 0 {
                return Ok(());
            }
            self.make_room(needed)?;
            let used = self.catalogue.bytes();
            if used + next <= disk_bytes_max {
                return Ok(());
            }
            if !self.destinations.detach_oldest().map_err(|error| self.not_recorded(&error))? {
                let budget = disk_bytes_max;
                return Err(Refusal::Later(AppendError::Full { used, budget, retry_after: RETRY_AFTER }));
            }
        }
    }

    /// Gives so many bytes of what was delivered back to the disk, if there are so many.
    fn make_room(&mut self, bytes: u64) -> Result<(), Refusal> {
        self.destinations.make_room(bytes).map_err(|error| self.not_recorded(&error))
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

fn cause_of(path: &Path, error: &io::Error) -> String {
    format!("{}: {error}", path.display())
}
