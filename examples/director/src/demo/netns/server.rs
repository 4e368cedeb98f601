//! What runs on a real server, over the kernel's TCP.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};

use lvs_sim::peers::Service;

use super::namespace::Namespace;
use crate::demo::DemoError;
use crate::demo::shop::{Banner, Shop};

/// Starts the shop and the banner; they serve until the process ends.
pub(super) fn open(server: &Namespace, addr: Ipv4Addr, shop: &Shop) -> Result<(), DemoError> {
    serve(server, 80, shop.clone())?;
    serve(server, 443, shop.clone())?;
    serve(server, 22, Banner(addr))
}

fn serve<S>(server: &Namespace, port: u16, service: S) -> Result<(), DemoError>
where
    S: Service + Clone + Send + 'static,
{
    let listening = server.enter(|| TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)))?;
    let listener = listening.map_err(|error| server.failed(&format!("listen at {port}"), error))?;
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut service = service.clone();
            // A client that goes away in the middle is no business of the other ones.
            std::thread::spawn(move || drop(talk(stream, &mut service)));
        }
    });
    Ok(())
}

fn talk(mut stream: TcpStream, service: &mut impl Service) -> std::io::Result<()> {
    let SocketAddr::V4(client) = stream.peer_addr()? else { return Ok(()) };
    stream.write_all(&service.greet(client))?;
    let (mut received, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        let count = stream.read(&mut buffer)?;
        if count == 0 {
            return Ok(());
        }
        received.extend_from_slice(&buffer[..count]);
        let answer = service.answer(client, &received);
        received.drain(..answer.consumed.min(received.len()));
        stream.write_all(&answer.reply)?;
    }
}
