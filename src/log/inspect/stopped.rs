//! The directory of a log that no agent uses. Opening it reads headers, footers and small files and judges nothing:
//! what is damaged is kept as such, for those who look.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use plugin_api::identity::LogId;

use crate::log::{
    cursor,
    directory::{self, at, halted},
    files::{Access, Disk, File, FileSystem},
    gaps,
    interface::{Gap, LogError, Progress},
    request_id::{KEY_BYTES, RequestIds},
    sections::FormatError,
    segment,
    segment_footer::Footer,
    segment_header::{self, HEADER_BYTES, Header, Previous},
    served,
    skipped::{self, SkippedRange, Skips},
};

/// A log's directory, locked against agents for as long as this lives.
#[derive(Debug)]
pub struct StoppedLog {
    pub(super) files: Arc<dyn FileSystem>,
    pub(super) path: PathBuf,
    pub(super) identity: Result<LogId, FormatError>,
    /// The id that the files are compared with: where the identity is broken, that of the first header.
    pub(super) log_id: LogId,
    pub(super) ids: Option<RequestIds>,
    /// Oldest first.
    pub(super) segments: Vec<Sighted>,
    pub(super) skipped: Result<Vec<SkippedRange>, FormatError>,
    pub(super) listed: Result<BTreeSet<String>, FormatError>,
    /// Every destination that is listed or has a cursor's file.
    pub(super) cursors: BTreeMap<String, Result<Progress, FormatError>>,
    /// What each of them has missed.
    pub(super) gaps: BTreeMap<String, Result<Vec<Gap>, FormatError>>,
    /// Files under temporary names.
    pub(super) temporary: Vec<PathBuf>,
    /// None where the directory has no lock's file, or cannot be written to: then no agent can use it either.
    pub(super) lock: Option<Arc<dyn File>>,
}

const IN_USE: &str = "an agent uses this log: stop it, or look at a copy of its data directory";

/// A segment as it was found.
#[derive(Debug)]
pub(super) struct Sighted {
    pub(super) path: PathBuf,
    pub(super) file: Arc<dyn File>,
    pub(super) size: u64,
    /// As its name says.
    pub(super) base: u64,
    pub(super) header: Result<Header, FormatError>,
    /// By the header, else by what the next segment's header says of this one.
    pub(super) nonce: Option<u64>,
    pub(super) footer: Result<Footer, FormatError>,
    /// The byte where frames end at the latest.
    pub(super) limit: u64,
    /// What the next segment's header says of this one.
    pub(super) next: Option<Previous>,
    pub(super) skips: Skips,
}

impl StoppedLog {
    /// Opens the log in a directory and keeps agents from it. Blocks on the disk, as all of this does.
    ///
    /// # Errors
    /// If there is no log, an agent uses it, or the operating system refuses.
    pub fn open(path: &Path) -> Result<Self, LogError> {
        Self::open_on(Arc::new(Disk), path)
    }

    pub(in crate::log) fn open_on(files: Arc<dyn FileSystem>, path: &Path) -> Result<Self, LogError> {
        if !files.is_directory(path) {
            let what = "there is no log here: name the agent's data directory with --data-dir, or its config with \
                        --config";
            return Err(halted(path, what));
        }
        let lock = lock(&*files, path)?;
        let names = files.list_sorted(path).map_err(at(path))?;
        let bases: Vec<u64> = names.iter().filter_map(|name| segment::base_of(name.as_ref())).collect();
        let identity_path = path.join(directory::IDENTITY);
        let identity = match files.read_small(&identity_path).map_err(at(&identity_path))? {
            Some(bytes) => directory::decode_identity(&bytes),
            None if bases.is_empty() => {
                return Err(halted(path, "there is no log here: no agent has used this directory yet"));
            }
            None => Err(FormatError::broken("it is missing")),
        };
        let mut segments = Vec::with_capacity(bases.len());
        for base in bases {
            segments.push(Sighted::read(&*files, segment::path_of(path, base), base)?);
        }
        let of_header = segments.iter().find_map(|segment| Some(segment.header.as_ref().ok()?.log_id));
        let log_id = identity.clone().ok().or(of_header).unwrap_or(LogId(uuid::Uuid::nil()));
        let skipped_path = path.join(directory::SKIPPED);
        let skipped = skipped::read(&*files, &skipped_path, log_id).map_err(at(&skipped_path))?;
        link(&mut segments, log_id, skipped.as_deref().unwrap_or_default());
        let Served { listed, cursors, gaps } = read_destinations(&*files, path, log_id)?;
        let mut temporary = temporary_in(path, names);
        let cursors_path = path.join(directory::CURSORS);
        temporary.extend(temporary_in(&cursors_path, list(&*files, &cursors_path)?));
        let ids = read_key(&*files, path)?.map(|key| RequestIds::new(log_id, &key));
        let path = path.to_owned();
        Ok(Self {
            files,
            path,
            identity,
            log_id,
            ids,
            segments,
            skipped,
            listed,
            cursors,
            gaps,
            temporary,
            lock,
        })
    }

    /// Which log it is.
    #[must_use]
    pub fn log_id(&self) -> LogId {
        self.log_id
    }

    /// Bytes of all segments, as far as they are read by [`StoppedLog::verify`].
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.size).sum()
    }

    /// Locks a directory that had no lock's file, before something in it is changed.
    pub(super) fn lock_to_change(&self) -> Result<Arc<dyn File>, LogError> {
        let path = self.path.join(directory::LOCK);
        let lock = self.files.lock(&path).map_err(at(&path))?;
        lock.ok_or_else(|| halted(&path, IN_USE))
    }

    /// The oldest offset that is there.
    pub(super) fn start(&self) -> u64 {
        self.segments.first().map_or(0, |segment| segment.base)
    }
}

impl Sighted {
    fn read(files: &dyn FileSystem, path: PathBuf, base: u64) -> Result<Self, LogError> {
        let file = files.open(&path, Access::Read).map_err(at(&path))?;
        let size = file.size().map_err(at(&path))?;
        let unreadable = |error: io::Error| FormatError::broken(format!("it cannot be read: {error}"));
        let header = file.read_at(0, HEADER_BYTES).map_err(unreadable);
        let header = header.and_then(|bytes| segment_header::decode(&bytes));
        let nonce = header.as_ref().ok().map(|header| header.nonce);
        let footer = Err(FormatError::broken("it cannot be read without the header"));
        Ok(Self {
            path,
            file,
            size,
            base,
            header,
            nonce,
            footer,
            limit: size,
            next: None,
            skips: Skips::default(),
        })
    }

    /// Whether nothing is written to it any more.
    pub(super) fn is_sealed(&self) -> bool {
        self.end().is_some()
    }

    /// The offset after its last record; `None` for a segment that is written to.
    pub(super) fn end(&self) -> Option<u64> {
        let of_footer = || Some(self.footer.as_ref().ok()?.summary.end);
        self.next.map(|next| next.end).or_else(of_footer)
    }

    fn read_footer(&mut self, nonce: u64) {
        let unreadable = |error: io::Error| FormatError::broken(format!("it cannot be read: {error}"));
        let footer = segment::read_footer(&*self.file, nonce).map_err(unreadable);
        self.footer = footer.and_then(|footer| footer);
        self.limit = self.footer.as_ref().map_or(self.size, Footer::frames_end);
    }
}

/// Lets each segment know what the next one says of it; with this, a header that is rotten can be done without.
fn link(segments: &mut [Sighted], log_id: LogId, skipped: &[SkippedRange]) {
    for index in 0..segments.len() {
        let next = segments.get(index + 1).and_then(|next| next.header.as_ref().ok().copied());
        let segment = &mut segments[index];
        let next = next.filter(|next| next.log_id == log_id && next.previous.end == next.base);
        let follows = |next: &Header| segment.nonce.is_none_or(|nonce| nonce == next.previous.nonce);
        segment.next = next.filter(follows).map(|next| next.previous);
        segment.nonce = segment.nonce.or(segment.next.map(|next| next.nonce));
        if let Some(nonce) = segment.nonce {
            segment.read_footer(nonce);
            segment.skips = Skips::of(skipped, segment.base, nonce);
        }
    }
}

fn lock(files: &dyn FileSystem, path: &Path) -> Result<Option<Arc<dyn File>>, LogError> {
    let lock_path = path.join(directory::LOCK);
    match files.open(&lock_path, Access::Read) {
        Ok(_) => {}
        // An agent makes it before anything else, so none is there; and nothing must be made here.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(at(&lock_path)(error)),
    }
    match files.lock(&lock_path) {
        Ok(Some(lock)) => Ok(Some(lock)),
        Ok(None) => Err(halted(&lock_path, IN_USE)),
        Err(error) if error.kind() == io::ErrorKind::ReadOnlyFilesystem => Ok(None),
        Err(error) => Err(at(&lock_path)(error)),
    }
}

struct Served {
    listed: Result<BTreeSet<String>, FormatError>,
    cursors: BTreeMap<String, Result<Progress, FormatError>>,
    gaps: BTreeMap<String, Result<Vec<Gap>, FormatError>>,
}

fn read_destinations(files: &dyn FileSystem, path: &Path, log_id: LogId) -> Result<Served, LogError> {
    let list_path = path.join(directory::DESTINATIONS);
    let listed = match files.read_small(&list_path).map_err(at(&list_path))? {
        Some(bytes) => served::decode(log_id, &bytes),
        None => Err(FormatError::broken("it is missing")),
    };
    let cursors_path = path.join(directory::CURSORS);
    let names = list(files, &cursors_path)?;
    let mut known: BTreeSet<String> =
        names.iter().filter_map(|name| cursor::destination_of(name.to_str()?)).collect();
    known.extend(listed.iter().flatten().cloned());
    let (mut cursors, mut gaps) = (BTreeMap::new(), BTreeMap::new());
    for name in known {
        let path = cursors_path.join(cursor::file_name(&name));
        let progress = match files.read_small(&path).map_err(at(&path))? {
            Some(bytes) => cursor::decode(log_id, &name, &bytes),
            None => Err(FormatError::broken("it is missing")),
        };
        let path = cursors_path.join(cursor::gaps_file_name(&name));
        if let Some(bytes) = files.read_small(&path).map_err(at(&path))? {
            gaps.insert(name.clone(), gaps::decode(log_id, &name, &bytes));
        }
        cursors.insert(name, progress);
    }
    Ok(Served { listed, cursors, gaps })
}

fn read_key(files: &dyn FileSystem, path: &Path) -> Result<Option<[u8; KEY_BYTES]>, LogError> {
    let path = path.join(directory::KEY);
    let bytes = files.read_small(&path).map_err(at(&path))?;
    Ok(bytes.and_then(|bytes| bytes.try_into().ok()))
}

fn list(files: &dyn FileSystem, path: &Path) -> Result<Vec<OsString>, LogError> {
    if files.is_directory(path) { files.list_sorted(path).map_err(at(path)) } else { Ok(Vec::new()) }
}

fn temporary_in(directory: &Path, names: Vec<OsString>) -> Vec<PathBuf> {
    let paths = names.into_iter().map(|name| directory.join(name));
    paths.filter(|path| path.extension().is_some_and(|extension| extension == "tmp")).collect()
}
