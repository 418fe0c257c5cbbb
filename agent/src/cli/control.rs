//! Asks the running agent over its control socket.

use std::io::{self, BufRead as _, BufReader, ErrorKind, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};

use crate::config::{Config, Control};
use crate::control::{Answer, Request};

/// Longer than an agent takes that waits for its disk.
const PATIENCE: Duration = Duration::from_secs(15);
/// Longest line of an answer, in bytes.
const LONGEST: u64 = 64 * 1024;

/// Which agent of this host.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Socket {
    /// The agent's control socket [default: that of --config, else /run/lacuna/control.sock].
    #[arg(long, value_name = "PATH")]
    pub(super) socket: Option<PathBuf>,
    /// The agent's configuration file, to find its control socket.
    #[arg(long, value_name = "FILE", conflicts_with = "socket")]
    pub(super) config: Option<PathBuf>,
}

/// Nobody listens there.
#[derive(Debug, thiserror::Error)]
#[error("no agent listens at {} ({source}); start one with `lacuna agent --config FILE`, or give --socket PATH", path.display())]
pub(super) struct NoAgent {
    path: PathBuf,
    source: io::Error,
}

impl Socket {
    /// The agent's configuration, where it was named.
    pub(super) fn configured(&self) -> Result<Option<Config>> {
        Ok(self.config.as_ref().map(|file| Config::load(file)).transpose()?)
    }

    /// The agent's answer, and what follows it.
    pub(super) fn ask(&self, request: &Request) -> Result<(Answer, BufReader<UnixStream>)> {
        let control = self.configured()?.map(|config| config.control).unwrap_or_default();
        let Control { socket } = self.socket.clone().map_or(control, |socket| Control { socket });
        let mut stream = UnixStream::connect(&socket).map_err(|error| explained(&socket, error))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let mut line = serde_json::to_string(request)?;
        line.push('\n');
        let broke_off = || format!("the agent at {} did not answer", socket.display());
        stream.write_all(line.as_bytes()).with_context(broke_off)?;
        let (mut answer, mut stream) = (String::new(), BufReader::new(stream));
        stream.by_ref().take(LONGEST).read_line(&mut answer).with_context(broke_off)?;
        let answer = serde_json::from_str(&answer)
            .with_context(|| format!("what answers at {} is no lacuna agent of this version", socket.display()))?;
        Ok((answer, stream))
    }
}

fn explained(socket: &Path, error: io::Error) -> anyhow::Error {
    match error.kind() {
        ErrorKind::PermissionDenied => {
            anyhow!("{}: {error}; this is for root and the socket's group: run it as one of these", socket.display())
        }
        _ => NoAgent { path: socket.to_owned(), source: error }.into(),
    }
}
