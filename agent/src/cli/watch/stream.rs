//! Server-sent events of the agent, line by line (WHATWG HTML, 9.2.6).

use std::io::{self, BufRead as _, BufReader, ErrorKind, Read};

use lacuna_core::incident::Incident;

/// Longest event in bytes: an incident with all the evidence that it may hold is far below.
const LONGEST: u64 = 4 * 1024 * 1024;

/// What the agent says.
#[derive(Debug)]
pub(super) enum Event {
    /// An incident has changed.
    Incident(Box<Incident>),
    /// Changes were lost, since they were read too slowly.
    Lost,
}

/// The events of a stream.
pub(super) struct Events<R> {
    reader: BufReader<R>,
}

impl<R: Read> Events<R> {
    pub(super) fn new(reader: R) -> Self {
        Self { reader: BufReader::new(reader) }
    }

    /// The next event; absent at the end.
    ///
    /// # Errors
    /// The connection broke, or what comes is none of these events.
    pub(super) fn next(&mut self) -> io::Result<Option<Event>> {
        let (mut name, mut data) = (String::new(), String::new());
        // All lines of an event count, or a sender could go on for ever.
        let mut left = LONGEST;
        while let Some(line) = self.line(&mut left)? {
            match line.split_once(':').unwrap_or((&line, "")) {
                ("", "") if line.is_empty() => {
                    if let Some(event) = event(&name, &data)? {
                        return Ok(Some(event));
                    }
                    (name, data, left) = (String::new(), String::new(), LONGEST);
                }
                ("event", value) => name = value.strip_prefix(' ').unwrap_or(value).to_owned(),
                ("data", value) => data.push_str(value.strip_prefix(' ').unwrap_or(value)),
                // Comments keep the connection open; there are fields that nobody needs here.
                _ => (),
            }
        }
        Ok(None)
    }

    /// The next line without its end; absent at the end of the stream.
    fn line(&mut self, left: &mut u64) -> io::Result<Option<String>> {
        if *left == 0 {
            return Err(endless());
        }
        let mut bytes = Vec::new();
        let read = self.reader.by_ref().take(*left).read_until(b'\n', &mut bytes)?;
        *left = left.saturating_sub(u64::try_from(read).unwrap_or(u64::MAX));
        match bytes.pop() {
            None => Ok(None),
            Some(b'\n') => {
                if bytes.last() == Some(&b'\r') {
                    bytes.pop();
                }
                let text = String::from_utf8(bytes);
                text.map(Some).map_err(|error| io::Error::new(ErrorKind::InvalidData, error))
            }
            Some(_) if *left == 0 => Err(endless()),
            // Half a line is no line.
            Some(_) => Ok(None),
        }
    }
}

fn endless() -> io::Error {
    io::Error::new(ErrorKind::InvalidData, format!("an event is longer than {LONGEST} bytes"))
}

/// Absent where it is not for this version, or has no data.
fn event(name: &str, data: &str) -> io::Result<Option<Event>> {
    match name {
        "incident" if !data.is_empty() => {
            let incident = serde_json::from_str(data).map_err(|error| io::Error::new(ErrorKind::InvalidData, error))?;
            Ok(Some(Event::Incident(Box::new(incident))))
        }
        "lost" => Ok(Some(Event::Lost)),
        _ => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;

    /// One byte at a time, as a slow network gives them.
    struct Slowly<'a>(&'a [u8]);

    impl Read for Slowly<'_> {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            let Some((first, rest)) = self.0.split_first() else { return Ok(0) };
            into[0] = *first;
            self.0 = rest;
            Ok(1)
        }
    }

    fn all(text: &str) -> io::Result<Vec<Event>> {
        let mut events = Events::new(Slowly(text.as_bytes()));
        let mut all = Vec::new();
        while let Some(event) = events.next()? {
            all.push(event);
        }
        Ok(all)
    }

    #[test]
    fn events_are_read_as_the_agent_writes_them() {
        let document = serde_json::to_string(&samples::path_drop()).unwrap();
        let text = format!(
            ": keep-alive\n\nevent: incident\nid: 7\ndata: {document}\n\nevent: news\ndata: x\n\nevent: lost\r\ndata: 3\r\n\r\n"
        );
        let events = all(&text).unwrap();
        assert!(matches!(&events[0], Event::Incident(incident) if **incident == samples::path_drop()));
        assert!(matches!(&events[1], Event::Lost), "{events:?}");
        assert_eq!(events.len(), 2);
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_are_a_panic(bytes: Vec<u8>, text in "(event|data|id|: x|\n|incident|lost|\\{\\}){0,40}") {
            for input in [&bytes[..], text.as_bytes()] {
                let mut events = Events::new(Slowly(input));
                while let Ok(Some(_)) = events.next() {}
            }
        }
    }

    #[test]
    fn half_an_event_at_the_end_is_none() {
        assert!(all("event: lost\ndata: 3\n").unwrap().is_empty());
        assert!(all("event: lost\ndata: 3\n\nevent: lo").unwrap().len() == 1);
    }

    #[test]
    fn what_is_no_incident_and_what_has_no_end_is_an_error() {
        assert!(all("event: incident\ndata: {}\n\n").is_err());
        let endless = format!("data: {}", "x".repeat(usize::try_from(LONGEST).unwrap()));
        assert!(Events::new(endless.as_bytes()).next().is_err());
        let lines = "data: 123456789\n".repeat(usize::try_from(LONGEST / 16 + 1).unwrap());
        assert!(Events::new(lines.as_bytes()).next().is_err());
    }
}
