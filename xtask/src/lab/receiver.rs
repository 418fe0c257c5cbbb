//! A server for the requests that a program beside the agents makes, such as notifications and traces: one after the other, each
//! with a connection of its own.

use std::io::{BufRead, BufReader, ErrorKind, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use flate2::read::GzDecoder;

use super::helper::Helper;
use crate::stop::Stop;

/// How long a request may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often it is looked whether somebody connects.
const LOOK: Duration = Duration::from_millis(20);
/// Lines of a head, and bytes of a line, at most.
const LINES: usize = 64;
const LINE: u64 = 8 << 10;

/// A request with a body of known length; the body is unpacked where it came packed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) path: String,
    pub(crate) body: Vec<u8>,
}

/// Listens on that address of the namespace that the thread is in, until `stop`. Whatever comes goes to `take`, a request, with
/// a body of at most `most` bytes, or why it cannot be read; only what it says that it took is answered.
pub(crate) fn listen(
    address: &str,
    most: u64,
    stop: &Stop,
    mut take: impl FnMut(Result<Request>) -> bool + Send + 'static,
) -> Result<Helper> {
    let listener = TcpListener::bind(address).with_context(|| format!("cannot listen on {address}"))?;
    listener.set_nonblocking(true)?;
    Helper::spawn("receiver", stop, move |stop| {
        while !stop.raised() {
            match listener.accept() {
                Ok((stream, _)) => {
                    if let Err(error) = serve(stream, most, &mut take) {
                        take(Err(error));
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    let _ = stop.sleep_until(Instant::now() + LOOK);
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    })
}

/// One request; the connection is closed with the answer.
fn serve(mut stream: TcpStream, most: u64, take: &mut impl FnMut(Result<Request>) -> bool) -> Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let Some(request) = read(&mut BufReader::new(&stream), most)? else { return Ok(()) };
    if take(Ok(request)) {
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")?;
    }
    Ok(())
}

/// Absent where the connection was closed without one.
fn read(from: &mut impl BufRead, most: u64) -> Result<Option<Request>> {
    if from.fill_buf()?.is_empty() {
        return Ok(None);
    }
    let first = line(from)?;
    let path = first.split(' ').nth(1).context("no path")?.to_owned();
    let (mut length, mut packed) = (None, false);
    for _ in 0..LINES {
        let line = line(from)?;
        if line.is_empty() {
            break;
        }
        let Some((name, value)) = line.split_once(':') else { continue };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = Some(value.trim().parse::<u64>()?),
            "content-encoding" => packed = value.trim() == "gzip",
            _ => {}
        }
    }
    let length = length.with_context(|| format!("no length: {first}"))?;
    ensure!(length <= most, "{length} bytes are too many");
    let mut body = Vec::new();
    from.take(length).read_to_end(&mut body)?;
    ensure!(body.len() as u64 == length, "a torn body");
    let body = if packed { unpacked(&body, most)? } else { body };
    Ok(Some(Request { path, body }))
}

fn unpacked(body: &[u8], most: u64) -> Result<Vec<u8>> {
    let mut whole = Vec::new();
    GzDecoder::new(body).take(most + 1).read_to_end(&mut whole)?;
    ensure!(whole.len() as u64 <= most, "more than {most} bytes once unpacked");
    Ok(whole)
}

fn line(from: &mut impl BufRead) -> Result<String> {
    let mut text = String::new();
    from.take(LINE).read_line(&mut text)?;
    ensure!(text.ends_with('\n'), "a line without an end");
    Ok(text.trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: u64 = 1000;

    fn request(length: u64, more: &str, body: &[u8]) -> Vec<u8> {
        let head = format!("POST /v1/traces HTTP/1.1\r\nHost: x\r\ncontent-length: {length}\r\n{more}\r\n");
        [head.as_bytes(), body].concat()
    }

    fn packed(body: &[u8]) -> Vec<u8> {
        let mut packing = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        packing.write_all(body).unwrap();
        packing.finish().unwrap()
    }

    #[test]
    fn a_body_is_read_whole_or_not_at_all() {
        let whole = read(&mut &*request(3, "", b"abc"), MOST).unwrap();
        assert_eq!(whole, Some(Request { path: "/v1/traces".into(), body: b"abc".to_vec() }));
        assert_eq!(read(&mut &b""[..], MOST).unwrap(), None);
        assert!(read(&mut &*request(4, "", b"abc"), MOST).is_err());
        assert!(read(&mut &*request(MOST + 1, "", b""), MOST).unwrap_err().to_string().contains("too many"));
        assert!(read(&mut &b"POST / HTTP/1.1\r\n\r\n"[..], MOST).is_err(), "no length");
        assert!(read(&mut "x".repeat(100_000).as_bytes(), MOST).is_err(), "an endless line");
    }

    #[test]
    fn a_packed_body_is_unpacked_within_the_bound() {
        let gzip = "Content-Encoding: gzip\r\n";
        for (length, fits) in [(MOST, true), (MOST + 1, false)] {
            let body = vec![7; usize::try_from(length).unwrap()];
            let packed = packed(&body);
            let read = read(&mut &*request(packed.len() as u64, gzip, &packed), MOST);
            assert_eq!(read.ok().flatten().map(|request| request.body), fits.then_some(body));
        }
    }
}
