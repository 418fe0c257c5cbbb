//! `lacuna config check FILE`: every mistake with its line, or what the file means.

use std::fmt::Write as _;
use std::path::PathBuf;

use anyhow::Result;

use super::output;
use crate::config::{Config, Heartbeat};
use crate::discovery::{self, Survey};
use crate::export::words::span;
use crate::heartbeat::keys::Keys;

const EXAMPLES: &str = "\
Examples:
  lacuna config check /etc/lacuna/lacuna.toml

Where it is ok, `lacuna doctor --config FILE` says what of it works on this machine.";

/// What can be done with configuration files.
#[derive(Clone, Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Check a file: every error with its line and the allowed values; exit 2 where there is one.
    #[command(after_help = EXAMPLES)]
    Check {
        /// The file.
        file: PathBuf,
    },
}

pub(super) fn run(command: &Command) -> Result<()> {
    let Command::Check { file } = command;
    let config = Config::load(file)?;
    for note in config.without_effect() {
        eprintln!("{}: {note}", file.display());
    }
    let survey = discovery::survey(&config)?;
    output::print(&format!("{}: ok\n{}", file.display(), meaning(&config, &survey)))
}

fn meaning(config: &Config, survey: &Survey) -> String {
    let mut text = format!("  host {}\n", config.host);
    let mut line = |what: String| {
        // Writing to a `String` cannot fail.
        let _ = writeln!(text, "  {what}");
    };
    let beats = &config.heartbeat;
    if !config.exchanges_heartbeats() {
        line("no peers: watches this kernel and the default gateway, needs no heartbeat socket".into());
    } else {
        found(survey).into_iter().for_each(&mut line);
        let peers: Vec<_> = survey.peers.iter().map(|peer| peer.name.as_str()).collect();
        line(format!("{} peers: {}", peers.len(), listed(&peers)));
        line(format!("heartbeats every {} from {}, {}", span(beats.interval), beats.listen, authenticated(beats)));
    }
    let thresholds = &config.thresholds;
    line(format!(
        "incidents: a peer silent for {}, a CPU standing still for {}, CPUs saturated for {}",
        span(thresholds.gap),
        span(thresholds.cpu_stall),
        span(thresholds.saturation)
    ));
    let store = &config.store;
    let size = bytesize::ByteSize(store.max_size).display().iec();
    line(format!("store {}, at most {size}, closed incidents for {}", store.path.display(), span(store.retention)));
    if !config.watch.vips.is_empty() {
        let vips: Vec<String> = config.watch.vips.iter().map(ToString::to_string).collect();
        line(format!("asks who has {}", vips.join(", ")));
    }
    line(format!("page, API and metrics on http://{}/", config.http.listen));
    line(format!("marks are taken over {}", config.control.socket.display()));
    text
}

/// By which keys; that they are not there is no mistake of the file, which may be for another machine.
fn authenticated(heartbeat: &Heartbeat) -> String {
    match Keys::of(heartbeat) {
        Ok(None) => "not authenticated".to_owned(),
        Ok(Some(keys)) => format!("authenticated: {}", keys.said()),
        Err(error) => format!("authenticated, but not with what is here now: {error}"),
    }
}

/// What each source of peers gives at this moment; one that gives nothing is no mistake of the file.
fn found(survey: &Survey) -> Vec<String> {
    let mut lines = Vec::new();
    for one in &survey.sources {
        let names: Vec<&str> = one.names.iter().map(String::as_str).collect();
        let trouble = one.trouble.as_ref().map_or_else(String::new, |trouble| format!("; {trouble}"));
        lines.push(format!("{} gives {} peers now: {}{trouble}", one.source, names.len(), listed(&names)));
    }
    if !survey.refused.is_empty() {
        lines.push(survey.refused.said());
    }
    lines
}

fn listed(names: &[&str]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}
