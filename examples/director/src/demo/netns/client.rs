//! A client's connection over the kernel's TCP, from an address of its own.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddrV4, TcpStream};
use std::time::{Duration, Instant};

use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect as start, socket_with};

/// How long a client waits for anything.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often it looks.
const LOOK_EVERY: Duration = Duration::from_millis(1);

/// Begins to connect, in the calling thread's namespace.
pub(super) fn connect(client: Ipv4Addr, server: SocketAddrV4) -> io::Result<TcpStream> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
    bind(&socket, &SocketAddrV4::new(client, 0))?;
    match start(&socket, &server) {
        Ok(()) | Err(rustix::io::Errno::INPROGRESS) => Ok(TcpStream::from(socket)),
        Err(error) => Err(error.into()),
    }
}

/// Waits for the end of the handshake.
pub(super) fn wait_open(stream: &TcpStream) -> io::Result<()> {
    wait(|| match stream.take_error()? {
        Some(error) => Err(error),
        None => Ok(stream.peer_addr().ok()),
    })?;
    stream.set_nodelay(true)
}

pub(super) fn send(mut stream: &TcpStream, bytes: &[u8]) -> io::Result<()> {
    // Requests are shorter than any send buffer.
    stream.write_all(bytes)
}

/// Waits until all of an answer has come.
pub(super) fn receive(
    mut stream: &TcpStream,
    complete: &dyn Fn(&[u8]) -> bool,
) -> io::Result<Vec<u8>> {
    let mut received = Vec::new();
    wait(|| {
        let mut buffer = [0; 4096];
        match stream.read(&mut buffer) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(count) => received.extend_from_slice(&buffer[..count]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        Ok(complete(&received).then_some(()))
    })?;
    Ok(received)
}

/// Says FIN and waits for the server's.
pub(super) fn close(mut stream: &TcpStream) -> io::Result<()> {
    stream.shutdown(Shutdown::Write)?;
    wait(|| match stream.read(&mut [0; 4096]) {
        Ok(0) => Ok(Some(())),
        Ok(_) => Ok(None),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error),
    })
}

/// Tries until there is something, for as long as a client waits.
fn wait<T>(mut attempt: impl FnMut() -> io::Result<Option<T>>) -> io::Result<T> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(there) = attempt()? {
            return Ok(there);
        }
        if Instant::now() > deadline {
            return Err(ErrorKind::TimedOut.into());
        }
        std::thread::sleep(LOOK_EVERY);
    }
}
