//! Answers requests, each within a bounded time, size and number.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use lacuna_core::recurrence::MarkNote;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use super::{Answer, Request, mark_text};
use crate::recorder::Exporter;
use crate::shared::Shared;
use crate::store::Marker;

/// Connections that are served at once; more wait in the socket's own queue.
pub const MAX_CONNECTIONS: usize = 8;
/// Longest request with its line end, in bytes.
pub const LONGEST_REQUEST: u64 = 4096;
/// How long a connection may take; a slow disk takes less.
const PATIENCE: Duration = Duration::from_secs(10);
/// Where no connection can be taken, such as without a free descriptor.
const PAUSE: Duration = Duration::from_millis(200);

/// What does the work.
#[derive(Clone)]
pub struct Behind {
    /// Notes marks.
    pub marker: Marker,
    /// Gives recordings; absent where nothing is recorded.
    pub recorder: Option<Exporter>,
    /// Counts what was refused.
    pub shared: Arc<Shared>,
}

/// Serves until it is dropped.
pub async fn serve(listener: UnixListener, behind: Behind) {
    let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        // Nobody closes the semaphore, so the permit is always there in the end.
        let permit = Arc::clone(&room).acquire_owned().await.ok();
        let Ok((stream, _)) = listener.accept().await else {
            sleep(PAUSE).await;
            continue;
        };
        let behind = behind.clone();
        tokio::spawn(async move {
            let _permit = permit;
            // A client that is gone or says nothing is no trouble of the agent's.
            let _ = timeout(PATIENCE, connection(stream, &behind)).await;
        });
    }
}

async fn connection(stream: UnixStream, behind: &Behind) -> io::Result<()> {
    let uid = stream.peer_cred().map(|peer| peer.uid()).ok();
    let (read, mut write) = stream.into_split();
    let mut line = Vec::new();
    BufReader::new(read.take(LONGEST_REQUEST)).read_until(b'\n', &mut line).await?;
    let answered = match Request::parse(&line) {
        Ok(request) => act(request, behind, uid).await,
        Err(error) => Err(error),
    };
    let (answer, rest) = answered.unwrap_or_else(|error| (Answer::Refused(error), Vec::new()));
    if matches!(answer, Answer::Refused(_)) {
        behind.shared.counters.write().control_refused += 1;
    }
    let mut text = serde_json::to_vec(&answer)?;
    text.push(b'\n');
    write.write_all(&text).await?;
    write.write_all(&rest).await
}

/// The answer, and what follows its line.
async fn act(request: Request, behind: &Behind, uid: Option<u32>) -> Result<(Answer, Vec<u8>), String> {
    match request {
        Request::Mark { text } => {
            let note = MarkNote::from(&behind.marker.mark(mark_text(&text)?).await?);
            tracing::info!(uid, "marked: {}", note.text);
            Ok((Answer::Marked(note), Vec::new()))
        }
        Request::Record => {
            let recorder = behind.recorder.clone().ok_or("this agent records nothing; /healthz says why")?;
            let exported = tokio::task::spawn_blocking(move || recorder.export()).await;
            let exported = exported.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
            let damaged = exported.places_of_damage().collect();
            Ok((Answer::Recording { bytes: exported.bytes.len() as u64, damaged }, exported.bytes))
        }
    }
}
