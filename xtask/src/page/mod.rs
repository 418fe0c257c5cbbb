//! `cargo xtask page`: the web page of a real agent in a real browser. Three hosts in network namespaces watch each other, the path
//! between two of them is cut, and the page of one is looked at meanwhile: live, by keyboard, in the dark, on a phone, without
//! scripts, and as files. `--write` keeps the pictures in `docs/page/`.

pub(crate) mod browser;
mod checks;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use self::browser::{Browser, Look};
use crate::lab::agent::{self, Agent};
use crate::lab::api::{Client, LOCAL};
use crate::lab::fault::{DropRule, heal};
use crate::lab::folder::Folder;
use crate::lab::network::{Host, Network};
use crate::stop::Stop;
use crate::{lab, prepare, sh};

/// The hosts; the page is that of the first, and the path between the first two is cut.
const HOSTS: [&str; 3] = ["a", "b", "c"];
/// What is noted before the cut.
const CHANGE: &str = "the new filter rules on a";
/// How long agents may take until all hear each other.
const PATIENCE: Duration = Duration::from_secs(30);

/// Arguments of `cargo xtask page`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Writes the pictures to docs/page/.
    #[arg(long)]
    write: bool,
    /// The agent to look at, instead of building the one of this workspace.
    #[arg(long)]
    agent: Option<PathBuf>,
}

impl Args {
    /// With that agent, and without keeping anything.
    pub(crate) fn with(agent: PathBuf) -> Self {
        Self { write: false, agent: Some(agent) }
    }
}

/// Looks at everything; an error where something is not as it should be.
pub(crate) fn run(args: &Args) -> Result<()> {
    prepare::to_browse()?;
    let stop = Stop::on_signals()?;
    lab::clean_up()?;
    let binary = lab::agent_or_build(args.agent.as_deref(), false)?;
    let folder = Folder::create("page")?;
    let pictures = if args.write { crate::root().join("docs/page") } else { folder.path().join("pictures") };
    std::fs::create_dir_all(&pictures).with_context(|| pictures.display().to_string())?;
    let looked = Stage::set(&binary, folder.path(), &stop).and_then(|mut stage| checks::all(&mut stage, &pictures));
    if let Err(error) = looked {
        let kept = folder.keep();
        return Err(error.context(format!("logs and pictures are kept in {}", kept.display())));
    }
    if args.write {
        println!("pictures in {}", pictures.display());
    }
    Ok(())
}

/// Agents that watch each other, and a browser beside the first. The browser ends first.
struct Stage {
    browser: Browser,
    agents: Vec<Agent>,
    network: Network,
    stop: Stop,
    binary: PathBuf,
    folder: PathBuf,
}

impl Stage {
    fn set(binary: &Path, folder: &Path, stop: &Stop) -> Result<Self> {
        let network = Network::create(&HOSTS)?;
        let mut agents = Vec::new();
        for host in &network.hosts {
            agent::configure(&network, host, &toml::Table::new(), folder)?;
            agents.push(Agent::start(binary, host, folder)?);
        }
        for host in &network.hosts {
            let up = stop.wait_for(PATIENCE, || hears_all(host).unwrap_or(false))?;
            ensure!(up, "{} does not hear all others after {PATIENCE:?}", host.name);
        }
        let browser = Browser::start(network.host(HOSTS[0])?.namespace()?, folder, stop)?;
        let (stop, binary, folder) = (stop.clone(), binary.to_owned(), folder.to_owned());
        Ok(Self { browser, agents, network, stop, binary, folder })
    }

    /// Runs the agent's program as a command.
    fn command(&self, words: &[&str]) -> Result<String> {
        sh::output(Command::new(&self.binary).args(words), "")
    }

    /// A file of this run.
    fn file(&self, name: &str) -> String {
        self.folder.join(name).display().to_string()
    }

    fn note_change(&self) -> Result<()> {
        let socket = self.file(&format!("{}.sock", HOSTS[0]));
        self.command(&["mark", CHANGE, "--socket", &socket]).map(|_| ())
    }

    /// From now on the first two do not hear each other.
    fn cut(&self) -> Result<()> {
        DropRule::both_ways(HOSTS[0], HOSTS[1]).apply(&self.network)
    }

    fn mend(&self) -> Result<()> {
        heal(&self.network)
    }

    fn agents_run(&mut self) -> Result<()> {
        ensure!(self.agents.iter_mut().all(Agent::alive), "an agent ended");
        Ok(())
    }
}

fn hears_all(host: &Host) -> Result<bool> {
    host.namespace()?.enter(|| {
        let client = Client::new(LOCAL, Duration::from_secs(2));
        let peers = client.peers()?;
        let heard = peers.iter().filter(|peer| peer.role == "peer" && peer.up == Some(true)).count();
        Ok(client.health()?.0 == 200 && heard == HOSTS.len() - 1)
    })
}
