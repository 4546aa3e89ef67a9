//! The embedded log: puts the parts together and implements [`Log`].
//!
//! Whatever touches the disk runs on the writer's thread or on tokio's blocking threads.

use std::{
    mem, panic,
    sync::{Arc, Mutex, PoisonError},
    thread::{self, JoinHandle},
    time::Duration,
};

use async_trait::async_trait;
use plugin_api::identity::{LogId, Position, RequestId, Timestamp, Version};
use ring::rand::SystemRandom;
use tokio::{sync::watch, task::spawn_blocking};

use super::{
    answers::Answerer,
    buffers::Buffers,
    catalogue::{Catalogue, Durable},
    destinations::Destinations,
    directory::{self, Directory, Opened, at},
    files::{Disk, FileSystem},
    frame,
    group::Group,
    idempotency::{self, Bounds, Claimed, Repeats},
    interface::{
        Append, AppendError, Appended, AtTime, Frame, From, Gap, Located, Log, LogBounds, LogError,
        LogStatus, Progress, ReadError, Reader, Rewound, Subscription,
    },
    newest::Newest,
    queue::Queue,
    reader::{EmbeddedReader, Readable, below_start},
    recovery,
    request_id::RequestIds,
    settings::{OpenReport, Settings, fit_segments, frame_bytes_max},
    writer::{Tally, Writer, bytes_on_disk},
};
use crate::runtime::Clock;

/// The log on this machine's disk. Dropping it is as safe as kill -9; [`Log::close`] also waits for the writer.
#[derive(Debug)]
pub struct EmbeddedLog {
    shared: Arc<Shared>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug)]
struct Shared {
    directory: Arc<Directory>,
    catalogue: Arc<Catalogue>,
    destinations: Arc<Destinations>,
    queue: Arc<Queue>,
    repeats: Repeats,
    tally: Arc<Tally>,
    durable: watch::Receiver<Durable>,
    ids: RequestIds,
    readable: Arc<Readable>,
    frame_bytes_max: usize,
}

impl EmbeddedLog {
    /// Opens the log in a directory, or creates it, and recovers what a crash left. Blocks the thread for as long as
    /// it takes to read the newest segment.
    ///
    /// # Errors
    /// If the operating system refuses, another agent holds the log, or somebody must look: see
    /// [`LogError::Halted`].
    pub fn open(settings: Settings, clock: Arc<dyn Clock>) -> Result<(Self, OpenReport), LogError> {
        Self::open_on(Arc::new(Disk), settings, clock)
    }

    /// Opens the log on these files.
    pub(super) fn open_on(
        files: Arc<dyn FileSystem>,
        settings: Settings,
        clock: Arc<dyn Clock>,
    ) -> Result<(Self, OpenReport), LogError> {
        let (log, mut writer, report) = Self::open_unattended(files, settings, clock)?;
        let no_thread = at(&log.shared.directory.path);
        writer.answerer = Some(Answerer::start().map_err(&no_thread)?);
        let thread = thread::Builder::new().name("log-writer".to_owned()).spawn(move || writer.run());
        let thread = thread.map_err(no_thread)?;
        *log.writer.lock().unwrap_or_else(PoisonError::into_inner) = Some(thread);
        Ok((log, report))
    }

    /// Opens the log without starting its writer: whoever calls drives it, for instance turn by turn on one thread.
    pub(super) fn open_unattended(
        files: Arc<dyn FileSystem>,
        settings: Settings,
        clock: Arc<dyn Clock>,
    ) -> Result<(Self, Writer, OpenReport), LogError> {
        let Settings { dir, disk_bytes_max, segment_bytes, retention, destinations } = settings;
        let segment_bytes = fit_segments(&dir, segment_bytes, disk_bytes_max)?;
        let random = SystemRandom::new();
        let Opened { directory, created, removed, mut alerts } = directory::open(files, &dir, &random)?;
        let directory = Arc::new(directory);
        let mut recovered = recovery::examine(&directory)?;
        let sizes =
            recovered.segments.iter().map(|(segment, bytes)| (segment.clone(), bytes_on_disk(*bytes)));
        let files = directory.files.clone();
        let catalogue = Arc::new(Catalogue::new(files.clone(), dir, disk_bytes_max, retention, sizes));
        let recovered_durable = recovered.durable;
        let (durable_tx, durable) = watch::channel(recovered_durable);
        // This compares the cursors with the log's end, before anything is cut.
        let (destinations, found) = Destinations::open(
            directory.clone(),
            catalogue.clone(),
            durable.clone(),
            clock.clone(),
            destinations,
        )?;
        let destinations = Arc::new(destinations);
        alerts.extend(found);
        alerts.append(&mut recovered.alerts);
        let last = recovered.last;
        let mut report = OpenReport {
            log_id: directory.log_id,
            created,
            segments: recovered.segments.len(),
            start: position(catalogue.start()),
            end: position(last.end),
            torn_bytes: recovered.torn_bytes,
            temporary_files: removed,
            versions_ahead: Duration::from_micros(last.last_version.saturating_sub(clock.now().0)),
            keys: 0,
            keys_reach: Duration::ZERO,
            alerts,
        };
        let sealed = mem::take(&mut recovered.keys);
        let active = recovered.settle(segment_bytes)?;
        if let Some(active) = &active {
            catalogue.resize_newest(bytes_on_disk(active.limit));
        }
        let (keys, found) =
            idempotency::rebuild(&directory, &sealed, active.as_ref(), Bounds::DEFAULT, clock.now())?;
        report.alerts.extend(found);
        (report.keys, report.keys_reach) = (keys.keys(), keys.reach());
        let newest = Arc::new(Newest::default());
        let (queue, tally) = (Arc::new(Queue::new()), Arc::new(Tally::default()));
        let writer = Writer {
            ids: RequestIds::new(directory.log_id, &directory.key),
            queue: queue.clone(),
            directory: directory.clone(),
            catalogue: catalogue.clone(),
            destinations: destinations.clone(),
            end_byte: catalogue.byte_of(last.end, &recovered_durable),
            durable: durable_tx,
            newest: newest.clone(),
            clock: clock.clone(),
            random,
            segment_bytes,
            active,
            last,
            taken: Vec::new(),
            group: Group::default(),
            waiting: Vec::new(),
            answerer: None,
            tally: tally.clone(),
            no_space_until: None,
        };
        let readable = Arc::new(Readable {
            log_id: directory.log_id,
            files,
            catalogue: catalogue.clone(),
            buffers: Buffers::default(),
            newest,
        });
        let ids = RequestIds::new(directory.log_id, &directory.key);
        let repeats = Repeats::new(keys, clock, ids, readable.clone(), durable.clone());
        let shared = Shared {
            readable,
            ids: RequestIds::new(directory.log_id, &directory.key),
            frame_bytes_max: frame_bytes_max(segment_bytes),
            directory,
            catalogue,
            destinations,
            queue,
            repeats,
            tally,
            durable,
        };
        Ok((Self { shared: Arc::new(shared), writer: Mutex::default() }, writer, report))
    }
}

#[async_trait]
impl Log for EmbeddedLog {
    fn id(&self) -> LogId {
        self.shared.directory.log_id
    }

    /// # Panics
    /// If the request holds no record.
    async fn append(&self, request: Append) -> Result<Appended, AppendError> {
        assert!(request.records > 0, "a request holds at least one record");
        // Before anything else: what was accepted once is answered so, whatever has become of the log.
        let claim = match self.shared.repeats.claim(&request).await? {
            Claimed::New(claim) => claim,
            Claimed::Repeat(appended) => return Ok(appended),
        };
        let (bytes, limit) = (frame::size_of(&request), self.shared.frame_bytes_max);
        if bytes > limit {
            return Err(AppendError::TooLarge { bytes, limit });
        }
        self.shared.alive()?;
        let answer = self.shared.queue.put(request, claim).await?;
        match answer.await {
            Ok(answer) => answer,
            // The writer is gone without an answer: it was closed, or it panicked.
            Err(_) => Err(self.shared.alive().err().unwrap_or(AppendError::Closed)),
        }
    }

    async fn recall(&self, request: &Append) -> Result<Option<Appended>, AppendError> {
        self.shared.repeats.recall(request).await
    }

    async fn read_from(&self, from: Position) -> Result<Box<dyn Reader>, ReadError> {
        Ok(Box::new(self.shared.reader(from.offset)?))
    }

    async fn subscribe(&self, destination: &str, from: From) -> Result<Subscription, LogError> {
        let (shared, destination) = (self.shared.clone(), destination.to_owned());
        on_blocking_thread(move || shared.destinations.subscribe(&destination, from)).await
    }

    async fn commit(&self, destination: &str, progress: &Progress) -> Result<(), LogError> {
        let (shared, destination, progress) = (self.shared.clone(), destination.to_owned(), progress.clone());
        on_blocking_thread(move || shared.destinations.commit(&destination, &progress)).await
    }

    async fn resume(&self, destination: &str, from: From) -> Result<Gap, LogError> {
        let (shared, destination) = (self.shared.clone(), destination.to_owned());
        on_blocking_thread(move || shared.destinations.resume(&destination, from)).await
    }

    async fn configure(&self, bounds: LogBounds) -> Result<(), LogError> {
        let shared = self.shared.clone();
        on_blocking_thread(move || {
            shared.catalogue.bound(bounds.disk_bytes_max, bounds.retention);
            shared.destinations.configure(bounds.destinations);
            Ok(())
        })
        .await
    }

    async fn leave(&self, destination: &str) -> Result<(), LogError> {
        let (shared, destination) = (self.shared.clone(), destination.to_owned());
        on_blocking_thread(move || {
            shared.destinations.leave(&destination);
            Ok(())
        })
        .await
    }

    async fn forget(&self, destination: &str) -> Result<(), LogError> {
        let (shared, destination) = (self.shared.clone(), destination.to_owned());
        on_blocking_thread(move || shared.destinations.forget(&destination)).await
    }

    async fn rewind(&self, destination: &str, from: From, dry_run: bool) -> Result<Rewound, LogError> {
        let (shared, destination) = (self.shared.clone(), destination.to_owned());
        on_blocking_thread(move || shared.destinations.rewind(&destination, from, dry_run)).await
    }

    async fn served(&self) -> Result<Vec<(String, Option<Progress>)>, LogError> {
        let shared = self.shared.clone();
        on_blocking_thread(move || shared.destinations.served()).await
    }

    async fn at_time(&self, time: Timestamp) -> Result<AtTime, ReadError> {
        let (start, end) = (self.shared.catalogue.start(), self.shared.durable.borrow().end);
        // Clocks may jump, so this is a place where the times pass `time`, of which there may be several.
        let (mut before, mut after) = (start, end);
        let mut oldest = None;
        while before < after {
            let middle = if oldest.is_none() { start } else { before + (after - before) / 2 };
            let Some(frame) = self.shared.frame_at(middle).await? else { break };
            let oldest = *oldest.get_or_insert(frame.accepted_at);
            if time < oldest {
                return Ok(AtTime::BeforeStart(oldest));
            }
            if frame.accepted_at < time {
                before = frame.position.offset + u64::from(frame.records);
            } else {
                after = frame.position.offset;
            }
        }
        Ok(AtTime::Found(position(before)))
    }

    async fn gaps(&self, destination: &str) -> Result<Vec<Gap>, LogError> {
        let (shared, destination) = (self.shared.clone(), destination.to_owned());
        on_blocking_thread(move || shared.destinations.read_gaps(&destination)).await
    }

    async fn give_back(&self) -> Result<(), LogError> {
        let shared = self.shared.clone();
        on_blocking_thread(move || shared.destinations.give_back()).await
    }

    async fn locate(&self, request_id: RequestId) -> Result<Located, ReadError> {
        let Some(offset) = self.shared.ids.offset_of(request_id) else {
            return Ok(Located::NotFound);
        };
        if offset >= self.shared.durable.borrow().end {
            return Ok(Located::NotFound);
        }
        match self.shared.frame_at(offset).await {
            Ok(Some(frame)) if frame.request_id == request_id => Ok(Located::Found(position(offset))),
            Ok(_) => Ok(Located::NotFound),
            Err(ReadError::BelowStart { .. } | ReadError::GivenUp { .. }) => Ok(Located::Expired),
            Err(error @ (ReadError::Rotten { .. } | ReadError::Io { .. } | ReadError::Closed)) => Err(error),
        }
    }

    fn status(&self) -> LogStatus {
        let Shared { directory, catalogue, destinations, tally, durable, .. } = &*self.shared;
        let (keys, keys_reach) = self.shared.repeats.size();
        // Not within the expression below: the guard would live through all of it, and whoever looks again while the
        // writer waits for it waits for ever.
        let Durable { end, last_version, .. } = *durable.borrow();
        LogStatus {
            start: position(catalogue.start()),
            end: position(end),
            last_version: Version(last_version),
            disk_bytes: catalogue.bytes(),
            held_bytes: catalogue.held_bytes(),
            disk_bytes_max: catalogue.disk_bytes_max(),
            backlogs: destinations.backlogs(),
            keys,
            keys_reach,
            segments: catalogue.segments(),
            written: tally.written(),
            poisoned: directory.poisoned().map(str::to_owned),
        }
    }

    async fn close(&self) {
        self.shared.queue.close();
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(writer) = writer {
            // A panic of the writer has poisoned the log, and is reported there.
            let _ = spawn_blocking(move || writer.join()).await;
        }
    }
}

impl Drop for EmbeddedLog {
    fn drop(&mut self) {
        self.shared.queue.close();
    }
}

impl Shared {
    fn alive(&self) -> Result<(), AppendError> {
        match self.directory.poisoned() {
            Some(cause) => Err(AppendError::Poisoned { cause: cause.to_owned() }),
            None => Ok(()),
        }
    }

    /// The frame that holds a durable offset.
    async fn frame_at(&self, offset: u64) -> Result<Option<Frame>, ReadError> {
        Ok(self.reader(offset)?.next().await?.into_iter().next())
    }

    fn reader(&self, from: u64) -> Result<EmbeddedReader, ReadError> {
        let start = self.catalogue.start();
        if from < start {
            return Err(below_start(from, start));
        }
        Ok(EmbeddedReader::new(self.readable.clone(), self.durable.clone(), from))
    }
}

fn position(offset: u64) -> Position {
    Position { partition: 0, offset }
}

async fn on_blocking_thread<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, LogError> + Send + 'static,
) -> Result<T, LogError> {
    match spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) if error.is_panic() => panic::resume_unwind(error.into_panic()),
        // The runtime is shutting down.
        Err(_) => Err(LogError::Closed),
    }
}
