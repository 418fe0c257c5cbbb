//! What `doctor` says of this host's own network.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::report::Check;
use crate::clock;
use crate::config::Config;
use crate::host::HostFiles;
use crate::link_state::{Around, Interface, InterfaceWatch};
use crate::probes::ProbeStatus;

/// By what fragments are counted: the kernel's own counters have all of them, the probes know whose they are.
pub(super) fn fragments(files: &HostFiles, probes: &[ProbeStatus]) -> Check {
    let counters = files.protocol_counters();
    if counters.fragment_fails.is_none() || counters.reassembly_timeouts.is_none() {
        return Check::degraded("fragments", "/proc/net/snmp cannot be read", "mount /proc");
    }
    let hooks = probes.iter().filter(|probe| probe.probe == "fragments" && probe.attached);
    let ways: BTreeSet<&str> = hooks.filter_map(|probe| Some(probe.hook.split_once('/')?.0)).collect();
    let ways: Vec<&str> = ways.into_iter().collect();
    if ways.is_empty() {
        return Check::ok("fragments", "counted by /proc/net/snmp, not by peer");
    }
    Check::ok("fragments", format!("counted by /proc/net/snmp, by peer as far as {} can be had", ways.join(" and ")))
}

/// The interfaces that would be watched.
pub(super) fn interfaces(config: &Config) -> Check {
    let mut watch = match InterfaceWatch::open(&config.watch.interfaces) {
        Ok(watch) => watch,
        Err(error) => {
            let told = format!("netlink: {error}");
            return Check::degraded("interfaces", told, "changes of carrier, MTU and addresses are not seen");
        }
    };
    let nobody = Around { host: &config.host, peers: &[], gateway: None::<IpAddr> };
    watch.changes(&nobody, clock::boot());
    let watched: Vec<&Interface> = watch.watched().collect();
    let missing: Vec<&str> = config
        .watch
        .interfaces
        .iter()
        .filter(|name| !watched.iter().any(|interface| interface.name == **name))
        .map(String::as_str)
        .collect();
    let told: Vec<String> = watched.iter().map(|interface| describe(interface)).collect();
    let told = if told.is_empty() { "none is up".to_owned() } else { told.join(", ") };
    if missing.is_empty() {
        Check::ok("interfaces", told)
    } else {
        let next = format!("watch.interfaces names {}, see `ip link`", missing.join(", "));
        Check::degraded("interfaces", told, next)
    }
}

fn describe(interface: &Interface) -> String {
    let carrier = if interface.carrier { "carrier" } else { "no carrier" };
    let mtu = interface.mtu.map(|mtu| format!(", MTU {mtu}")).unwrap_or_default();
    format!("{} ({carrier}{mtu})", interface.name)
}

#[cfg(test)]
mod tests {
    use super::super::report::State;
    use super::*;

    fn probe(hook: &str, attached: bool) -> ProbeStatus {
        let (because, instead) = (Some("EPERM".to_owned()), Some("/proc/net/snmp".to_owned()));
        ProbeStatus { probe: "fragments".into(), hook: hook.into(), attached, because, instead }
    }

    #[test]
    fn a_kernel_that_lets_nothing_hang_on_its_functions_counts_by_its_own_counters() {
        let found = |probes: &[ProbeStatus]| fragments(&HostFiles::default(), probes).found;
        assert_eq!(found(&[probe("fentry/ip_expire", false)]), "counted by /proc/net/snmp, not by peer");
        let both = [probe("fentry/ip_expire", true), probe("raw_tp/icmp_send", true)];
        assert_eq!(found(&both), "counted by /proc/net/snmp, by peer as far as fentry and raw_tp can be had");
        let nothing = fragments(&HostFiles::below(std::path::Path::new("/nonexistent")), &both);
        assert_eq!(nothing.state, State::Degraded);
    }

    #[test]
    fn an_interface_that_is_configured_and_not_there_is_named() {
        let mut config = Config::without_file("db1");
        assert_eq!(interfaces(&config).state, State::Ok);
        config.watch.interfaces = vec!["no-such-one".into()];
        let check = interfaces(&config);
        assert_eq!(check.state, State::Degraded);
        assert!(check.next.unwrap().contains("no-such-one"));
    }
}
