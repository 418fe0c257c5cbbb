//! Where incidents are read from: the store, which needs no agent, or a running agent.

use std::path::PathBuf;

use anyhow::{Context, Result};
use lacuna_core::incident::{Cited, Incident};
use lacuna_core::recurrence::Mark;

use super::client::{self, DEFAULT_AGENT};
use crate::clock;
use crate::config::{Config, Store};
use crate::export::json::Incidents;
use crate::store::{MAX_LIMIT, MAX_MARKS, Query, StoreReader};

/// Which store.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Place {
    /// The directory of the store [default: that of --config, else /var/lib/lacuna].
    #[arg(long, value_name = "DIR")]
    store: Option<PathBuf>,
    /// The agent's configuration file, to find its store.
    #[arg(long, value_name = "FILE", conflicts_with = "store")]
    config: Option<PathBuf>,
}

/// Which store, or which agent.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Source {
    #[command(flatten)]
    place: Place,
    /// Ask this running agent instead of the store.
    #[arg(long, value_name = "URL", value_parser = client::agent_url, conflicts_with_all = ["store", "config"])]
    agent: Option<String>,
}

impl Place {
    pub(super) fn reader(&self) -> Result<StoreReader> {
        let configured = self.config.as_ref().map(|file| Config::load(file)).transpose()?;
        let given = self.store.clone().or_else(|| configured.map(|config| config.store.path));
        Ok(StoreReader::new(&given.unwrap_or_else(|| Store::default().path)))
    }
}

impl Source {
    /// The incidents that `query` asks for: of the agent where one is named, else of the store, else of the agent
    /// that runs here.
    pub(super) fn find(&self, query: &Query) -> Result<Incidents> {
        if let Some(url) = &self.agent {
            return ask(url, query);
        }
        let error = match self.place.reader()?.find(query) {
            Ok(found) => {
                return Ok(Incidents {
                    incidents: found.incidents,
                    truncated: found.truncated,
                    unreadable: found.unreadable,
                    store_error: None,
                });
            }
            Err(error) => error,
        };
        if self.place.store.is_some() || self.place.config.is_some() {
            return Err(error.into());
        }
        ask(DEFAULT_AGENT, query).map_err(|_| error).context("the store cannot be read and no agent answers")
    }

    /// Evidence that only earlier versions of the incident cited; none where the store cannot be asked.
    pub(super) fn earlier_evidence(&self, incident: &Incident) -> Vec<Cited> {
        if self.agent.is_some() {
            return Vec::new();
        }
        let earlier = self.place.reader().ok().and_then(|reader| reader.earlier_evidence(&incident.id).ok());
        earlier.unwrap_or_default()
    }

    /// Changes that were noted until the end of the incident, oldest first; none where the store cannot be asked.
    pub(super) fn marks(&self, incident: &Incident) -> Vec<Mark> {
        if self.agent.is_some() {
            return Vec::new();
        }
        let ended = incident.ended_at.as_deref().and_then(|ended| humantime::parse_rfc3339_weak(ended).ok());
        let until = ended.unwrap_or_else(clock::wall);
        self.place.reader().ok().and_then(|reader| reader.marks(until, MAX_MARKS).ok()).unwrap_or_default()
    }
}

fn ask(url: &str, query: &Query) -> Result<Incidents> {
    let mut path =
        format!("/api/v1/incidents?limit={}", if query.id_prefix.is_some() { MAX_LIMIT } else { query.limit });
    if let Some(since) = query.since {
        path.push_str(&format!("&since={}", humantime::format_rfc3339_millis(since)));
    }
    if let Some(class) = query.class {
        path.push_str(&format!("&class={}", class.name()));
    }
    let mut answer: Incidents = client::get(url, &path)?;
    answer.incidents.retain(|incident| query.wants(incident));
    Ok(answer)
}
