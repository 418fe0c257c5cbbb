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

/// Which packets are lost, by their form.
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

    /// The same of IPv6, whose length is without its header (RFC 8200), and which nobody fragments on the way.
    fn matching_v6(self) -> String {
        match self {
            Self::All => String::new(),
            Self::Above(bytes) | Self::UnfragmentableAbove(bytes) => {
                format!("ip6 length > {} ", bytes.saturating_sub(40))
            }
            Self::Fragments => "exthdr frag exists ".to_owned(),
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
    /// There as well, between the two ports: every frame, also those to many, such as adverts of keepalived.
    Ports,
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
    /// Everything between the two, in the kernel of whoever would receive it: its own name for the reason is counted.
    pub(crate) fn both_ways(from: &str, to: &str) -> Self {
        let (only, percent) = (None, None);
        Self {
            from: from.into(),
            to: to.into(),
            both_ways: true,
            only,
            percent,
            pieces: Pieces::All,
            hook: Hook::Input,
        }
    }

    /// From when it is applied, these packets are lost. Rules of one namespace come into force together.
    pub(crate) fn apply(&self, network: &Network) -> Result<()> {
        if matches!(self.hook, Hook::Switch | Hook::Ports) {
            let (namespace, family) = self.between(network)?;
            return namespace.nft(&self.script(family, &self.rules(network)?));
        }
        for (from, to) in self.ways() {
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

    fn ways(&self) -> Vec<(&String, &String)> {
        let mut ways = vec![(&self.from, &self.to)];
        if self.both_ways {
            ways.push((&self.to, &self.from));
        }
        ways
    }

    fn rules(&self, network: &Network) -> Result<String> {
        self.ways().into_iter().map(|way| self.rule(network, way)).collect()
    }

    /// Where what is between the hosts passes, and the family of rules that sees it there.
    fn between<'a>(&self, network: &'a Network) -> Result<(&'a Namespace, &'static str)> {
        Ok(match [network.host(&self.from)?.far, network.host(&self.to)?.far] {
            [true, true] => (network.router()?, "bridge"),
            [false, false] => (&network.switch, "bridge"),
            _ => (&network.switch, "inet"),
        })
    }

    fn rule(&self, network: &Network, (from, to): (&String, &String)) -> Result<String> {
        let (from, to) = (network.host(from)?, network.host(to)?);
        let chance = self.percent.map(|percent| format!("numgen random mod 100 < {percent} ")).unwrap_or_default();
        let end = if self.hook == Hook::ReversePath { format!("meta mark set {OTHER_WAY}") } else { "drop".to_owned() };
        let line = |way: &str, form: &str| format!("{way}{}{form}{chance}{end}\n", protocol(self.only));
        let form = self.pieces.matching();
        Ok(match (self.hook, self.only) {
            (Hook::Ports, _) => line(&format!("iifname \"{}\" oifname \"{}\" ", from.port, to.port), &form),
            (_, Some(Protocol::Vrrp)) => line(&format!("ip saddr {} ", from.addr), &form),
            _ => {
                let v6 = from.addr6.zip(to.addr6).map(|(from, to)| format!("ip6 saddr {from} ip6 daddr {to} "));
                let v6 = v6.map(|way| line(&way, &self.pieces.matching_v6())).unwrap_or_default();
                line(&format!("ip saddr {} ip daddr {} ", from.addr, to.addr), &form) + &v6
            }
        })
    }

    fn script(&self, family: &str, rules: &str) -> String {
        let (hook, device) = match self.hook {
            Hook::Switch | Hook::Ports => ("forward", ""),
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

/// From now on every frame is lost between hosts of different groups, both ways and all at once.
pub(crate) fn split(groups: &[Vec<String>], network: &Network) -> Result<()> {
    let rule = |from: &String, to: &String| DropRule { hook: Hook::Ports, ..DropRule::both_ways(from, to) };
    let across = pairs(groups).into_iter().map(|(from, to)| rule(from, to));
    network
        .switch
        .nft(&across.map(|rule| Ok(rule.script("bridge", &rule.rules(network)?))).collect::<Result<String>>()?)
}

/// The pairs of hosts in different groups, each once.
pub(crate) fn pairs(groups: &[Vec<String>]) -> Vec<(&String, &String)> {
    let rest = |number: usize| groups.iter().skip(number + 1).flatten();
    groups
        .iter()
        .enumerate()
        .flat_map(|(number, group)| group.iter().flat_map(move |one| rest(number).map(move |other| (one, other))))
        .collect()
}

/// Removes every rule of the lab; the link between two segments is as wide as all others again.
pub(crate) fn heal(network: &Network) -> Result<()> {
    network.widen()?;
    network.namespaces().try_for_each(|namespace| namespace.nft("flush ruleset\n"))
}

fn protocol(only: Option<Protocol>) -> &'static str {
    match only {
        None => "",
        // Protocol 112 (RFC 5798, 5.1.1.4).
        Some(Protocol::Vrrp) => "ip protocol 112 ",
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
        for hook in [Hook::Switch, Hook::Ports, Hook::Input, Hook::Ingress, Hook::Output, Hook::ReversePath] {
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
    fn a_split_is_between_the_groups_only() {
        let network = Network::create(&["a", "b", "c"]).unwrap();
        split(&[vec!["a".into(), "c".into()], vec!["b".into()]], &network).unwrap();
        assert!(answers(&network, "a", "c"));
        assert!(!answers(&network, "a", "b") && !answers(&network, "b", "c"));
        heal(&network).unwrap();
        assert!(answers(&network, "a", "b"));
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
