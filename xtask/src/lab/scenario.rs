//! A scenario: hosts, what happens to them, and the verdict that each must reach. One TOML file each.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, ensure};
use lacuna_core::incident::{Class, State};
use serde::Deserialize;

use super::network::MAX_HOSTS;
use super::step::{Action, Step};

/// Two intervals of the heartbeat.
const TOLERANCE: Duration = Duration::from_millis(200);

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
    /// The hosts; each is a peer of all others.
    pub(crate) hosts: Vec<Host>,
    /// What happens, in order of time.
    #[serde(default)]
    pub(crate) steps: Vec<Step>,
    /// The verdicts that must (or may) be reached. Any other incident is a failure.
    #[serde(default)]
    pub(crate) expect: Vec<Expect>,
    /// Hosts that must see their default gateway answer.
    #[serde(default)]
    pub(crate) sees_gateway: Vec<String>,
}

/// A host of a scenario.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Host {
    /// Its name, in lower case.
    pub(crate) name: String,
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
    /// Members that its subject must have.
    #[serde(default)]
    pub(crate) subject: BTreeMap<String, String>,
    /// Members that the verdict's detail must have, such as `direction` and `state`.
    #[serde(default)]
    pub(crate) detail: BTreeMap<String, String>,
    /// What it must be in the end.
    #[serde(default = "closed")]
    pub(crate) state: State,
    /// The step that it must begin with.
    #[serde(default)]
    pub(crate) from: Option<String>,
    /// The step that it must end with.
    #[serde(default)]
    pub(crate) to: Option<String>,
    /// How far its begin, end and length may be from the truth.
    #[serde(with = "humantime_serde", default = "default_tolerance")]
    pub(crate) tolerance: Duration,
    /// Kinds of evidence that it must cite.
    #[serde(default)]
    pub(crate) evidence: Vec<String>,
    /// Classes that it may have while it is provisional, beside its own and `unknown`.
    #[serde(default)]
    pub(crate) meanwhile: Vec<Class>,
    /// True where it is allowed and not required.
    #[serde(default)]
    pub(crate) optional: bool,
}

fn default_patience() -> Duration {
    Duration::from_secs(10)
}

fn default_tolerance() -> Duration {
    TOLERANCE
}

fn closed() -> State {
    State::Closed
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

    fn check_hosts(&self) -> Result<()> {
        let count = self.hosts.len();
        ensure!((1..=MAX_HOSTS).contains(&count), "{count} hosts; allowed are 1 to {MAX_HOSTS}");
        let mut names = BTreeSet::new();
        for Host { name, .. } in &self.hosts {
            let plain = name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
            ensure!(
                plain && (1..=8).contains(&name.len()) && name != "switch",
                "host `{name}`: a name is 1 to 8 lower-case letters and digits, and not `switch`"
            );
            ensure!(names.insert(name), "host `{name}` is there twice");
        }
        Ok(())
    }

    fn check_steps(&self) -> Result<()> {
        let mut names = BTreeSet::new();
        let mut last = Duration::ZERO;
        for step in &self.steps {
            for host in step.action.hosts() {
                self.check_host(host, "a step")?;
            }
            let at = humantime::format_duration(step.at);
            ensure!(step.at >= last, "the step at {at} is not in order of time");
            ensure!(step.ends() <= self.lasts, "the step at {at} ends after `lasts`");
            last = step.at;
            for name in step.moments() {
                ensure!(names.insert(name.clone()), "two steps are named `{name}`");
            }
        }
        Ok(())
    }

    fn check_expectations(&self) -> Result<()> {
        let moments: BTreeSet<_> = self.steps.iter().flat_map(Step::moments).collect();
        for expect in &self.expect {
            self.check_host(&expect.host, "an expectation")?;
            for name in [&expect.from, &expect.to].into_iter().flatten() {
                ensure!(
                    moments.contains(name),
                    "an expectation of `{}`: no step is named `{name}`; there are {moments:?}",
                    expect.host
                );
            }
        }
        for host in &self.sees_gateway {
            self.check_host(host, "`sees-gateway`")?;
        }
        Ok(())
    }

    fn check_host(&self, name: &str, place: &str) -> Result<()> {
        let known: Vec<_> = self.hosts.iter().map(|host| host.name.as_str()).collect();
        ensure!(known.contains(&name), "{place} names the host `{name}`; there are {known:?}");
        Ok(())
    }
}

/// The folder of the scenarios.
pub(crate) fn folder() -> PathBuf {
    crate::root().join("tests/scenarios")
}

/// All of them, by name.
pub(crate) fn all() -> Result<Vec<Scenario>> {
    let folder = folder();
    let entries = std::fs::read_dir(&folder).with_context(|| folder.display().to_string())?;
    let mut paths: Vec<_> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|ending| ending == "toml"))
        .collect();
    paths.sort();
    paths.iter().map(|path| Scenario::read(path)).collect()
}

/// Those that were asked for: names, paths of files, or `all`.
pub(crate) fn choose(asked: &[String]) -> Result<Vec<Scenario>> {
    if asked.iter().any(|name| name == "all") {
        return all();
    }
    asked.iter().map(|name| find(name)).collect()
}

fn find(name: &str) -> Result<Scenario> {
    if name.contains('/') || name.ends_with(".toml") {
        return Scenario::read(Path::new(name));
    }
    let path = folder().join(format!("{name}.toml"));
    if !path.exists() {
        let known: Vec<_> = all()?.into_iter().map(|known| known.name).collect();
        anyhow::bail!("no scenario `{name}`; there are: all, {}", known.join(", "));
    }
    Scenario::read(&path)
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
            ("[[steps]]\nat = \"1s\"\nheal = true\nstart = \"a\"\n", "one of"),
            ("[[steps]]\nat = \"1 parsec\"\nheal = true\n", "line 5"),
            ("[[steps]]\nat = \"1s\"\nstart = \"c\"\n", "the host `c`"),
            ("[[steps]]\nat = \"10s\"\nheal = true\n", "after `lasts`"),
            ("[[steps]]\nat = \"1s\"\nsignal = { host = \"a\", signal = \"SIGHUP\" }\n", "SIGSTOP"),
            ("[[steps]]\nat = \"1s\"\ndrop = { from = \"a\", to = \"b\", ony = \"udp\" }\n", "ony"),
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
