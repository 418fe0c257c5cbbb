//! `lacuna record`: saves what agents were told in the last minutes.

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use lacuna_core::recording::{Line, Piece, pieces};

use super::client;
use super::control::{NoAgent, Socket};
use crate::control::{Answer, Request};
use crate::export::table::clean;
use crate::recorder;
use crate::web;

/// Where agents give recordings that may.
const PATH: &str = "/api/v1/recording";

const EXAMPLES: &str = "\
Examples:
  lacuna record db1.lacuna
  lacuna record fleet --agent http://10.77.0.11:9480 --agent http://10.77.0.12:9480

`lacuna replay FILE` judges it again, on any machine.";

/// Arguments of `lacuna record`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// The file to write; with more than one --agent the folder for a file of each host.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Ask this agent, of which `http.recordings` must be set; may be given again for others.
    #[arg(long, value_name = "URL", value_parser = client::agent_url)]
    agent: Vec<String>,
    /// What an agent that does not run has left in the directory of its store.
    #[arg(long, value_name = "DIR", conflicts_with = "agent")]
    store: Option<PathBuf>,
    #[command(flatten)]
    socket: Socket,
}

pub(super) fn run(args: &Args) -> Result<()> {
    match args.agent.as_slice() {
        [] => write(&args.file, &of_this_host(&args.socket, args.store.as_deref())?),
        [url] => write(&args.file, &of_agent(url)?),
        urls => of_several(&args.file, urls),
    }
}

/// Of the agent that runs here; what it has left, where none does.
fn of_this_host(socket: &Socket, store: Option<&Path>) -> Result<Vec<u8>> {
    if let Some(store) = store {
        return left_in(store);
    }
    let (answer, stream) = match socket.ask(&Request::Record) {
        Err(error) if error.is::<NoAgent>() && socket.socket.is_none() => {
            let store = socket.configured()?.map(|config| config.store).unwrap_or_default();
            return left_in(&store.path).map_err(|left| error.context(format!("{left:#}")));
        }
        answered => answered?,
    };
    let (length, damaged) = match answer {
        Answer::Recording { bytes, damaged } => (bytes, damaged),
        Answer::Refused(error) => bail!("the agent gave no recording: {}", clean(&error)),
        Answer::Marked(_) => bail!("the agent answered another question"),
    };
    damaged.iter().for_each(|place| note_damage(&clean(place)));
    let mut bytes = Vec::new();
    stream.take(length).read_to_end(&mut bytes).context("the recording broke off")?;
    ensure!(bytes.len() as u64 == length, "the recording broke off after {} of {length} bytes", bytes.len());
    Ok(bytes)
}

/// Over HTTP.
fn of_agent(url: &str) -> Result<Vec<u8>> {
    let (bytes, damaged) = client::get_with(url, PATH, web::DAMAGED)?;
    damaged.iter().for_each(|place| note_damage(&format!("{}, at {url}", clean(place))));
    Ok(bytes)
}

fn left_in(store: &Path) -> Result<Vec<u8>> {
    let folder = store.join(recorder::FOLDER);
    let exported = recorder::export(&folder);
    let exported = exported.with_context(|| format!("no agent has recorded anything in {}", folder.display()))?;
    exported.places_of_damage().for_each(|place| note_damage(&place));
    Ok(exported.bytes)
}

fn note_damage(place: &str) {
    eprintln!("lacuna: damaged, and not part of the recording: {place}");
}

fn of_several(folder: &Path, urls: &[String]) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    let mut failed = 0;
    for url in urls {
        let saved = of_agent(url).and_then(|bytes| {
            let path = folder.join(format!("{}.lacuna", host_of(&bytes)?));
            ensure!(!path.exists(), "{} is there already, and another agent is called so as well", path.display());
            write(&path, &bytes)
        });
        if let Err(error) = saved {
            eprintln!("lacuna: {url}: {error:#}");
            failed += 1;
        }
    }
    ensure!(failed == 0, "{failed} of {} agents gave no recording; those of the others are saved", urls.len());
    Ok(())
}

/// The host of which a recording is; its name is safe as that of a file, as every configured one is.
fn host_of(bytes: &[u8]) -> Result<String> {
    match pieces(bytes).next() {
        Some(Ok(Piece::Line(Line::Begin { settings, .. }))) => {
            crate::config::host_label(&settings.host).map_err(|error| anyhow::anyhow!(error))
        }
        Some(Err(damage)) => bail!("the recording cannot be read: {damage}"),
        _ => bail!("the recording is empty"),
    }
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    fs::write(path, bytes).with_context(|| format!("cannot write {}", path.display()))?;
    eprintln!("lacuna: {} bytes in {}", bytes.len(), path.display());
    Ok(())
}
