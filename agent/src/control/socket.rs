//! The socket's file: made so that nobody else can reach it, and taken over from an agent that ended in a hurry.

use std::fs::{DirBuilder, File, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

/// Root and the group may connect.
const SOCKET_MODE: u32 = 0o660;
/// Of the directory, where it is made here.
const DIRECTORY_MODE: u32 = 0o750;

/// Why there is no control socket; nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// Another agent listens there.
    #[error("{}: another agent listens here; set control.socket to a path of this agent's own", path.display())]
    InUse {
        /// The socket.
        path: PathBuf,
    },
    /// A file of another kind stands there.
    #[error("{}: is not a socket; set control.socket to another path, or remove it", path.display())]
    NotASocket {
        /// The file.
        path: PathBuf,
    },
    /// It cannot be made.
    #[error("{}: cannot listen here: {source}; set control.socket to a path in a directory that can be written", path.display())]
    Io {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// A socket that listens; its file goes when this does.
#[derive(Debug)]
pub struct ControlSocket {
    listener: UnixListener,
    path: PathBuf,
    inode: u64,
    /// Held as long as the socket is there: the kernel lets go of it however the process ends.
    _lock: File,
}

impl ControlSocket {
    /// Listens at `path`; a socket that an agent left behind is replaced.
    ///
    /// # Errors
    /// Another agent listens there, another file stands there, or it cannot be made.
    pub fn bind(path: &Path) -> Result<Self, ControlError> {
        let of = |source| ControlError::Io { path: path.to_owned(), source };
        if let Some(directory) = path.parent().filter(|directory| !directory.exists()) {
            DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(directory).map_err(of)?;
        }
        let lock = lock(path)?;
        match std::fs::symlink_metadata(path) {
            Ok(there) if !there.file_type().is_socket() => {
                return Err(ControlError::NotASocket { path: path.to_owned() });
            }
            _ => {}
        }
        let listener = beside_and_renamed(path).map_err(of)?;
        let inode = std::fs::symlink_metadata(path).map_err(of)?.ino();
        Ok(Self { listener, path: path.to_owned(), inode, _lock: lock })
    }

    /// For the runtime.
    ///
    /// # Errors
    /// Outside of a runtime, or the system has no room for another descriptor.
    pub fn listener(&self) -> io::Result<tokio::net::UnixListener> {
        let listener = self.listener.try_clone()?;
        listener.set_nonblocking(true)?;
        tokio::net::UnixListener::from_std(listener)
    }
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        if std::fs::symlink_metadata(&self.path).is_ok_and(|there| there.ino() == self.inode) {
            // The next agent replaces it where it stays.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

fn with(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

/// Whoever holds it may replace what stands at `path`.
fn lock(path: &Path) -> Result<File, ControlError> {
    let of = |source| ControlError::Io { path: path.to_owned(), source };
    let mut options = File::options();
    let file = options.create(true).truncate(false).write(true).mode(0o600).open(with(path, ".lock")).map_err(of)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(ControlError::InUse { path: path.to_owned() }),
        Err(TryLockError::Error(source)) => Err(of(source)),
    }
}

/// Under its name it is seen with its mode only.
fn beside_and_renamed(path: &Path) -> io::Result<UnixListener> {
    let beside = with(path, ".new");
    match std::fs::remove_file(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(&beside)?;
    std::fs::set_permissions(&beside, Permissions::from_mode(SOCKET_MODE))?;
    std::fs::rename(&beside, path)?;
    Ok(listener)
}
