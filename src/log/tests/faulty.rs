//! The real disk behind a hook that sees every call before it is made, and may hold or fail it. Reads and writes may be
//! made short.

use std::{
    ffi::OsString,
    fmt,
    io::{self, IoSlice},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use rustix::io::Errno;

use crate::log::files::{Access, Disk, File, FileSystem};

/// What the log asks of the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Call {
    CreateDirectory,
    List,
    SyncDirectory,
    Lock,
    Create,
    Open,
    Rename,
    Remove,
    Size,
    Read,
    Write,
    Allocate,
    Truncate,
    SyncData,
    SyncAll,
}

/// Called with each call and the path that it is for (of a rename, the new one).
type Hook = dyn Fn(Call, &Path) -> io::Result<()> + Send + Sync;

/// The call that failed, once it did.
#[derive(Clone, Debug, Default)]
pub(super) struct Struck(Arc<Mutex<Option<(Call, PathBuf)>>>);

impl Struck {
    pub(super) fn get(&self) -> Option<(Call, PathBuf)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Call {
    /// Whether it changes what is on the disk.
    pub(super) fn changes(self) -> bool {
        !matches!(self, Self::List | Self::Lock | Self::Open | Self::Size | Self::Read)
    }
}

/// See the module's text.
#[derive(Clone)]
pub(super) struct Faulty {
    hook: Arc<Mutex<Arc<Hook>>>,
    /// The most that is read or written at once.
    bytes_max: Arc<AtomicUsize>,
}

impl Faulty {
    /// A disk that lets everything pass.
    pub(super) fn new() -> Self {
        Self {
            hook: Arc::new(Mutex::new(Arc::new(|_, _| Ok(())))),
            bytes_max: Arc::new(AtomicUsize::new(usize::MAX)),
        }
    }

    /// From now on no more than `bytes_max` bytes are read or written at once.
    pub(super) fn shorten(&self, bytes_max: usize) {
        self.bytes_max.store(bytes_max, Ordering::SeqCst);
    }

    /// From now on every call passes.
    pub(super) fn heal(&self) {
        self.set(|_, _| Ok(()));
    }

    /// Lets the call with this number fail, counted from 0 among those that `counts` chooses, and no other. What
    /// is returned says which it was, once it failed.
    pub(super) fn fail_nth(
        &self,
        nth: usize,
        errno: Errno,
        counts: impl Fn(Call, &Path) -> bool + Send + Sync + 'static,
    ) -> Struck {
        let (seen, struck) = (AtomicUsize::new(0), Struck::default());
        let found = struck.clone();
        self.set(move |call, path| {
            if !counts(call, path) || seen.fetch_add(1, Ordering::SeqCst) != nth {
                return Ok(());
            }
            *found.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((call, path.to_owned()));
            Err(io::Error::from_raw_os_error(errno.raw_os_error()))
        });
        struck
    }

    /// From now on `hook` decides.
    pub(super) fn set(&self, hook: impl Fn(Call, &Path) -> io::Result<()> + Send + Sync + 'static) {
        *self.hook.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(hook);
    }

    /// From now on every read of a segment fails.
    pub(super) fn fail_reads(&self) {
        self.set(|call, path| {
            let is_segment = path.extension().is_some_and(|extension| extension == "seg");
            if call == Call::Read && is_segment { Err(Errno::IO.into()) } else { Ok(()) }
        });
    }

    fn pass(&self, call: Call, path: &Path) -> io::Result<()> {
        // The lock is not held while the hook does what it likes.
        let hook = self.hook.lock().unwrap_or_else(PoisonError::into_inner).clone();
        hook(call, path)
    }

    fn wrap(&self, path: &Path, file: Arc<dyn File>) -> Arc<dyn File> {
        Arc::new(FaultyFile { disk: self.clone(), path: path.to_owned(), file })
    }
}

impl fmt::Debug for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Faulty").finish_non_exhaustive()
    }
}

impl FileSystem for Faulty {
    fn create_directory(&self, path: &Path) -> io::Result<()> {
        self.pass(Call::CreateDirectory, path)?;
        Disk.create_directory(path)
    }

    fn is_directory(&self, path: &Path) -> bool {
        Disk.is_directory(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<OsString>> {
        self.pass(Call::List, path)?;
        Disk.list(path)
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        self.pass(Call::SyncDirectory, path)?;
        Disk.sync_directory(path)
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Arc<dyn File>>> {
        self.pass(Call::Lock, path)?;
        Disk.lock(path)
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        self.pass(Call::Create, path)?;
        Ok(self.wrap(path, Disk.create(path)?))
    }

    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn File>> {
        self.pass(Call::Open, path)?;
        Ok(self.wrap(path, Disk.open(path, access)?))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.pass(Call::Rename, to)?;
        Disk.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.pass(Call::Remove, path)?;
        Disk.remove(path)
    }
}

/// An open file; it keeps the path that it was opened or created by.
#[derive(Debug)]
struct FaultyFile {
    disk: Faulty,
    path: PathBuf,
    file: Arc<dyn File>,
}

impl File for FaultyFile {
    fn size(&self) -> io::Result<u64> {
        self.disk.pass(Call::Size, &self.path)?;
        self.file.size()
    }

    fn read_some(&self, at: u64, into: &mut [u8]) -> io::Result<usize> {
        self.disk.pass(Call::Read, &self.path)?;
        let length = into.len().min(self.disk.bytes_max.load(Ordering::SeqCst));
        self.file.read_some(at, &mut into[..length])
    }

    fn write_some(&self, pieces: &[IoSlice<'_>], at: u64) -> io::Result<usize> {
        self.disk.pass(Call::Write, &self.path)?;
        let bytes: Vec<u8> = pieces.iter().flat_map(|piece| piece.iter().copied()).collect();
        let length = bytes.len().min(self.disk.bytes_max.load(Ordering::SeqCst));
        self.file.write_some(&[IoSlice::new(&bytes[..length])], at)
    }

    fn allocate(&self, bytes: u64) -> io::Result<()> {
        self.disk.pass(Call::Allocate, &self.path)?;
        self.file.allocate(bytes)
    }

    fn truncate(&self, bytes: u64) -> io::Result<()> {
        self.disk.pass(Call::Truncate, &self.path)?;
        self.file.truncate(bytes)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.disk.pass(Call::SyncData, &self.path)?;
        self.file.sync_data()
    }

    fn sync_all(&self) -> io::Result<()> {
        self.disk.pass(Call::SyncAll, &self.path)?;
        self.file.sync_all()
    }
}
