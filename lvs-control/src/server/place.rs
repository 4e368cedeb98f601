//! The file of the socket.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use super::ServerError;

/// Who may connect: the owner and the group.
const MODE: u32 = 0o660;

/// A socket with its file, which was made by this process.
#[derive(Debug)]
pub struct Place {
    path: PathBuf,
    listener: UnixListener,
    /// Device and inode, so that nobody else's file is taken away at the end.
    file: (u64, u64),
}

impl Place {
    /// Makes the socket. What a director that was killed has left behind is taken away.
    ///
    /// # Errors
    /// If somebody listens there already, or the file cannot be made.
    pub fn take(path: &Path) -> Result<Place, ServerError> {
        let io = |source: io::Error| match source.kind() {
            io::ErrorKind::InvalidInput => ServerError::TooLong(path.to_owned()),
            _ => ServerError::Io { path: path.to_owned(), source },
        };
        make_folder(path).map_err(io)?;
        let listener = match UnixListener::bind(path) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                clear(path)?;
                UnixListener::bind(path).map_err(io)?
            }
            other => other.map_err(io)?,
        };
        fs::set_permissions(path, fs::Permissions::from_mode(MODE)).map_err(io)?;
        listener.set_nonblocking(true).map_err(io)?;
        let file = fs::metadata(path).map_err(io)?;
        Ok(Place { path: path.to_owned(), listener, file: (file.dev(), file.ino()) })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn listener(&self) -> &UnixListener {
        &self.listener
    }

    /// The user and the group of the file, if it is still there.
    pub(super) fn owners(&self) -> Option<(u32, u32)> {
        let file = fs::metadata(&self.path).ok()?;
        ((file.dev(), file.ino()) == self.file).then(|| (file.uid(), file.gid()))
    }

    /// Takes the file away, if it is still this one.
    pub(super) fn give_up(&self) {
        if self.owners().is_some()
            && let Err(error) = fs::remove_file(&self.path)
        {
            tracing::warn!("cannot remove {}: {error}", self.path.display());
        }
    }
}

/// Makes the folder of the default path, which is on a file system that starts empty. Other folders are
/// for their owners to make.
fn make_folder(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(folder) if path == Path::new(crate::SOCKET_DEFAULT) => fs::create_dir_all(folder),
        _ => Ok(()),
    }
}

/// Takes away a socket at which nobody listens.
fn clear(path: &Path) -> Result<(), ServerError> {
    let io = |source| ServerError::Io { path: path.to_owned(), source };
    let file = fs::symlink_metadata(path).map_err(io)?;
    if !file.file_type().is_socket() {
        return Err(ServerError::InTheWay(path.to_owned()));
    }
    match UnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            tracing::info!("{} was left behind; it is taken over", path.display());
            fs::remove_file(path).map_err(io)
        }
        // A queue that is full is somebody's.
        Ok(_) => Err(ServerError::Running(path.to_owned())),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            Err(ServerError::Running(path.to_owned()))
        }
        Err(error) => Err(io(error)),
    }
}
