//! The way between two segments: two routers and the link between them, whose MTU can be made smaller than that of all others.
//!
//! One router is in the namespace of the first segment's bridge, the other in one of its own with the second segment's bridge.
//! Each says so where a packet is too big for the link and must not be fragmented, unless it is told not to.

use std::net::Ipv4Addr;

use anyhow::{Context as _, Result};
use serde::Deserialize;

use super::netns::Namespace;

/// The address of the second segment's router there: the default gateway of the hosts in it.
pub(super) const FAR_GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 77, 1, 1);
/// Its link-layer address, which does not change with the ports of its bridge.
const FAR_GATEWAY_LINK: &str = "02:00:0a:4d:01:01";
/// Both ends of the link between the routers: the near one and the far one.
const ENDS: [Ipv4Addr; 2] = [Ipv4Addr::new(10, 77, 255, 1), Ipv4Addr::new(10, 77, 255, 2)];
/// The name of the link, at both of its ends.
const LINK: &str = "between";
/// The MTU of all links, as long as no step says otherwise.
const USUAL_MTU: u16 = 1500;
/// Where packets may be forwarded in a namespace.
const FORWARD: &str = "/proc/sys/net/ipv4/ip_forward";

/// `router` in a scenario: from then on the link between the segments has that MTU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Narrow {
    /// In bytes; IPv4 needs 68 at least (RFC 791).
    pub(crate) mtu: u16,
    /// Which routers send ICMP "fragmentation needed" (RFC 1191).
    pub(crate) tells: Tells,
}

/// Which routers say that a packet is too big.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Tells {
    /// Both, as they should.
    Both,
    /// That of the first segment only: the hosts of the second one are not told.
    Near,
    /// That of the second segment only.
    Far,
    /// Neither, as where all of ICMP is filtered.
    Neither,
}

/// Makes the second router with its bridge, in a namespace of that name, and joins it to the first one.
pub(super) fn create(near: &Namespace, name: &str) -> Result<Namespace> {
    let far = Namespace::create(name)?;
    let [near_end, far_end] = ENDS;
    near.ip(&format!(
        "link add {LINK} type veth peer name {LINK} netns {}\n\
         address add {near_end}/30 dev {LINK}\n\
         link set {LINK} up\n\
         route add {FAR_GATEWAY}/32 via {far_end} dev {LINK} onlink\n\
         route add 10.77.1.0/24 via {far_end} dev {LINK} onlink\n",
        far.name()
    ))?;
    far.ip(&format!(
        "link add br0 address {FAR_GATEWAY_LINK} type bridge\n\
         address add {FAR_GATEWAY}/24 dev br0\n\
         link set br0 up\n\
         address add {far_end}/30 dev {LINK}\n\
         link set {LINK} up\n\
         route add 10.77.0.0/24 via {near_end}\n"
    ))?;
    for router in [near, &far] {
        router.enter(|| std::fs::write(FORWARD, "1").context(FORWARD))?;
    }
    Ok(far)
}

impl Narrow {
    /// The link gets its MTU, at both ends; who is not to tell of it is made silent before.
    pub(super) fn apply(self, near: &Namespace, far: &Namespace) -> Result<()> {
        if matches!(self.tells, Tells::Far | Tells::Neither) {
            near.nft(SILENT)?;
        }
        if matches!(self.tells, Tells::Near | Tells::Neither) {
            far.nft(SILENT)?;
        }
        set_mtu(near, far, self.mtu)
    }
}

/// The router's own words do not leave it.
const SILENT: &str = "table inet router {\nchain router {\ntype filter hook output priority 0;\n\
                      icmp type destination-unreachable icmp code frag-needed drop\n}\n}\n";

/// The link is as wide as all others again.
pub(super) fn heal(near: &Namespace, far: &Namespace) -> Result<()> {
    set_mtu(near, far, USUAL_MTU)
}

fn set_mtu(near: &Namespace, far: &Namespace, mtu: u16) -> Result<()> {
    [near, far].into_iter().try_for_each(|router| router.ip(&format!("link set {LINK} mtu {mtu}\n")))
}
