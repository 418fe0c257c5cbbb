//! What a scenario does to its hosts.

use std::time::Duration;

use nix::sys::signal::Signal;
use serde::Deserialize;

use super::collector::CollectorStep;
use super::fault::DropRule;
use super::flood::Flood;
use super::guest::GuestStep;
use super::iperf::Iperf;
use super::keys::Rekey;
use super::router::Narrow;
use super::web::Web;

/// Something that happens at a time of the scenario.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "Written")]
pub(crate) struct Step {
    /// By which expectations refer to it.
    pub(crate) name: Option<String>,
    /// When, from the moment that all hosts see each other.
    pub(crate) at: Duration,
    /// What.
    pub(crate) action: Action,
}

/// The kinds of steps, each by the member of the step that names it.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Action {
    /// Packets vanish.
    Drop(DropRule),
    /// Every drop ends; always true.
    Heal(bool),
    /// The link between the two segments gets another MTU.
    Router(Narrow),
    /// A signal to a host's agent.
    Signal(ToAgent),
    /// A host's agent is started again.
    Start(String),
    /// A host's link goes down.
    LinkDown(String),
    /// A host's link goes up.
    LinkUp(String),
    /// A host is gone with link and agent, for good.
    HostGone(String),
    /// One TCP connection with steady traffic.
    Tcp(Tcp),
    /// A web server and a client that asks it again and again.
    Web(Web),
    /// Load on the way between two hosts.
    Iperf(Iperf),
    /// Busy threads.
    Load(Load),
    /// A signal to a host's keepalived.
    Keepalived(ToAgent),
    /// A host's keepalived is started again.
    KeepalivedStart(String),
    /// Waits until exactly these hosts have the virtual address; the run fails where that never comes.
    VipOn(Vec<String>),
    /// Packets that must not count.
    Flood(Flood),
    /// A host's agent has other keys from then on.
    Keys(Rekey),
    /// Every frame is lost between hosts of different groups.
    Split(Vec<Vec<String>>),
    /// A signal to every process of a host.
    SignalAll(ToAgent),
    /// Next to no CPU time for all that runs on a host.
    Starve(Starve),
    /// The collector ends, or is started again.
    Collector(CollectorStep),
    /// What is done to guests only.
    #[serde(skip)]
    Guest(GuestStep),
}

/// `signal` in a scenario.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ToAgent {
    /// Whose agent.
    pub(crate) host: String,
    /// Which signal.
    pub(crate) signal: AgentSignal,
}

/// The signals that agents are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub(crate) enum AgentSignal {
    /// Stops it.
    #[serde(rename = "SIGSTOP")]
    Stop,
    /// Lets it go on.
    #[serde(rename = "SIGCONT")]
    Continue,
    /// Ends it without a word.
    #[serde(rename = "SIGKILL")]
    Kill,
    /// Asks it to end.
    #[serde(rename = "SIGTERM")]
    Terminate,
}

/// `tcp` in a scenario.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Tcp {
    /// The host that connects and sends.
    pub(crate) from: String,
    /// The host that listens and receives.
    pub(crate) to: String,
    /// For how long.
    #[serde(with = "humantime_serde")]
    pub(crate) lasts: Duration,
}

/// `load` in a scenario.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Load {
    /// Busy threads for each CPU of the machine.
    pub(crate) threads_per_cpu: usize,
    /// For how long.
    #[serde(with = "humantime_serde")]
    pub(crate) lasts: Duration,
}

/// `starve` in a scenario.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Starve {
    /// Which host.
    pub(crate) host: String,
    /// For how long.
    #[serde(with = "humantime_serde")]
    pub(crate) lasts: Duration,
}

impl AgentSignal {
    /// The kernel's signal.
    pub(crate) fn signal(self) -> Signal {
        match self {
            Self::Stop => Signal::SIGSTOP,
            Self::Continue => Signal::SIGCONT,
            Self::Kill => Signal::SIGKILL,
            Self::Terminate => Signal::SIGTERM,
        }
    }
}

impl Step {
    /// When it is over.
    pub(crate) fn ends(&self) -> Duration {
        match &self.action {
            Action::Tcp(Tcp { lasts, .. })
            | Action::Web(Web { lasts, .. })
            | Action::Iperf(Iperf { lasts, .. })
            | Action::Load(Load { lasts, .. })
            | Action::Flood(Flood { lasts, .. })
            | Action::Starve(Starve { lasts, .. }) => self.at + *lasts,
            Action::Guest(step) => self.at + step.lasts().unwrap_or_default(),
            _ => self.at,
        }
    }

    /// The names of its moments: its own, and with `-end` that of its end where it takes time.
    pub(crate) fn moments(&self) -> Vec<String> {
        let Some(name) = &self.name else {
            return Vec::new();
        };
        let mut moments = vec![name.clone()];
        let has_end = match &self.action {
            Action::Load(_) | Action::Starve(_) => true,
            Action::Guest(step) => step.has_end(),
            _ => false,
        };
        if has_end {
            moments.push(format!("{name}-end"));
        }
        moments
    }
}

impl Action {
    /// The hosts that it names.
    pub(crate) fn hosts(&self) -> Vec<&str> {
        match self {
            Self::Drop(rule) => vec![&rule.from, &rule.to],
            Self::Tcp(tcp) => vec![&tcp.from, &tcp.to],
            Self::Web(web) => vec![&web.from, &web.to],
            Self::Iperf(iperf) => vec![&iperf.from, &iperf.to],
            Self::Flood(flood) => vec![&flood.from, &flood.to],
            Self::Keys(keys) => vec![&keys.host],
            Self::Signal(to) | Self::Keepalived(to) | Self::SignalAll(to) => vec![&to.host],
            Self::Starve(starve) => vec![&starve.host],
            Self::VipOn(hosts) => hosts.iter().map(String::as_str).collect(),
            Self::Split(groups) => groups.iter().flatten().map(String::as_str).collect(),
            Self::Start(host)
            | Self::LinkDown(host)
            | Self::LinkUp(host)
            | Self::HostGone(host)
            | Self::KeepalivedStart(host) => vec![host],
            Self::Guest(step) => vec![step.host()],
            Self::Heal(_) | Self::Load(_) | Self::Router(_) | Self::Collector(_) => Vec::new(),
        }
    }
}

/// A step as the file has it: exactly one member after `at` is there, and names the action.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Written {
    name: Option<String>,
    #[serde(with = "humantime_serde")]
    at: Duration,
    #[serde(flatten)]
    actions: toml::Table,
}

impl TryFrom<Written> for Step {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, Self::Error> {
        let Written { name, at, actions } = written;
        if actions.len() != 1 {
            let there: Vec<_> = actions.keys().collect();
            return Err(format!("a step needs exactly one of the actions beside `at` and `name`; there are {there:?}"));
        }
        let action = match actions.keys().find(|key| GuestStep::NAMES.contains(&key.as_str())) {
            Some(_) => GuestStep::deserialize(actions).map(Action::Guest),
            None => Action::deserialize(actions),
        };
        let action = action.map_err(|error| error.to_string())?;
        if matches!(action, Action::Heal(false)) {
            return Err("`heal` can only be true".into());
        }
        Ok(Self { name, at, action })
    }
}
