//! A list of peers in a file, as Prometheus's `file_sd_configs` has it in JSON: `[{"targets": ["10.77.0.12:9479"],
//! "labels": {"name": "lb1"}}]`. It is looked at once a second and read when it has changed.

use std::collections::{BTreeMap, HashMap};
use std::fs::{File, Metadata};
use std::io::{ErrorKind, Read};
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use super::refusals::{Reason, Refusals};
use super::{Family, Found, Outcome, dns};
use crate::config::{HEARTBEAT_PORT, MAX_PEERS, Peer, PeerFile, domain_name};

/// How often the file is looked at.
pub(super) const LOOK: Duration = Duration::from_secs(1);
/// Looks after which the names in a file that has not changed are asked for anew.
const ASK_AGAIN: u32 = 30;
/// Longest file, in bytes: [`MAX_PEERS`] targets with all the labels that a cloud gives them.
const MAX_FILE: u64 = 1024 * 1024;
/// Labels that may name a peer, the first one that is given counts; `instance` is Prometheus's own.
const NAME_LABELS: [&str; 3] = ["lacuna_name", "name", "instance"];

/// Why there is no list.
#[derive(Debug, thiserror::Error)]
pub(super) enum FileError {
    #[error("cannot be read: {0}")]
    Unreadable(#[from] std::io::Error),
    #[error("is no file")]
    NoFile,
    #[error("is longer than {MAX_FILE} bytes")]
    TooLong,
    #[error("is no list of targets as in Prometheus's file_sd_configs: {0}")]
    Wrong(#[from] serde_json::Error),
}

/// One group of the file. What Prometheus does not know is a mistake here as well.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Group {
    targets: Vec<String>,
    #[serde(default)]
    labels: BTreeMap<String, String>,
}

/// What stands before the port.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Host {
    Ip(IpAddr),
    Name(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Target {
    /// What the peer is called.
    name: String,
    host: Host,
    port: u16,
}

/// All that a file says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Targets {
    targets: Vec<Target>,
    refused: Refusals,
}

impl Targets {
    pub(super) fn parse(text: &[u8]) -> Result<Self, FileError> {
        let groups: Vec<Group> = serde_json::from_slice(text)?;
        let mut all = Self::default();
        for Group { targets, labels } in groups {
            let label = NAME_LABELS.iter().find_map(|label| labels.get(*label)).filter(|label| !label.is_empty());
            targets.iter().for_each(|text| all.add(text, label.map(String::as_str)));
        }
        Ok(all)
    }

    fn add(&mut self, text: &str, label: Option<&str>) {
        let Some((host, port)) = split(text) else { return self.refused.add(text, Reason::Address) };
        if self.targets.len() >= MAX_PEERS {
            return self.refused.add(text, Reason::TooMany);
        }
        let name = label.map_or_else(|| host.name(), without_port);
        self.targets.push(Target { name, host, port });
    }

    fn names(&self) -> impl Iterator<Item = &String> {
        self.targets.iter().filter_map(|target| match &target.host {
            Host::Name(name) => Some(name),
            Host::Ip(_) => None,
        })
    }

    /// The peers; `addresses` are those of names.
    pub(super) fn found(&self, addresses: &HashMap<String, IpAddr>) -> Found {
        let mut found = Found { peers: Vec::new(), refused: self.refused.clone() };
        for Target { name, host, port } in &self.targets {
            let ip = match host {
                Host::Ip(ip) => Some(*ip),
                Host::Name(name) => addresses.get(name).copied(),
            };
            match ip {
                Some(ip) => found.peers.push(Peer { name: name.clone(), addr: SocketAddr::new(ip, *port) }),
                None => found.refused.add(name, Reason::Unresolved),
            }
        }
        found
    }
}

impl Host {
    /// What a peer is called that has no other name.
    fn name(&self) -> String {
        match self {
            Self::Ip(ip) => dns::name_of(*ip),
            Self::Name(name) => name.trim_end_matches('.').to_lowercase(),
        }
    }
}

/// A label such as `instance` often has a port.
fn without_port(label: &str) -> String {
    match split(label) {
        Some((Host::Ip(ip), _)) => dns::name_of(ip),
        Some((Host::Name(name), _)) => name,
        None => label.to_owned(),
    }
}

/// Host and port of a target; without a port it is [`HEARTBEAT_PORT`].
fn split(text: &str) -> Option<(Host, u16)> {
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Some((Host::Ip(address.ip()), address.port()));
    }
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    if let Ok(ip) = bare.parse() {
        return Some((Host::Ip(ip), HEARTBEAT_PORT));
    }
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) => (host, port.parse().ok()?),
        None => (text, HEARTBEAT_PORT),
    };
    Some((Host::Name(domain_name(host).ok()?), port))
}

/// By which a file is told from the one before: whoever replaces it gives it another inode, whoever writes into it
/// another time.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Key {
    File { device: u64, inode: u64, length: u64, modified: (i64, i64), changed: (i64, i64) },
    Missing(ErrorKind),
}

impl Key {
    fn of(metadata: &std::io::Result<Metadata>) -> Self {
        match metadata {
            Ok(file) => Self::File {
                device: file.dev(),
                inode: file.ino(),
                length: file.len(),
                modified: (file.mtime(), file.mtime_nsec()),
                changed: (file.ctime(), file.ctime_nsec()),
            },
            Err(error) => Self::Missing(error.kind()),
        }
    }
}

/// One file, followed.
pub(super) struct FileWatch {
    path: PathBuf,
    family: Family,
    key: Option<Key>,
    /// It was read again one look after it had changed. Times of files have a grain of a few milliseconds, so what is
    /// written just after a reading may look like what was read.
    settled: bool,
    /// The last list that could be read.
    targets: Option<Targets>,
    /// Why there is no newer one.
    broken: Option<String>,
    /// The addresses that names had last.
    addresses: HashMap<String, IpAddr>,
    until_asked: u32,
}

impl FileWatch {
    pub(super) fn new(file: &PeerFile, family: Family) -> Self {
        Self {
            path: file.path.clone(),
            family,
            key: None,
            settled: false,
            targets: None,
            broken: None,
            addresses: HashMap::new(),
            until_asked: 0,
        }
    }

    /// Looks once; nothing where all is as it was.
    pub(super) async fn look(&mut self) -> Option<Outcome> {
        match self.read_if_changed() {
            Some(Err(trouble)) => return Some(Outcome::failed(trouble)),
            Some(Ok(())) => {}
            None if self.broken.is_some() || !self.is_to_ask() => return None,
            None => {}
        }
        let trouble = self.ask().await;
        let found = self.targets.as_ref().map(|targets| targets.found(&self.addresses));
        Some(Outcome { found, trouble })
    }

    /// Nothing where the file says what it said before.
    fn read_if_changed(&mut self) -> Option<Result<(), String>> {
        let metadata = std::fs::metadata(&self.path);
        let key = Key::of(&metadata);
        if self.key.as_ref() != Some(&key) {
            (self.key, self.settled) = (Some(key), false);
        } else if std::mem::replace(&mut self.settled, true) {
            return None;
        }
        match self.read(metadata) {
            Ok(targets) if self.broken.is_none() && self.targets.as_ref() == Some(&targets) => None,
            Ok(targets) => {
                (self.targets, self.broken) = (Some(targets), None);
                Some(Ok(()))
            }
            Err(error) => {
                let trouble = error.to_string();
                let known = self.broken.replace(trouble.clone());
                (known.as_ref() != Some(&trouble)).then_some(Err(trouble))
            }
        }
    }

    fn read(&self, metadata: std::io::Result<Metadata>) -> Result<Targets, FileError> {
        // Opening a named pipe would wait for somebody who writes into it.
        if !metadata?.is_file() {
            return Err(FileError::NoFile);
        }
        let mut text = Vec::new();
        File::open(&self.path)?.take(MAX_FILE + 1).read_to_end(&mut text)?;
        if u64::try_from(text.len()).is_ok_and(|length| length > MAX_FILE) {
            return Err(FileError::TooLong);
        }
        Targets::parse(&text)
    }

    /// Counts the looks until names have to be asked for anew.
    fn is_to_ask(&mut self) -> bool {
        self.until_asked = self.until_asked.saturating_sub(1);
        let names = self.targets.as_ref().is_some_and(|targets| targets.names().next().is_some());
        names && self.until_asked == 0
    }

    /// Asks for the addresses of all names; one that nobody answers for keeps the address that it had.
    async fn ask(&mut self) -> Option<String> {
        self.until_asked = ASK_AGAIN;
        let mut names: Vec<String> = self.targets.iter().flat_map(Targets::names).cloned().collect();
        names.sort();
        names.dedup();
        self.addresses.retain(|name, _| names.binary_search(name).is_ok());
        if names.is_empty() {
            return None;
        }
        let answers = match dns::addresses(None, names, self.family).await {
            Ok(answers) => answers,
            Err(error) => return Some(error.to_string()),
        };
        let mut trouble = None;
        for (name, answer) in answers {
            match answer.map(|answer| answer.first()) {
                Ok(Some(ip)) => {
                    self.addresses.insert(name, ip);
                }
                Ok(None) => {
                    self.addresses.remove(&name);
                }
                Err(error) => trouble = trouble.or_else(|| Some(error.to_string())),
            }
        }
        trouble
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    /// Parses `text` and compares: a peer in a word, then what is refused.
    fn check(text: &str, expected: &[&str], refused: &[(&str, u64)]) {
        let targets = Targets::parse(text.as_bytes()).unwrap();
        let found = targets.found(&[("lb3.example".to_owned(), IpAddr::from([10, 77, 0, 14]))].into());
        let said: Vec<String> = found.peers.iter().map(|peer| format!("{}={}", peer.name, peer.addr)).collect();
        assert_eq!(said, expected, "for {text}");
        let refused = refused.iter().map(|(reason, count)| ((*reason).to_owned(), *count)).collect();
        assert_eq!(found.refused.counts(), refused, "for {text}");
    }

    #[test]
    fn peers_are_named_by_label_or_by_host() {
        check("[]", &[], &[]);
        check(
            r#"[{"targets": ["10.77.0.12:9000"], "labels": {"job": "lacuna", "name": "lb1", "instance": "x:1"}},
                {"targets": ["10.77.0.13"], "labels": {"instance": "lb2:9100"}},
                {"targets": ["lb3.example:9001", "LB3.example."], "labels": {}},
                {"targets": ["[fd00::1]:9479", "fd00::2", "[fd00::3]", "10.77.0.15"]},
                {"targets": ["10.77.0.16"], "labels": {"lacuna_name": "db2", "name": "x"}}]"#,
            &[
                "lb1=10.77.0.12:9000",
                "lb2=10.77.0.13:9479",
                "lb3.example=10.77.0.14:9001",
                "fd00--1=[fd00::1]:9479",
                "fd00--2=[fd00::2]:9479",
                "fd00--3=[fd00::3]:9479",
                "10.77.0.15=10.77.0.15:9479",
                "db2=10.77.0.16:9479",
            ],
            &[("unresolved", 1)],
        );
    }

    #[test]
    fn what_is_no_target_is_refused_and_the_others_stand() {
        check(
            r#"[{"targets": ["10.77.0.12:99999", "", ":9479", "a b:1", "http://x/", "10.77.0.13:1", "\u001b[2J"]}]"#,
            &["10.77.0.13=10.77.0.13:1"],
            &[("address", 6)],
        );
    }

    #[test]
    fn what_is_no_list_of_targets_is_an_error() {
        let deep = "[".repeat(100_000);
        let huge = format!("[{{\"targets\": \"{}\"", "x".repeat(100_000));
        for text in [
            "",
            "{}",
            "null",
            "[{}]",
            "[1]",
            r#"[{"targets": "10.77.0.12:9479"}]"#,
            r#"[{"targets": [7]}]"#,
            r#"[{"targets": [], "labels": {"name": 7}}]"#,
            r#"[{"targets": [], "lables": {}}]"#,
            r#"[{"targets": ["10.77.0.12:9479"]"#,
            "[{\"targets\": [\"\u{0}",
            &deep,
            &huge,
        ] {
            let error = Targets::parse(text.as_bytes()).unwrap_err();
            assert!(matches!(error, FileError::Wrong(_)), "{error}");
            let trouble = Outcome::failed(error.to_string()).trouble.unwrap();
            assert!(trouble.len() < 400 && !trouble.contains(char::is_control), "{trouble}");
        }
        assert!(Targets::parse(b"[{\"targets\": [\"\xff\"]}]").is_err());
    }

    #[test]
    fn a_list_without_end_is_cut() {
        let many: Vec<String> = (0..MAX_PEERS + 3).map(|i| format!("\"p{i}:9479\"")).collect();
        let targets = Targets::parse(format!("[{{\"targets\": [{}]}}]", many.join(",")).as_bytes()).unwrap();
        assert_eq!(targets.targets.len(), MAX_PEERS);
        assert_eq!(targets.refused.counts(), [("too-many".to_owned(), 3)].into());
    }

    fn watch(path: &Path) -> FileWatch {
        FileWatch::new(&PeerFile { path: path.to_owned() }, Family::V4)
    }

    fn look(watch: &mut FileWatch) -> Option<Outcome> {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(watch.look())
    }

    fn names(outcome: Option<Outcome>) -> Vec<String> {
        outcome.unwrap().found.unwrap().peers.into_iter().map(|peer| peer.name).collect()
    }

    const ONE: &str = r#"[{"targets": ["10.77.0.12"]}]"#;
    const TWO: &str = r#"[{"targets": ["10.77.0.13"]}]"#;

    #[test]
    fn a_file_is_read_when_it_changes_and_only_then() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("peers.json");
        fs::write(&path, ONE).unwrap();
        let mut watch = watch(&path);
        assert_eq!(names(look(&mut watch)), ["10.77.0.12"]);
        assert_eq!((look(&mut watch), look(&mut watch)), (None, None));
        fs::write(dir.path().join("new"), TWO).unwrap();
        fs::rename(dir.path().join("new"), &path).unwrap();
        assert_eq!(names(look(&mut watch)), ["10.77.0.13"], "replaced");
        // Of the same length, and perhaps within the same grain of time.
        fs::write(&path, ONE).unwrap();
        assert_eq!(names(look(&mut watch)), ["10.77.0.12"], "written into");
        fs::write(&path, format!("{ONE}\n")).unwrap();
        assert_eq!(look(&mut watch), None, "the same peers");
    }

    #[test]
    fn a_wrong_file_keeps_the_peers_and_is_told_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("peers.json");
        let mut watch = watch(&path);
        let missing = look(&mut watch).unwrap();
        assert!(missing.found.is_none() && missing.trouble.unwrap().contains("No such file"));
        assert_eq!(look(&mut watch), None);
        fs::write(&path, ONE).unwrap();
        assert_eq!(names(look(&mut watch)), ["10.77.0.12"]);
        fs::write(&path, &ONE[..20]).unwrap();
        let half = look(&mut watch).unwrap();
        assert!(half.found.is_none() && half.trouble.unwrap().contains("EOF while parsing"));
        assert_eq!((look(&mut watch), look(&mut watch)), (None, None));
        fs::write(&path, ONE).unwrap();
        assert_eq!(look(&mut watch).unwrap().trouble, None, "the same list as before, and all is well again");
    }

    #[test]
    fn what_is_no_file_or_is_too_long_is_not_read() {
        let dir = tempfile::tempdir().unwrap();
        assert!(look(&mut watch(dir.path())).unwrap().trouble.unwrap().contains("is no file"));
        let pipe = dir.path().join("pipe");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(look(&mut watch(&pipe)).unwrap().trouble.unwrap().contains("is no file"));
        let long = dir.path().join("long");
        File::create(&long).unwrap().set_len(MAX_FILE + 1).unwrap();
        assert!(look(&mut watch(&long)).unwrap().trouble.unwrap().contains("longer than"));
    }
}
