//! A scenario: hosts, what happens to them, and the verdict that each must reach. One TOML file each.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use lacuna_core::incident::{Class, State};
use serde::Deserialize;

use super::figures::{Growth, Logged};
use super::guest::GuestStep;
use super::keys;
use super::network::Place;
use super::step::{Action, Step};

mod checks;
mod files;

pub(crate) use files::{all, choose, compared, with_guests};

/// Two intervals of the heartbeat.
const TOLERANCE: Duration = Duration::from_millis(200);
/// What an account may be off that comes from inside a guest, or is of one, and as a part of the length.
const GUESTS_TOLERANCE: Duration = Duration::from_millis(300);
const PART: f64 = 0.1;

/// A scenario as its file has it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Scenario {
    /// The name of its file, without the ending.
    #[serde(skip)]
    pub(crate) name: String,
    /// What it shows, in one sentence.
    pub(crate) about: String,
    /// How long the hosts are watched, from the moment that all of them see each other.
    #[serde(with = "humantime_serde")]
    pub(crate) lasts: Duration,
    /// How much longer an expected verdict is waited for.
    #[serde(with = "humantime_serde", default = "default_patience")]
    pub(crate) patience: Duration,
    /// True where it needs the CPUs for itself: no other scenario may run beside it, and it is left out under `--load`.
    #[serde(default)]
    pub(crate) alone: bool,
    /// True where it is so long that it runs only when it is named.
    #[serde(default)]
    pub(crate) long: bool,
    /// The hosts; each is a peer of all others.
    pub(crate) hosts: Vec<Host>,
    /// What happens, in order of time.
    #[serde(default)]
    pub(crate) steps: Vec<Step>,
    /// The verdicts that must (or may) be reached. Any other incident is a failure.
    #[serde(default)]
    pub(crate) expect: Vec<Expect>,
    /// What agents must (or must not) have counted in the end.
    #[serde(default)]
    pub(crate) figures: Vec<Growth>,
    /// What their logs must have.
    #[serde(default)]
    pub(crate) logs: Vec<Logged>,
    /// The virtual address of the hosts that have a priority.
    #[serde(default)]
    pub(crate) vip: Option<Ipv4Addr>,
    /// Hosts that must see their default gateway answer.
    #[serde(default)]
    pub(crate) sees_gateway: Vec<String>,
    /// Whether bird2's BFD and corosync run on every host as well.
    #[serde(default)]
    pub(crate) compared: bool,
    /// Whether heartbeats, and what is lost of them, go over IPv6.
    #[serde(default)]
    pub(crate) ipv6: bool,
    /// Whether a collector takes the traces of all agents.
    #[serde(default)]
    pub(crate) collector: bool,
    /// What hosts must have been told of the MTU on the way in the end.
    #[serde(default)]
    pub(crate) sees_path_mtu: Vec<SeesPathMtu>,
}

/// What a host must have been told of the way to a peer.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct SeesPathMtu {
    /// Whose agent says so.
    pub(crate) host: String,
    /// The other end.
    pub(crate) peer: String,
    /// The largest packet that passes, in bytes; absent where it must have been told none.
    #[serde(default)]
    pub(crate) mtu: Option<u16>,
}

/// A host of a scenario.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Host {
    /// Its name, in lower case.
    pub(crate) name: String,
    /// Whether it is a virtual machine with a kernel of its own.
    #[serde(default)]
    pub(crate) guest: bool,
    /// Whether it is in the second segment, behind the router; not for guests.
    #[serde(default)]
    pub(crate) far: bool,
    /// The memory of a guest in MiB.
    #[serde(default = "default_memory")]
    pub(crate) memory: u32,
    /// It runs keepalived with this priority; of those that hear each other the highest has the virtual address.
    #[serde(default)]
    pub(crate) priority: Option<u8>,
    /// The names of its keys; the first signs. Hosts hear each other whose keys fit.
    #[serde(default = "default_keys")]
    pub(crate) keys: Vec<String>,
    /// What its agent's configuration has beyond the usual.
    #[serde(default)]
    pub(crate) config: toml::Table,
}

/// An incident that a host must reach.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Expect {
    /// Whose agent says so.
    pub(crate) host: String,
    /// Its final class.
    pub(crate) class: Class,
    /// Of a host's expectations with the same word here one is enough: what the evidence tells may depend on where a CPU
    /// happened to be.
    #[serde(default)]
    pub(crate) one_of: Option<String>,
    /// Members that its subject must have.
    #[serde(default)]
    pub(crate) subject: BTreeMap<String, String>,
    /// Members that the verdict's detail must have, such as `direction` and `state`.
    #[serde(default)]
    pub(crate) detail: BTreeMap<String, String>,
    /// Members of the verdict's detail that are intervals, with a value that each must hold (`low` to `high`).
    #[serde(default)]
    pub(crate) holds: BTreeMap<String, f64>,
    /// What it must be in the end.
    #[serde(default = "closed")]
    pub(crate) state: State,
    /// The step that it must begin with.
    #[serde(default)]
    pub(crate) from: Option<String>,
    /// The step that it must end with.
    #[serde(default)]
    pub(crate) to: Option<String>,
    /// It must have been seen, open and about this subject, so soon after the step `from`, and before the step `to`.
    #[serde(with = "humantime_serde", default)]
    pub(crate) within: Option<Duration>,
    /// How far its begin, end and length may be from the truth. Where this is absent: two intervals of the heartbeat,
    /// or in a scenario with guests a tenth of the length and no less than [`GUESTS_TOLERANCE`].
    #[serde(with = "humantime_serde", default)]
    pub(crate) tolerance: Option<Duration>,
    /// How long it may last at most.
    #[serde(with = "humantime_serde", default)]
    pub(crate) at_most: Option<Duration>,
    /// Kinds of evidence that it must cite.
    #[serde(default)]
    pub(crate) evidence: Vec<String>,
    /// Words that its document must have somewhere, such as the name of a function.
    #[serde(default)]
    pub(crate) mentions: Vec<String>,
    /// Classes that it may have while it is provisional, beside its own and `unknown`.
    #[serde(default)]
    pub(crate) meanwhile: Vec<Class>,
    /// True where it is allowed and not required.
    #[serde(default)]
    pub(crate) optional: bool,
    /// True where any number of such incidents is allowed, and none is required.
    #[serde(default)]
    pub(crate) any_number: bool,
}

impl Host {
    /// Where it is in the network.
    pub(crate) fn place(&self) -> Place {
        match (self.guest, self.far) {
            (true, _) => Place::Guest,
            (false, true) => Place::Far,
            (false, false) => Place::Near,
        }
    }
}

fn default_patience() -> Duration {
    Duration::from_secs(10)
}

fn default_keys() -> Vec<String> {
    vec![keys::CLUSTER.to_owned()]
}

fn default_memory() -> u32 {
    384
}

fn closed() -> State {
    State::Closed
}

impl Expect {
    /// How far a time may be from the truth, in seconds, where the stall really lasted `length` seconds.
    pub(crate) fn allowed(&self, guests: bool, length: f64) -> f64 {
        let usual = if guests { GUESTS_TOLERANCE.as_secs_f64().max(length * PART) } else { TOLERANCE.as_secs_f64() };
        self.tolerance.map_or(usual, |tolerance| tolerance.as_secs_f64())
    }
}

impl Scenario {
    /// Reads the file and checks what it says.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        Self::parse(&name, &text).map_err(|error| anyhow!("{}: {error:#}", path.display()))
    }

    /// The scenario of that name and text.
    pub(crate) fn parse(name: &str, text: &str) -> Result<Self> {
        let mut scenario: Self = toml::from_str(text)?;
        name.clone_into(&mut scenario.name);
        scenario.check_hosts()?;
        scenario.check_steps()?;
        scenario.check_expectations()?;
        Ok(scenario)
    }

    /// Whether the scenario itself keeps the CPUs busy.
    pub(crate) fn makes_load(&self) -> bool {
        let mut actions = self.steps.iter().map(|step| &step.action);
        actions.any(|action| matches!(action, Action::Load(_)))
    }

    /// Whether some host is a virtual machine.
    pub(crate) fn has_guests(&self) -> bool {
        self.hosts.iter().any(|host| host.guest)
    }

    /// Whether the clocks of a guest stand still meanwhile.
    pub(crate) fn stops_clock(&self, name: &str) -> bool {
        let is = |step: &Step| matches!(&step.action, Action::Guest(GuestStep::VmPause(host)) if host == name);
        self.steps.iter().any(is)
    }

    /// Whether a guest runs `stress-ng`.
    pub(crate) fn stresses(&self, name: &str) -> bool {
        let is = |step: &Step| matches!(&step.action, Action::Guest(GuestStep::Stress(stress)) if stress.host == name);
        self.steps.iter().any(is)
    }

    /// Whether virtual CPUs have to wait for this machine by a step.
    pub(crate) fn throttles(&self) -> bool {
        let is = |step: &Step| matches!(&step.action, Action::Guest(GuestStep::VcpuThrottle(_)));
        self.steps.iter().any(is)
    }

    /// How many others that host hears: those that sign with a key that it has.
    pub(crate) fn heard_by(&self, name: &str) -> usize {
        let has = |key: Option<&String>| self.host(name).zip(key).is_some_and(|(host, key)| host.keys.contains(key));
        self.hosts.iter().filter(|other| other.name != name && has(other.keys.first())).count()
    }

    /// The host of that name.
    pub(crate) fn host(&self, name: &str) -> Option<&Host> {
        self.hosts.iter().find(|host| host.name == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "about = \"x\"\nlasts = \"9s\"\nhosts = [{ name = \"a\" }, { name = \"b\" }]\n";

    fn refused(text: &str) -> String {
        let error = Scenario::parse("test", &format!("{HEAD}{text}")).unwrap_err();
        format!("{error:#}")
    }

    #[test]
    fn every_scenario_of_the_project_is_valid() {
        assert!(all().unwrap().len() >= 13);
        assert!(with_guests().unwrap().iter().all(Scenario::has_guests));
        assert!(compared().unwrap().iter().all(|scenario| scenario.compared && scenario.vip.is_some()));
    }

    #[test]
    fn an_unknown_key_is_an_error_that_names_file_and_line() {
        let folder = std::env::temp_dir().join(format!("xtask-scenario-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("wrong.toml");
        std::fs::write(&path, format!("{HEAD}colour = \"red\"\n")).unwrap();
        let text = format!("{:#}", Scenario::read(&path).unwrap_err());
        std::fs::remove_dir_all(&folder).unwrap();
        assert!(text.contains("wrong.toml"), "{text}");
        assert!(text.contains("line 4") && text.contains("colour"), "{text}");
    }

    #[test]
    fn what_a_file_may_not_say() {
        let cases = [
            ("[[steps]]\nat = \"1s\"\n", "line 4"),
            ("[[steps]]\nat = \"1s\"\nheal = true\nstart = \"a\"\n", "exactly one"),
            ("[[steps]]\nat = \"1 parsec\"\nheal = true\n", "line 5"),
            ("[[steps]]\nat = \"1s\"\nstart = \"c\"\n", "the host `c`"),
            ("[[steps]]\nat = \"10s\"\nheal = true\n", "after `lasts`"),
            ("[[steps]]\nat = \"1s\"\nsignal = { host = \"a\", signal = \"SIGHUP\" }\n", "SIGSTOP"),
            ("[[steps]]\nat = \"1s\"\ndrop = { from = \"a\", to = \"b\", ony = \"udp\" }\n", "ony"),
            ("[[steps]]\nat = \"1s\"\nkeepalived-start = \"a\"\n", "no priority"),
            ("[[steps]]\nat = \"1s\"\ncollector = \"stop\"\n", "needs the scenario's"),
            ("[[steps]]\nat = \"1s\"\nvip-on = [\"a\"]\n", "the scenario's `vip`"),
            ("[[steps]]\nat = \"1s\"\nstarve = { host = \"a\", lasts = \"10s\" }\n", "after `lasts`"),
            ("[[steps]]\nat = \"1s\"\nsplit = [[\"a\"], [\"c\"]]\n", "the host `c`"),
            ("[[steps]]\nat = \"1s\"\nrouter = { mtu = 1400, tells = \"both\" }\n", "the second segment"),
            ("[[steps]]\nat = \"1s\"\nrouter = { mtu = 1400, tells = \"some\" }\n", "neither"),
            ("[[sees-path-mtu]]\nhost = \"a\"\npeer = \"c\"\n", "the host `c`"),
            ("[[expect]]\nhost = \"a\"\nclass = \"path-dorp\"\n", "path-drop"),
            ("[[expect]]\nhost = \"c\"\nclass = \"path-drop\"\n", "the host `c`"),
            ("[[expect]]\nhost = \"a\"\nclass = \"path-drop\"\nfrom = \"cut\"\n", "no step is named `cut`"),
        ];
        for (text, expected) in cases {
            let error = refused(text);
            assert!(error.contains(expected), "{text}\n{error}");
        }
    }

    #[test]
    fn an_unknown_scenario_names_those_that_are_there() {
        let error = choose(&["drop-both-wais".into()]).unwrap_err();
        assert!(error.to_string().contains("drop-both-ways"));
    }
}
