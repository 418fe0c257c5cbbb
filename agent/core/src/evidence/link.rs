//! What is seen at link level: who answers for an address, and who claims one.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// An Ethernet address, EUI-48. The text form is six hexadecimal bytes, such as `02:00:5e:10:00:01`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct LinkAddress(pub [u8; 6]);

impl LinkAddress {
    /// Whether routers share it by VRRP (`00-00-5E-00-01-XX` for IPv4, `00-00-5E-00-02-XX` for IPv6; RFC 5798, 7.3): then
    /// two hosts that both think that they are the master have the same one.
    #[must_use]
    pub fn is_virtual(self) -> bool {
        matches!(self.0, [0x00, 0x00, 0x5e, 0x00, 0x01 | 0x02, _])
    }

    /// Whether it can be the address of one interface: neither a group address (its first bit on the wire, IEEE 802) nor
    /// all zero.
    #[must_use]
    pub fn is_of_one(self) -> bool {
        self.0[0] & 1 == 0 && self.0 != [0; 6]
    }
}

impl fmt::Display for LinkAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

/// A text that is no link-layer address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoLinkAddress(String);

impl std::error::Error for NoLinkAddress {}

impl fmt::Display for NoLinkAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\" is not a link-layer address", self.0.escape_debug())
    }
}

impl FromStr for LinkAddress {
    type Err = NoLinkAddress;

    fn from_str(text: &str) -> Result<Self, NoLinkAddress> {
        let plain = |text: &str| text.len() == 2 && text.bytes().all(|digit| digit.is_ascii_hexdigit());
        let byte = |text: &str| u8::from_str_radix(text, 16).ok().filter(|_| plain(text));
        let bytes: Option<Vec<u8>> = text.split(':').map(byte).collect();
        let bytes = bytes.and_then(|bytes| bytes.try_into().ok());
        bytes.map(Self).ok_or_else(|| NoLinkAddress(text.to_owned()))
    }
}

impl TryFrom<String> for LinkAddress {
    type Error = NoLinkAddress;

    fn try_from(text: String) -> Result<Self, NoLinkAddress> {
        text.parse()
    }
}

impl From<LinkAddress> for String {
    fn from(address: LinkAddress) -> Self {
        address.to_string()
    }
}

/// In which way an address is claimed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClaimKind {
    /// In the answer to a request of this host.
    Answered,
    /// Unasked: gratuitous ARP, an unsolicited neighbour advertisement, or an ARP packet with it as the sender's address.
    Announced,
    /// It is on an interface of this host itself.
    Held,
}

/// Somebody claims a watched virtual address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VipClaim {
    /// The address.
    pub vip: IpAddr,
    /// The link-layer address that claims it.
    pub link: LinkAddress,
    /// The host that this belongs to; absent where it is none that is known.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub owner: Option<String>,
    /// In which way.
    pub how: ClaimKind,
    /// How often.
    pub count: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_address_is_read_as_it_is_written() {
        let address = LinkAddress([0x02, 0, 0x5e, 0x10, 0, 0xff]);
        assert_eq!(address.to_string(), "02:00:5e:10:00:ff");
        assert_eq!(address.to_string().parse(), Ok(address));
        for text in
            ["", "02:00:5e:10:00", "02:00:5e:10:00:ff:00", "2:0:5e:10:0:ff", "02:00:5e:10:00:fg", "+2:00:5e:10:00:ff"]
        {
            assert!(text.parse::<LinkAddress>().is_err(), "{text}");
        }
    }

    #[test]
    fn shared_and_group_addresses_are_known() {
        assert!(LinkAddress([0, 0, 0x5e, 0, 1, 51]).is_virtual());
        assert!(LinkAddress([0, 0, 0x5e, 0, 2, 51]).is_virtual());
        assert!(!LinkAddress([0, 0, 0x5e, 0, 3, 51]).is_virtual());
        assert!(LinkAddress([2, 0, 0, 0, 0, 1]).is_of_one());
        assert!(!LinkAddress([0xff; 6]).is_of_one());
        assert!(!LinkAddress([0; 6]).is_of_one());
    }
}
