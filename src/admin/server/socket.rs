//! The unix socket: a file in the data directory that only its owner may use.

use std::{
    fs, io,
    os::unix::fs::{FileTypeExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use tokio::net::{UnixListener, UnixSocket};

use super::BindError;

/// What fits into `sun_path` beside the NUL (unix(7)).
pub(super) const PATH_BYTES_MAX: usize = 107;

/// Connections that wait to be accepted.
const WAITING_MAX: u32 = 64;

/// A socket that listens; its file goes with it.
#[derive(Debug)]
pub(super) struct Socket {
    pub(super) listener: UnixListener,
    path: PathBuf,
}

/// Where the socket of an agent with this data directory lies.
#[must_use]
pub fn socket_path(data_dir: &Path) -> PathBuf {
    data_dir.join("admin.sock")
}

impl Socket {
    /// Replaces what a killed agent has left.
    pub(super) fn bind(data_dir: &Path) -> Result<Self, BindError> {
        let path = socket_path(data_dir);
        let bytes = path.as_os_str().len();
        if bytes > PATH_BYTES_MAX {
            return Err(BindError::SocketPathTooLong { path, bytes });
        }
        match fs::symlink_metadata(&path) {
            Ok(found) if !found.file_type().is_socket() => return Err(BindError::NotASocket { path }),
            _ => {}
        }
        match Self::listen(&path) {
            Ok(listener) => Ok(Self { listener, path }),
            Err(source) => Err(BindError::Socket { path, source }),
        }
    }

    fn listen(path: &Path) -> io::Result<UnixListener> {
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let socket = UnixSocket::new_stream()?;
        socket.bind(path)?;
        // Before it listens: until then whoever connects is refused, whatever the umask made of the file.
        fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
        socket.listen(WAITING_MAX)
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // A file that stays is replaced at the next start.
        let _ = fs::remove_file(&self.path);
    }
}
