//! The checks of `doctor`. Those that read files take the root they are under.

use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::path::Path;

use nix::unistd::{AccessFlags, access};
use socket2::{Domain, Protocol, Socket, Type};

use super::collector::collector;
use super::keys::keys;
use super::network;
use super::peers::peers;
use super::report::{Check, Report, State};
use crate::cli::client;
use crate::clock;
use crate::config::Config;
use crate::export::json::Health;
use crate::export::words::span;
use crate::host::HostFiles;
use crate::link;
use crate::probes::ProbeStatus;
use crate::store::{Query, StoreError, StoreReader};

const AS_ROOT: &str = "run as root, or give the agent CAP_BPF, CAP_PERFMON and CAP_NET_RAW";

/// Every check. The main job: exchange heartbeats, or, without peers, have at least one probe attached.
pub(super) fn report(root: &Path, config: &Config, probes: &[ProbeStatus]) -> Report {
    let heartbeat = heartbeat(config);
    let keys = keys(config);
    let works = if config.exchanges_heartbeats() {
        heartbeat.state != State::Failed && keys.as_ref().is_none_or(|keys| keys.state != State::Failed)
    } else {
        probes.iter().any(|probe| probe.attached)
    };
    let mut checks = vec![kernel(root), btf(root)];
    checks.extend(capabilities(root));
    checks.extend(probes.iter().map(probe));
    let files = HostFiles::below(root);
    checks.extend([
        network::fragments(&files, probes),
        network::interfaces(config),
        cpus(&files),
        kernel_log(&files),
        clock_source(root),
        boot_clock(),
        icmp(),
        link(config, &files),
        heartbeat,
        store(config),
    ]);
    checks.extend(keys);
    checks.extend(peers(config));
    checks.extend(config.otlp.as_ref().map(collector));
    Report { works, checks }
}

fn read(root: &Path, file: &str) -> Result<String, String> {
    let path = root.join(file);
    let text = std::fs::read_to_string(&path).map_err(|error| format!("/{file}: {error}"))?;
    Ok(text.trim().to_owned())
}

fn kernel(root: &Path) -> Check {
    match read(root, "proc/sys/kernel/osrelease") {
        Ok(release) if version(&release).is_none_or(|version| version >= (5, 8)) => Check::ok("kernel", release),
        Ok(release) => Check::degraded("kernel", release, "probes need 5.8 or later"),
        Err(error) => Check::degraded("kernel", error, "mount /proc"),
    }
}

/// Major and minor number of a release such as `6.12.0-18-cloud-amd64`.
fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

fn btf(root: &Path) -> Check {
    match std::fs::metadata(root.join("sys/kernel/btf/vmlinux")) {
        Ok(file) => Check::ok("btf", format!("/sys/kernel/btf/vmlinux, {} KiB", file.len() / 1024)),
        Err(error) => Check::degraded(
            "btf",
            format!("/sys/kernel/btf/vmlinux: {error}"),
            "probes need a kernel built with CONFIG_DEBUG_INFO_BTF",
        ),
    }
}

/// Number (linux/capability.h), name, and what is lost without it.
const CAPABILITIES: [(u32, &str, &str); 4] = [
    (39, "CAP_BPF", "no probe can be loaded"),
    (38, "CAP_PERFMON", "no probe can be attached"),
    (13, "CAP_NET_RAW", "a peer whose kernel answers cannot be told from one that is gone"),
    (21, "CAP_SYS_ADMIN", "needed on kernels that do not know CAP_BPF only"),
];
const SYS_ADMIN: u32 = 21;
const NET_RAW: u32 = 13;

fn capabilities(root: &Path) -> Vec<Check> {
    let effective = read(root, "proc/self/status").and_then(|status| {
        let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
        let bits = line.and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok());
        bits.ok_or_else(|| "/proc/self/status: has no CapEff".to_owned())
    });
    match effective {
        Ok(bits) => CAPABILITIES.iter().map(|one| capability(bits, one)).collect(),
        Err(error) => vec![Check::degraded("capability", error, "mount /proc")],
    }
}

fn capability(bits: u64, (number, name, without): &(u32, &str, &str)) -> Check {
    let has = |number: u32| bits >> number & 1 == 1;
    if has(*number) {
        Check::ok("capability", *name)
    } else if *number == SYS_ADMIN || (*number != NET_RAW && has(SYS_ADMIN)) {
        Check::ok("capability", format!("{name} is not there and not needed"))
    } else {
        Check::degraded("capability", format!("{name} is missing: {without}"), AS_ROOT)
    }
}

fn probe(status: &ProbeStatus) -> Check {
    let hook = format!("{} on {}", status.probe, status.hook);
    if status.attached {
        return Check::ok("probe", hook);
    }
    let because = status.because.as_deref().unwrap_or("no reason was given");
    let instead = status.instead.as_ref().map(|instead| format!("; {instead}")).unwrap_or_default();
    Check::degraded("probe", hook, format!("not attached: {because}{instead}"))
}

/// Isolated CPUs are left alone, so their stalls are not seen.
fn cpus(files: &HostFiles) -> Check {
    let Some(topology) = files.topology() else {
        return Check::degraded(
            "cpus",
            "/sys/devices/system/cpu cannot be read",
            "stalls of CPUs are not seen; mount /sys",
        );
    };
    let covered = topology.covered();
    let left: Vec<String> = topology.online.difference(&covered).map(u32::to_string).collect();
    if left.is_empty() {
        return Check::ok("cpus", format!("stalls of all {} are seen", covered.len()));
    }
    let told = format!("stalls of {} are seen, not of CPU {}", covered.len(), left.join(", "));
    Check::degraded("cpus", told, "isolated and nohz_full CPUs are left alone on purpose")
}

fn kernel_log(files: &HostFiles) -> Check {
    match files.kmsg() {
        Ok(_) => Check::ok("kernel log", "/dev/kmsg"),
        Err(error) => {
            Check::degraded("kernel log", error.to_string(), "the kernel's own watchdogs are no evidence then")
        }
    }
}

fn clock_source(root: &Path) -> Check {
    match read(root, "sys/devices/system/clocksource/clocksource0/current_clocksource") {
        Ok(name) => Check::ok("clock source", name),
        Err(error) => Check::degraded("clock source", error, "incidents will not name it; mount /sys"),
    }
}

fn boot_clock() -> Check {
    match clock::try_boot() {
        Ok(since) => Check::ok("boot clock", format!("runs since {}", span(since))),
        Err(error) => Check::failed("boot clock", error.desc(), "the agent measures everything on CLOCK_BOOTTIME"),
    }
}

fn icmp() -> Check {
    match Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::ICMPV4)) {
        Ok(_) => Check::ok("icmp", "echo requests can be sent"),
        Err(error) => Check::degraded("icmp", format!("no raw socket: {error}"), AS_ROOT),
    }
}

/// Who has which address is asked for on the interfaces with an address in its network.
fn link(config: &Config, files: &HostFiles) -> Check {
    let topic = "link";
    let gateway = files.default_gateway().map(|address| ("gateway", address));
    let survey = match link::survey(config, gateway) {
        Ok(survey) => survey,
        Err(error) => return Check::degraded(topic, format!("no packet socket: {error}"), AS_ROOT),
    };
    let interfaces = survey.interfaces.iter();
    let asks: Vec<String> = interfaces.map(|(name, count)| format!("asks for {count} addresses on {name}")).collect();
    let asks = if asks.is_empty() { "nobody is asked for by ARP".to_owned() } else { asks.join(", ") };
    if survey.notes.is_empty() {
        return Check::ok(topic, asks);
    }
    Check::degraded(topic, format!("{asks}; {}", survey.notes.join("; ")), "see watch.interfaces, and `ip address`")
}

fn heartbeat(config: &Config) -> Check {
    let topic = "heartbeat";
    if !config.exchanges_heartbeats() {
        return Check::ok(topic, "no peers, no socket needed");
    }
    let address = config.heartbeat.listen;
    match UdpSocket::bind(address) {
        Ok(_) => Check::ok(topic, format!("{address} is free")),
        Err(error) if error.kind() == ErrorKind::AddrInUse => taken(address, config),
        Err(error) => Check::failed(
            topic,
            format!("{address}: {error}"),
            "set heartbeat.listen to an address of this host, see `ip address`",
        ),
    }
}

fn taken(address: SocketAddr, config: &Config) -> Check {
    let url = format!("http://{}", config.http.listen);
    match client::get::<Health>(&url, "/healthz") {
        Ok(health) => {
            Check::ok("heartbeat", format!("{address} is held by the agent that runs ({})", health.status.name()))
        }
        Err(_) => Check::failed(
            "heartbeat",
            format!("{address} is taken, and no agent answers at {url}"),
            format!("see who has it: ss -ulpn sport = :{}", address.port()),
        ),
    }
}

fn store(config: &Config) -> Check {
    let directory = &config.store.path;
    let shown = directory.display();
    match StoreReader::new(directory).find(&Query { limit: 1, ..Query::default() }) {
        Ok(_) if is_writable(directory) => Check::ok("store", format!("{shown} can be read and written")),
        Err(StoreError::Missing { .. }) if is_writable(existing(directory)) => {
            Check::ok("store", format!("{shown} will be made"))
        }
        Ok(_) | Err(StoreError::Missing { .. }) => Check::degraded(
            "store",
            format!("{shown} cannot be written: incidents would not be kept"),
            "set store.path to a directory that can be written",
        ),
        Err(error) => Check::degraded("store", "incidents would not be kept", error.to_string()),
    }
}

fn is_writable(directory: &Path) -> bool {
    directory.is_dir() && access(directory, AccessFlags::W_OK | AccessFlags::X_OK).is_ok()
}

/// The directory itself, or the nearest one above it that exists.
fn existing(directory: &Path) -> &Path {
    directory.ancestors().find(|one| one.exists()).unwrap_or(Path::new("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = root.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        root
    }

    fn attached(attached: bool) -> ProbeStatus {
        let because = (!attached).then(|| "EPERM".to_owned());
        ProbeStatus { probe: "sched".into(), hook: "raw_tp/sched_switch".into(), attached, because, instead: None }
    }

    fn with_peer(listen: SocketAddr) -> Config {
        let text = format!(
            "host = \"db1\"\n[heartbeat]\nlisten = \"{listen}\"\ninsecure = true\n[http]\nlisten = \"127.0.0.1:9\"\n\
             [[peers]]\nname = \"lb1\"\naddr = \"127.0.0.1:1\"\n"
        );
        Config::parse(&text, "c").unwrap()
    }

    #[test]
    fn a_machine_with_nothing_says_what_is_missing_and_what_to_do() {
        let root = machine(&[]);
        let config = Config::without_file("db1");
        let report = report(root.path(), &config, &[attached(false)]);
        assert!(!report.works);
        let text = report.text(crate::export::table::Paint::PLAIN);
        for said in [
            "/proc/sys/kernel/osrelease: No such file",
            "CONFIG_DEBUG_INFO_BTF",
            "sched on raw_tp/sched_switch; not attached: EPERM",
            "could not do its main job",
        ] {
            assert!(text.contains(said), "{said} not in\n{text}");
        }
    }

    #[test]
    fn kernels_below_5_8_are_named() {
        for (release, state) in [
            ("6.12.0-18-cloud-amd64", State::Ok),
            ("5.8.0", State::Ok),
            ("5.7.19", State::Degraded),
            ("4.19.0", State::Degraded),
        ] {
            let root = machine(&[("proc/sys/kernel/osrelease", release)]);
            assert_eq!(kernel(root.path()).state, state, "{release}");
        }
    }

    #[test]
    fn capabilities_are_judged_one_by_one() {
        let bit = |number: u32| 1_u64 << number;
        let states = |bits: u64| {
            let root = machine(&[("proc/self/status", &format!("Name:\tx\nCapEff:\t{bits:016x}\n"))]);
            let checks = capabilities(root.path());
            checks.iter().map(|check| check.state == State::Ok).collect::<Vec<_>>()
        };
        assert_eq!(states(0), [false, false, false, true]);
        assert_eq!(states(bit(39) | bit(38) | bit(13)), [true; 4]);
        assert_eq!(states(bit(21)), [true, true, false, true], "CAP_SYS_ADMIN does for BPF, not for raw sockets");
    }

    #[test]
    fn a_taken_heartbeat_port_without_an_agent_is_no_place_to_run() {
        let other = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = other.local_addr().unwrap();
        let config = with_peer(address);
        let taken = report(Path::new("/"), &config, &[attached(true)]);
        assert!(!taken.works);
        let check = taken.checks.iter().find(|check| check.topic == "heartbeat").unwrap();
        assert!(check.found.starts_with(&format!("{address} is taken")), "{check:?}");
        drop(other);
        assert!(report(Path::new("/"), &config, &[]).works, "heartbeats do without probes");
    }

    #[test]
    fn the_store_is_looked_at_and_left_alone() {
        let root = tempfile::tempdir().unwrap();
        let mut config = Config::without_file("db1");
        config.store.path = root.path().join("a/b");
        assert_eq!(store(&config).state, State::Ok);
        assert!(!root.path().join("a").exists());
        std::fs::write(root.path().join("file"), "").unwrap();
        config.store.path = root.path().join("file/store");
        assert_eq!(store(&config).state, State::Degraded);
        config.store.path = root.path().to_owned();
        std::fs::write(root.path().join("incidents.db"), "no database at all, however long the text is").unwrap();
        let check = store(&config);
        assert_eq!(check.state, State::Degraded);
        assert!(check.next.unwrap().contains("not a database"));
    }
}
