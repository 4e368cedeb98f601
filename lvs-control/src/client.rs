//! The side that asks.

use std::io::{self, BufReader};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::protocol::{Envelope, REPLY_MAX, Refusal, Reply, Request, VERSION};
use crate::wire::{self, ReadError};

/// How long a director may take for each part of an answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// A connection to a director's socket.
#[derive(Debug)]
pub struct Client {
    reader: BufReader<UnixStream>,
    line: Vec<u8>,
}

/// Why there is no connection to a director.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// There is no socket, or nobody listens at it.
    #[error(
        "no director is running at {}; start one, such as\n    lvs-director run --interface eth0 \
         --control{}",
        path.display(),
        control_path(path)
    )]
    NotRunning {
        /// The socket.
        path: PathBuf,
    },
    /// The socket belongs to somebody else.
    #[error(
        "you may not command the director at {}: be root or its owner, or in the socket's group \
         (ls -l {0})",
        path.display()
    )]
    NotAllowed {
        /// The socket.
        path: PathBuf,
    },
    /// Something else.
    #[error("cannot reach a director at {}: {source}", path.display())]
    Other {
        /// The socket.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

/// What to write behind `--control` for a socket.
fn control_path(path: &Path) -> String {
    match path == Path::new(crate::SOCKET_DEFAULT) {
        true => String::new(),
        false => format!(" {}", path.display()),
    }
}

/// Why a request has no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The director refused it.
    #[error("{0}")]
    Refused(#[from] Refusal),
    /// The connection ended.
    #[error("the director closed the connection: {0}")]
    Gone(io::Error),
    /// The answer makes no sense, perhaps because the versions differ.
    #[error("the director's answer cannot be understood: {0}")]
    Nonsense(String),
}

impl ClientError {
    /// The exit status of a command that failed so.
    pub fn status(&self) -> u8 {
        match self {
            ClientError::Refused(refusal) => refusal.status,
            _ => lvs_admin::ipvsadm::STATUS_REFUSED,
        }
    }
}

impl Client {
    /// Connects to the socket of a running director.
    ///
    /// # Errors
    /// Says what to do.
    pub fn connect(path: &Path) -> Result<Client, ConnectError> {
        let failed = |source: io::Error| {
            let path = path.to_owned();
            match source.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
                    ConnectError::NotRunning { path }
                }
                io::ErrorKind::PermissionDenied => ConnectError::NotAllowed { path },
                _ => ConnectError::Other { path, source },
            }
        };
        let stream = UnixStream::connect(path).map_err(failed)?;
        let patience = Some(PATIENCE);
        stream
            .set_read_timeout(patience)
            .and_then(|()| stream.set_write_timeout(patience))
            .map_err(failed)?;
        Ok(Client { reader: BufReader::with_capacity(1 << 16, stream), line: Vec::new() })
    }

    /// Sends a request. All of its replies are to be read, or the client dropped.
    ///
    /// # Errors
    /// If the director is gone.
    pub fn ask(&mut self, request: Request) -> Result<Replies<'_>, ClientError> {
        let envelope = Envelope { version: VERSION, request };
        let sent = wire::write_line(&mut self.reader.get_ref(), &mut self.line, &envelope);
        match sent {
            // Who refuses a connection says so before it reads.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
            Err(error) => return Err(ClientError::Gone(error)),
            Ok(()) => {}
        }
        Ok(Replies { client: self, ended: false })
    }

    /// Sends a request and hands each part of its answer to `take`.
    ///
    /// # Errors
    /// If the request is refused or the connection breaks; parts may have been handed over by then.
    pub fn for_each(
        &mut self,
        request: Request,
        mut take: impl FnMut(Reply) -> Result<(), ClientError>,
    ) -> Result<(), ClientError> {
        for reply in self.ask(request)? {
            take(reply?)?;
        }
        Ok(())
    }
}

/// The parts of an answer. They end with the answer, or with an error.
#[derive(Debug)]
pub struct Replies<'c> {
    client: &'c mut Client,
    ended: bool,
}

impl Replies<'_> {
    fn read(&mut self) -> Result<Reply, ClientError> {
        let Client { reader, line } = &mut *self.client;
        let line = match wire::read_line(reader, line, REPLY_MAX, &mut |_| Ok(())) {
            Ok(Some(line)) => line,
            Ok(None) => return Err(ClientError::Gone(io::ErrorKind::UnexpectedEof.into())),
            Err(ReadError::Io(error)) => return Err(ClientError::Gone(error)),
            Err(error) => return Err(ClientError::Nonsense(error.to_string())),
        };
        serde_json::from_slice(line).map_err(|error| ClientError::Nonsense(error.to_string()))
    }
}

impl Iterator for Replies<'_> {
    type Item = Result<Reply, ClientError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        match self.read() {
            Ok(Reply::Done) => {
                self.ended = true;
                None
            }
            Ok(Reply::Refused(refusal)) => {
                self.ended = true;
                Some(Err(refusal.into()))
            }
            Ok(reply) => Some(Ok(reply)),
            Err(error) => {
                self.ended = true;
                Some(Err(error))
            }
        }
    }
}
