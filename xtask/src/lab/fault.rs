//! Packets that vanish, by nftables: the text of the rules and the namespaces that they go to.

use std::net::Ipv4Addr;

use anyhow::{Context as _, Result};
use serde::Deserialize;

use super::netns::Namespace;
use super::network::Network;

/// The table that holds every rule of the lab.
const TABLE: &str = "lab";

/// `drop` in a scenario.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct DropRule {
    /// Whose packets are lost.
    pub(crate) from: String,
    /// On their way to whom.
    pub(crate) to: String,
    /// The other way as well.
    #[serde(default)]
    pub(crate) both_ways: bool,
    /// Only this protocol.
    #[serde(default)]
    pub(crate) only: Option<Protocol>,
    /// Only so many of a hundred, by chance.
    #[serde(default)]
    pub(crate) percent: Option<u8>,
    /// Only some sizes or pieces.
    #[serde(default)]
    pub(crate) pieces: Pieces,
    /// Where they are lost.
    #[serde(default)]
    pub(crate) hook: Hook,
}

/// Which packets of IPv4 are lost, by their form.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Pieces {
    /// All of them.
    #[default]
    All,
    /// Whatever is longer than so many bytes, as on a switch with a smaller MTU.
    Above(u16),
    /// Whatever must not be fragmented and is longer than so many bytes, as at a router whose word does not arrive.
    UnfragmentableAbove(u16),
    /// Fragments, as at many firewalls.
    Fragments,
}

impl Pieces {
    /// The match of nftables. Of the field with flags and offset, 0x4000 is "don't fragment", 0x3fff a fragment.
    fn matching(self) -> String {
        match self {
            Self::All => String::new(),
            Self::Above(bytes) => format!("ip length > {bytes} "),
            Self::UnfragmentableAbove(bytes) => format!("ip length > {bytes} ip frag-off & 0x4000 != 0 "),
            Self::Fragments => "ip frag-off & 0x3fff != 0 ".to_owned(),
        }
    }
}

/// A protocol above IP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Protocol {
    /// Heartbeats.
    Udp,
    /// Traffic.
    Tcp,
    /// Echo requests and their answers.
    Icmp,
    /// Adverts of keepalived, to whomever they go: these are multicast.
    Vrrp,
}

/// Where a packet is lost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Hook {
    /// Between the hosts, where neither kernel sees a rule: on the bridge, or in the router where they are in two segments.
    #[default]
    Switch,
    /// In the receiver's firewall.
    Input,
    /// Where the receiver's link hands them over.
    Ingress,
    /// In the sender's firewall; the sender is told (EPERM).
    Output,
    /// In the receiver's reverse-path filter (RFC 3704): its way back to the sender seems to be another one.
    ReversePath,
}

impl DropRule {
    /// From when it is applied, these packets are lost. Rules of one namespace come into force together.
    pub(crate) fn apply(&self, network: &Network) -> Result<()> {
        let mut ways = vec![(&self.from, &self.to)];
        if self.both_ways {
            ways.push((&self.to, &self.from));
        }
        if self.hook == Hook::Switch {
            let rules: Result<String> = ways.iter().map(|way| self.rule(network, *way)).collect();
            let far = [network.host(&self.from)?.far, network.host(&self.to)?.far];
            let namespace = if far == [true, true] { network.router()? } else { &network.switch };
            let family = if far[0] == far[1] { "bridge" } else { "inet" };
            return namespace.nft(&self.script(family, &rules?));
        }
        for (from, to) in ways {
            let host = network.host(if self.hook == Hook::Output { from } else { to })?;
            let rule = self.rule(network, (from, to))?;
            if self.hook == Hook::ReversePath {
                other_way_back(host.namespace()?, network.host(from)?.addr)?;
            }
            let family = if self.hook == Hook::Ingress { "netdev" } else { "inet" };
            host.namespace()?.nft(&self.script(family, &rule))?;
        }
        Ok(())
    }

    fn rule(&self, network: &Network, (from, to): (&String, &String)) -> Result<String> {
        let (from, to) = (network.host(from)?.addr, network.host(to)?.addr);
        if self.only == Some(Protocol::Vrrp) {
            // Protocol 112 (RFC 5798, 5.1.1.4).
            return Ok(format!("ip saddr {from} ip protocol 112 drop\n"));
        }
        let chance = self.percent.map(|percent| format!("numgen random mod 100 < {percent} ")).unwrap_or_default();
        let end = if self.hook == Hook::ReversePath { format!("meta mark set {OTHER_WAY}") } else { "drop".to_owned() };
        Ok(format!("ip saddr {from} ip daddr {to} {}{}{chance}{end}\n", protocol(self.only), self.pieces.matching()))
    }

    fn script(&self, family: &str, rules: &str) -> String {
        let (hook, device) = match self.hook {
            Hook::Switch => ("forward", ""),
            Hook::Input => ("input", ""),
            Hook::Output => ("output", ""),
            Hook::Ingress => ("ingress", " device \"eth0\""),
            Hook::ReversePath => ("prerouting", ""),
        };
        // A chain for each hook: a host may drop at several.
        let chain = format!("chain {hook} {{\ntype filter hook {hook}{device} priority 0;\n{rules}}}");
        format!("table {family} {TABLE} {{\n{chain}\n}}\n")
    }
}

/// The mark of packets whose sender is not where the way back leads, and the number of the table with that way.
const OTHER_WAY: u32 = 77;

/// For packets with that mark the way back to `sender` leads elsewhere, and the filter looks at the mark. Without marked packets
/// that changes nothing.
fn other_way_back(namespace: &Namespace, sender: Ipv4Addr) -> Result<()> {
    namespace.ip(&format!("route replace {sender}/32 dev lo table {OTHER_WAY}\n"))?;
    // It may be there from before.
    let _ = namespace.ip(&format!("rule delete fwmark {OTHER_WAY} lookup {OTHER_WAY}\n"));
    namespace.ip(&format!("rule add fwmark {OTHER_WAY} lookup {OTHER_WAY}\n"))?;
    namespace.enter(|| {
        ["rp_filter", "src_valid_mark"].into_iter().try_for_each(|name| {
            let path = format!("/proc/sys/net/ipv4/conf/eth0/{name}");
            std::fs::write(&path, "1").context(path)
        })
    })
}

/// Removes every rule of the lab; the link between two segments is as wide as all others again.
pub(crate) fn heal(network: &Network) -> Result<()> {
    network.widen()?;
    network.namespaces().try_for_each(|namespace| namespace.nft("flush ruleset\n"))
}

fn protocol(only: Option<Protocol>) -> &'static str {
    match only {
        // Adverts of VRRP have a rule of their own.
        None | Some(Protocol::Vrrp) => "",
        Some(Protocol::Udp) => "meta l4proto udp ",
        Some(Protocol::Tcp) => "meta l4proto tcp ",
        Some(Protocol::Icmp) => "meta l4proto icmp ",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::network::Place;
    use crate::sh;

    fn answers(network: &Network, from: &str, to: &str) -> bool {
        let to = network.host(to).unwrap().addr.to_string();
        let mut ping = network.host(from).unwrap().namespace().unwrap().command("ping");
        sh::output(ping.args(["-c1", "-W1", &to]), "").is_ok()
    }

    #[test]
    fn every_hook_drops_what_it_should_and_heals() {
        let network = Network::create(&["a", "b", "c"]).unwrap();
        for hook in [Hook::Switch, Hook::Input, Hook::Ingress, Hook::Output, Hook::ReversePath] {
            let rule = DropRule {
                from: "a".into(),
                to: "b".into(),
                both_ways: false,
                only: None,
                percent: None,
                pieces: Pieces::All,
                hook,
            };
            rule.apply(&network).unwrap();
            assert!(!answers(&network, "a", "b"), "{hook:?}");
            assert!(answers(&network, "a", "c"), "{hook:?}");
            heal(&network).unwrap();
            assert!(answers(&network, "a", "b"), "{hook:?}");
        }
    }

    #[test]
    fn the_switch_drops_between_and_within_segments() {
        let places = [("a", Place::Near), ("b", Place::Far), ("c", Place::Far)];
        let network = Network::with_places(&places).unwrap();
        for (from, to, other) in [("a", "b", "c"), ("b", "a", "c"), ("b", "c", "a")] {
            let text = format!("from = {from:?}\nto = {to:?}\n");
            toml::from_str::<DropRule>(&text).unwrap().apply(&network).unwrap();
            assert!(!answers(&network, from, to), "{from} {to}");
            assert!(answers(&network, from, other), "{from} {other}");
            heal(&network).unwrap();
            assert!(answers(&network, from, to), "{from} {to}");
        }
    }

    #[test]
    fn a_rule_for_one_protocol_leaves_the_others_alone() {
        let network = Network::create(&["a", "b"]).unwrap();
        let mut rule = DropRule {
            from: "a".into(),
            to: "b".into(),
            both_ways: true,
            only: Some(Protocol::Udp),
            percent: None,
            pieces: Pieces::All,
            hook: Hook::Input,
        };
        rule.apply(&network).unwrap();
        assert!(answers(&network, "a", "b"));
        rule.only = Some(Protocol::Icmp);
        rule.apply(&network).unwrap();
        assert!(!answers(&network, "a", "b") && !answers(&network, "b", "a"));
    }
}
