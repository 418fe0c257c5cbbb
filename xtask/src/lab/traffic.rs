//! One TCP connection between two hosts, with steady traffic for a bounded time.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use super::helper::Helper;
use super::netns;
use super::network::Network;
use super::step::Tcp;
use crate::stop::Stop;

/// Where the receiver listens.
const PORT: u16 = 7000;
/// What the sender writes at a time; 1 KiB every 20 ms is 50 KiB/s.
const PIECE: [u8; 1024] = [0; 1024];
const EVERY: Duration = Duration::from_millis(20);
/// A full send buffer or a silent connection does not hold anybody up for longer.
const PATIENCE: Duration = Duration::from_millis(100);

/// Connects and begins to send; the threads end by themselves.
pub(crate) fn start(network: &Network, tcp: &Tcp, stop: &Stop) -> Result<[Helper; 2]> {
    let (from, to) = (network.host(&tcp.from)?, network.host(&tcp.to)?);
    let listener = to.namespace()?.enter(|| listen(to.addr))?;
    let end = Instant::now() + tcp.lasts;
    let receiver = Helper::spawn("tcp receiver", stop, move |stop| receive(&listener, end, stop))?;
    let (name, addr) = (from.namespace()?.name().to_owned(), to.addr);
    let sender = Helper::spawn("tcp sender", stop, move |stop| {
        netns::join(&name)?;
        send(addr, end, stop)
    })?;
    Ok([receiver, sender])
}

/// The socket stays in the namespace that it was made in.
fn listen(addr: Ipv4Addr) -> Result<TcpListener> {
    let listener = TcpListener::bind((addr, PORT)).context("the receiver of the TCP traffic")?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

fn send(to: Ipv4Addr, end: Instant, stop: &Stop) -> Result<()> {
    let to = SocketAddr::from((to, PORT));
    let mut stream = TcpStream::connect_timeout(&to, Duration::from_secs(2))?;
    stream.set_nodelay(true)?;
    stream.set_write_timeout(Some(PATIENCE))?;
    while Instant::now() < end {
        match stream.write(&PIECE) {
            Err(error) if !passing(&error) => return Err(error).context("sending TCP traffic"),
            _ => stop.sleep_until(Instant::now() + EVERY)?,
        }
    }
    Ok(())
}

fn receive(listener: &TcpListener, end: Instant, stop: &Stop) -> Result<()> {
    let mut stream = None;
    let mut buffer = [0; 16 * 1024];
    while Instant::now() < end {
        stop.check()?;
        match &mut stream {
            None => {
                stream = accept(listener)?;
                std::thread::sleep(Duration::from_millis(1));
            }
            Some(stream) => match stream.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Err(error) if !passing(&error) => return Err(error).context("receiving"),
                _ => {}
            },
        }
    }
    Ok(())
}

fn accept(listener: &TcpListener) -> Result<Option<TcpStream>> {
    match listener.accept() {
        Ok((stream, _)) => {
            stream.set_nonblocking(false)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            Ok(Some(stream))
        }
        Err(error) if passing(&error) => Ok(None),
        Err(error) => Err(error).context("accepting TCP traffic"),
    }
}

fn passing(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}
