//! A listener that serves a bounded number of connections at once, and none that is idle for long.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::serve::Listener;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep, sleep};

pub(super) struct Bounded {
    inner: TcpListener,
    room: Arc<Semaphore>,
    idle: Duration,
}

impl Bounded {
    /// At most `most` connections; one over which nothing goes either way for `idle` ends.
    pub(super) fn new(inner: TcpListener, most: usize, idle: Duration) -> Self {
        Self { inner, room: Arc::new(Semaphore::new(most)), idle }
    }
}

impl Listener for Bounded {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        // Nobody closes the semaphore, so the permit is always there in the end.
        let permit = Arc::clone(&self.room).acquire_owned().await.ok();
        let (stream, from) = Listener::accept(&mut self.inner).await;
        let connection = Connection { stream, idle: self.idle, idle_over: Box::pin(sleep(self.idle)), _permit: permit };
        (connection, from)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }
}

/// A connection; its place is free again once it is dropped.
pub(super) struct Connection {
    stream: TcpStream,
    idle: Duration,
    idle_over: Pin<Box<Sleep>>,
    _permit: Option<OwnedSemaphorePermit>,
}

impl Connection {
    /// Begins the idle time anew where something went over the connection.
    fn noted<T>(&mut self, done: Poll<T>) -> Poll<T> {
        if done.is_ready() {
            let over = Instant::now() + self.idle;
            self.idle_over.as_mut().reset(over);
        }
        done
    }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let done = Pin::new(&mut self.stream).poll_read(context, into);
        if done.is_pending() && self.idle_over.as_mut().poll(context).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        self.noted(done)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        let done = Pin::new(&mut self.stream).poll_write(context, from);
        self.noted(done)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        from: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let done = Pin::new(&mut self.stream).poll_write_vectored(context, from);
        self.noted(done)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::net::TcpStream as Client;

    use tokio::runtime::{Builder, Runtime};

    use super::*;

    fn runtime() -> Runtime {
        Builder::new_current_thread().enable_all().build().unwrap()
    }

    async fn connected(idle: Duration) -> (Connection, Client) {
        let mut listener = Bounded::new(TcpListener::bind("127.0.0.1:0").await.unwrap(), 1, idle);
        let client = Client::connect(listener.local_addr().unwrap()).unwrap();
        (listener.accept().await.0, client)
    }

    async fn read(connection: &mut Connection) -> io::Result<usize> {
        let mut bytes = [0; 16];
        let mut buffer = ReadBuf::new(&mut bytes);
        poll_fn(|context| Pin::new(&mut *connection).poll_read(context, &mut buffer)).await?;
        Ok(buffer.filled().len())
    }

    #[test]
    fn a_connection_that_says_nothing_ends() {
        runtime().block_on(async {
            let (mut connection, _client) = connected(Duration::from_millis(50)).await;
            assert_eq!(read(&mut connection).await.unwrap_err().kind(), io::ErrorKind::TimedOut);
        });
    }

    #[test]
    fn what_is_written_keeps_a_connection_open() {
        runtime().block_on(async {
            let idle = Duration::from_secs(1);
            let (mut connection, _client) = connected(idle).await;
            for _ in 0..4 {
                let waited = tokio::time::timeout(idle / 3, read(&mut connection)).await;
                assert!(waited.is_err(), "neither data nor an end: {waited:?}");
                poll_fn(|context| Pin::new(&mut connection).poll_write(context, b": keep alive")).await.unwrap();
            }
        });
    }
}
