//! What fuzz targets feed.

use std::io;

use lacuna_core::incident::Incident;

use super::stream::{Event, Events};

/// The incidents that a stream of events tells of until it ends, and how often it says that some were lost.
///
/// # Errors
/// It is none of an agent.
pub fn events(stream: &[u8]) -> io::Result<(Vec<Incident>, usize)> {
    let (mut events, mut incidents, mut lost) = (Events::new(stream), Vec::new(), 0);
    while let Some(event) = events.next()? {
        match event {
            Event::Incident(incident) => incidents.push(*incident),
            Event::Lost => lost += 1,
        }
    }
    Ok((incidents, lost))
}
