//! Compiled modules, kept on disk so that a start need not compile them again; `FORMAT.md` has the bytes.
//!
//! Compiled code is trusted blindly by whoever runs it, so what comes from here has been authenticated: [`CompiledCode`]
//! is made by nothing else. A cache that cannot be read or written costs time, never a start.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    time::SystemTime,
};

use ring::{
    digest::{SHA256, digest},
    hmac,
    rand::{SecureRandom, SystemRandom},
};
use rustix::fs::OFlags;

use super::Digest;

const MAGIC: &[u8; 8] = b"SAGCODE1";
const TAG_BYTES: usize = 32;
const KEY_BYTES: usize = 32;

/// What is kept at most; a module in Python compiles to some 40 MiB.
const ENTRIES_MAX: usize = 64;
const BYTES_MAX: u64 = 1 << 30;

/// Code that this agent has compiled, as its MAC proves.
pub(super) struct CompiledCode(Vec<u8>);

impl CompiledCode {
    /// The code.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// The directory of one agent.
pub(super) struct Cache {
    dir: PathBuf,
    key: hmac::Key,
    /// Fingerprint of the engine: 16 hexadecimal digits.
    engine: String,
}

impl Cache {
    /// Opens or makes the directory; `engine` is the fingerprint of what compiles and runs the code.
    ///
    /// # Errors
    /// Whatever keeps the directory or the key from being made; there is no cache then.
    pub(super) fn open(dir: &Path, engine: u64) -> io::Result<Self> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        fs::set_permissions(dir, fs::Permissions::from_mode(0o700))?;
        for entry in fs::read_dir(dir)?.flatten() {
            if entry.path().extension().is_some_and(|extension| extension == "new") {
                let _ = fs::remove_file(entry.path());
            }
        }
        let key = hmac::Key::new(hmac::HMAC_SHA256, &key(dir)?);
        Ok(Self { dir: dir.to_owned(), key, engine: format!("{engine:016x}") })
    }

    /// The code that a module was compiled to, if it is here and whole.
    pub(super) fn get(&self, module: &Digest) -> Option<CompiledCode> {
        let path = self.path(module);
        let mut bytes = match read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "compiled module cannot be read: compiling it again");
                return None;
            }
        };
        let Some(code) = self.verified(module, &bytes) else {
            tracing::warn!(path = %path.display(), "compiled module is not what this agent wrote: compiling it again");
            let _ = fs::remove_file(&path);
            return None;
        };
        let start = bytes.len() - code.len();
        bytes.drain(..start);
        // The least recently used go first.
        let _ = File::options().write(true).open(&path).and_then(|file| file.set_modified(SystemTime::now()));
        Some(CompiledCode(bytes))
    }

    /// Keeps the code that a module was compiled to, and lets old files go.
    pub(super) fn put(&self, module: &Digest, code: &[u8]) {
        let path = self.path(module);
        let tag = hmac::sign(&self.key, &self.signed(module, code));
        if let Err(error) = write(&path, &[MAGIC, tag.as_ref(), code]) {
            tracing::warn!(path = %path.display(), %error, "compiled module cannot be kept: the next start compiles it again");
        }
        if let Err(error) = self.shrink(ENTRIES_MAX, BYTES_MAX) {
            tracing::warn!(dir = %self.dir.display(), %error, "old compiled modules cannot be removed");
        }
    }

    /// Forgets code that turned out not to load.
    pub(super) fn remove(&self, module: &Digest) {
        let _ = fs::remove_file(self.path(module));
    }

    fn path(&self, module: &Digest) -> PathBuf {
        self.dir.join(format!("{module}-{}.code", self.engine))
    }

    /// What of these bytes is code; `None` if anything is not as it was written.
    fn verified<'a>(&self, module: &Digest, bytes: &'a [u8]) -> Option<&'a [u8]> {
        let (tag, code) = bytes.strip_prefix(MAGIC)?.split_at_checked(TAG_BYTES)?;
        hmac::verify(&self.key, &self.signed(module, code), tag).ok().map(|()| code)
    }

    /// What the MAC covers.
    fn signed(&self, module: &Digest, code: &[u8]) -> Vec<u8> {
        [MAGIC, &module.0[..], self.engine.as_bytes(), digest(&SHA256, code).as_ref()].concat()
    }

    /// Removes the least recently used files beyond these bounds.
    fn shrink(&self, entries_max: usize, bytes_max: u64) -> io::Result<()> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.dir)?.flatten() {
            let path = entry.path();
            if path.extension().is_some_and(|extension| extension == "code")
                && let Ok(metadata) = entry.metadata()
            {
                files.push((metadata.modified()?, metadata.len(), path));
            }
        }
        files.sort_unstable_by(|a, b| b.cmp(a));
        let mut bytes = 0;
        for (at, (_, length, path)) in files.into_iter().enumerate() {
            bytes += length;
            if at >= entries_max || bytes > bytes_max {
                fs::remove_file(path)?;
            }
        }
        Ok(())
    }
}

/// The key in this directory; a new one if there is none that can be trusted.
fn key(dir: &Path) -> io::Result<[u8; KEY_BYTES]> {
    let path = dir.join("key");
    match read_key(&path) {
        Ok(key) => return Ok(key),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "key of compiled modules is replaced: they are compiled again");
        }
    }
    let mut key = [0; KEY_BYTES];
    SystemRandom::new().fill(&mut key).map_err(|_| io::Error::other("the system has no random bytes"))?;
    write(&path, &[&key])?;
    Ok(key)
}

fn read_key(path: &Path) -> io::Result<[u8; KEY_BYTES]> {
    let file = open(path)?;
    let metadata = file.metadata()?;
    if metadata.uid() != rustix::process::geteuid().as_raw() || metadata.mode() & 0o077 != 0 {
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, "it is not this user's alone"));
    }
    let mut bytes = Vec::new();
    file.take(KEY_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    let length = bytes.len();
    bytes.try_into().map_err(|_| io::Error::other(format!("it has {length} bytes instead of {KEY_BYTES}")))
}

/// Links are not followed: nothing here is one.
fn open(path: &Path) -> io::Result<File> {
    let flags = OFlags::NOFOLLOW.bits().cast_signed();
    OpenOptions::new().read(true).custom_flags(flags).open(path)
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let file = open(path)?;
    let mut bytes = Vec::new();
    file.take(BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Puts a file into its place whole, or not at all.
fn write(path: &Path, parts: &[&[u8]]) -> io::Result<()> {
    let new = path.with_file_name(format!("{:016x}.new", fastrand::u64(..)));
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
    let written =
        parts.iter().try_for_each(|part| file.write_all(part)).and_then(|()| fs::rename(&new, path));
    if written.is_err() {
        let _ = fs::remove_file(&new);
    }
    written
}

#[cfg(test)]
mod tests;
