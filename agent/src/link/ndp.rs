//! Neighbour discovery for IPv6 over Ethernet (RFC 4861): solicitations, and what an advertisement says.

use std::net::Ipv6Addr;

use lacuna_core::evidence::LinkAddress;
use pnet_packet::Packet;
use pnet_packet::ethernet::{EtherTypes, EthernetPacket};
use pnet_packet::icmpv6::ndp::{NeighborAdvertFlags, NeighborAdvertPacket};
use pnet_packet::icmpv6::{Icmpv6Code, Icmpv6Packet, Icmpv6Types, checksum};
use pnet_packet::ip::IpNextHeaderProtocols;
use pnet_packet::ipv6::Ipv6Packet;

use super::{Refused, Seen};

/// Ethernet and IPv6 headers.
const HEADERS: usize = 14 + 40;
/// A solicitation with one option.
const SOLICITATION: usize = 24 + 8;
/// What neighbour discovery is sent with, so that no router can have passed it on (RFC 4861, 7.1).
const HOP_LIMIT: u8 = 255;
/// Target link-layer address (RFC 4861, 4.6.1).
const TARGET_LINK: u8 = 2;

/// A solicitation for `target`, to its solicited-node address (RFC 4291, 2.7.1).
#[must_use]
pub fn solicitation(link: LinkAddress, source: Ipv6Addr, target: Ipv6Addr) -> [u8; HEADERS + SOLICITATION] {
    let [.., x, y, z] = target.octets();
    let group = Ipv6Addr::from([0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, x, y, z]);
    let mut frame = [0; HEADERS + SOLICITATION];
    // IPv6 groups on Ethernet: 33:33 and the last four bytes (RFC 2464, 7).
    frame[..6].copy_from_slice(&[0x33, 0x33, 0xff, x, y, z]);
    frame[6..12].copy_from_slice(&link.0);
    // EtherType IPv6; version 6, payload of 32 bytes, next header ICMPv6.
    frame[12..22].copy_from_slice(&[0x86, 0xdd, 0x60, 0, 0, 0, 0, SOLICITATION as u8, 58, HOP_LIMIT]);
    frame[22..38].copy_from_slice(&source.octets());
    frame[38..54].copy_from_slice(&group.octets());
    frame[54] = 135;
    frame[62..78].copy_from_slice(&target.octets());
    // Source link-layer address, one unit of 8 bytes.
    frame[78..80].copy_from_slice(&[1, 1]);
    frame[80..86].copy_from_slice(&link.0);
    if let Some(sum) = Icmpv6Packet::new(&frame[HEADERS..]).map(|packet| checksum(&packet, &source, &group)) {
        frame[56..58].copy_from_slice(&sum.to_be_bytes());
    }
    frame
}

/// What a neighbour advertisement says.
///
/// # Errors
/// It is none, or RFC 4861, 7.1.2 says that it must not be believed.
pub fn seen(frame: &[u8], own: LinkAddress) -> Result<Seen, Refused> {
    let ethernet = EthernetPacket::new(frame).ok_or(Refused::Short)?;
    if ethernet.get_ethertype() != EtherTypes::Ipv6 {
        return Err(Refused::Kind);
    }
    let ip = Ipv6Packet::new(ethernet.payload()).ok_or(Refused::Short)?;
    if (ip.get_version(), ip.get_next_header()) != (6, IpNextHeaderProtocols::Icmpv6) {
        return Err(Refused::Kind);
    }
    let message = ethernet.payload().get(40..40 + usize::from(ip.get_payload_length())).ok_or(Refused::Short)?;
    let advert = NeighborAdvertPacket::new(message).ok_or(Refused::Short)?;
    check(&ip, &advert, message)?;
    let source = LinkAddress(ethernet.get_source().octets());
    let target = target_link(message.get(24..).unwrap_or_default())?.unwrap_or(source);
    if !source.is_of_one() || !target.is_of_one() || advert.get_target_addr().is_multicast() {
        return Err(Refused::Sender);
    }
    let solicited = advert.get_flags() & NeighborAdvertFlags::Solicited != 0;
    let answers = solicited && ethernet.get_destination().octets() == own.0;
    let link = if target.is_virtual() { source } else { target };
    Ok(Seen { address: advert.get_target_addr().into(), link, answers })
}

fn check(ip: &Ipv6Packet<'_>, advert: &NeighborAdvertPacket<'_>, message: &[u8]) -> Result<(), Refused> {
    if (advert.get_icmpv6_type(), advert.get_icmpv6_code()) != (Icmpv6Types::NeighborAdvert, Icmpv6Code(0)) {
        return Err(Refused::Kind);
    }
    if ip.get_hop_limit() != HOP_LIMIT {
        return Err(Refused::HopLimit);
    }
    let sum = Icmpv6Packet::new(message).map(|packet| checksum(&packet, &ip.get_source(), &ip.get_destination()));
    if sum != Some(advert.get_checksum()) {
        return Err(Refused::Checksum);
    }
    Ok(())
}

/// The option with the target's link-layer address, where there is one. Lengths count units of 8 bytes, and none may be 0.
/// (The crate's own reader of options overflows on a length of 32 units and more.)
fn target_link(mut options: &[u8]) -> Result<Option<LinkAddress>, Refused> {
    while let [kind, units, ..] = *options {
        let length = usize::from(units) * 8;
        let option = options.get(..length).filter(|option| !option.is_empty()).ok_or(Refused::Options)?;
        if let (TARGET_LINK, &[_, _, a, b, c, d, e, f]) = (kind, option) {
            return Ok(Some(LinkAddress([a, b, c, d, e, f])));
        }
        options = &options[length..];
    }
    if options.is_empty() { Ok(None) } else { Err(Refused::Options) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: LinkAddress = LinkAddress([0x02, 0x42, 0, 0, 0, 0x0d]);
    const OTHER: LinkAddress = LinkAddress([0x02, 0x42, 0, 0, 0, 0x0b]);
    const VIP: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 0x100);
    const SOURCE: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 0x0d);

    /// A solicited advertisement as Linux answers, with the option given; the checksum is right.
    fn advert(options: &[u8], change: impl FnOnce(&mut [u8])) -> Vec<u8> {
        let mut frame = vec![0; HEADERS + 24];
        frame[..6].copy_from_slice(&OWN.0);
        frame[6..12].copy_from_slice(&OTHER.0);
        let length = u8::try_from(24 + options.len()).unwrap();
        frame[12..22].copy_from_slice(&[0x86, 0xdd, 0x60, 0, 0, 0, 0, length, 58, 255]);
        frame[22..38].copy_from_slice(&VIP.octets());
        frame[38..54].copy_from_slice(&SOURCE.octets());
        // Type 136, code 0; solicited and override.
        (frame[54], frame[58]) = (136, 0x60);
        frame[62..78].copy_from_slice(&VIP.octets());
        frame.extend_from_slice(options);
        let sum = checksum(&Icmpv6Packet::new(&frame[HEADERS..]).unwrap(), &VIP, &SOURCE);
        frame[56..58].copy_from_slice(&sum.to_be_bytes());
        change(&mut frame);
        frame
    }

    fn option() -> Vec<u8> {
        [&[2, 1][..], &OTHER.0].concat()
    }

    #[test]
    fn an_advertisement_is_read() {
        let claims = |answers| Ok(Seen { address: VIP.into(), link: OTHER, answers });
        assert_eq!(seen(&advert(&option(), |_| {}), OWN), claims(true));
        assert_eq!(seen(&advert(&[], |_| {}), OWN), claims(true), "the frame tells where the option does not");
        let to_all = |frame: &mut [u8]| frame[..6].copy_from_slice(&[0x33, 0x33, 0, 0, 0, 1]);
        assert_eq!(seen(&advert(&option(), to_all), OWN), claims(false));
        let other_option_first = [&[14, 2][..], &[0; 14], &option()].concat();
        assert_eq!(seen(&advert(&other_option_first, |_| {}), OWN), claims(true));
    }

    #[test]
    fn what_must_not_be_believed_is_refused_by_reason() {
        let change = |at: usize, value: u8| seen(&advert(&option(), |frame| frame[at] = value), OWN);
        assert_eq!(change(13, 0x00), Err(Refused::Kind));
        assert_eq!(change(14, 0x40), Err(Refused::Kind), "IPv4");
        assert_eq!(change(20, 17), Err(Refused::Kind), "UDP");
        assert_eq!(change(54, 135), Err(Refused::Kind), "a solicitation");
        assert_eq!(change(55, 1), Err(Refused::Kind));
        assert_eq!(change(21, 64), Err(Refused::HopLimit));
        assert_eq!(change(56, 0x12), Err(Refused::Checksum));
        assert_eq!(change(19, 255), Err(Refused::Short), "longer than the frame");
        assert_eq!(change(18, 255), Err(Refused::Short));
        assert_eq!(change(19, 23), Err(Refused::Short), "no advertisement is");
        assert_eq!(change(6, 0xff), Err(Refused::Sender));
    }

    #[test]
    fn options_with_hostile_lengths_are_refused() {
        for options in
            [&[2, 0, 0, 0, 0, 0, 0, 0][..], &[2, 2, 0, 0, 0, 0, 0, 0], &[2, 32, 0, 0, 0, 0, 0, 0], &[2, 255], &[2]]
        {
            assert_eq!(seen(&advert(options, |_| {}), OWN), Err(Refused::Options), "{options:?}");
        }
    }

    #[test]
    fn every_cut_and_every_byte_is_survived() {
        let frame = advert(&option(), |_| {});
        for length in 0..frame.len() {
            assert!(seen(&frame[..length], OWN).is_err(), "{length} bytes");
        }
        for at in 0..frame.len() {
            for value in [0, 1, 0x7f, 0x80, 0xff] {
                let mut frame = frame.clone();
                frame[at] = value;
                let _ = seen(&frame, OWN);
            }
        }
    }

    #[test]
    fn a_solicitation_is_what_rfc_4861_says() {
        let frame = solicitation(OWN, SOURCE, VIP);
        assert_eq!(frame[..6], [0x33, 0x33, 0xff, 0, 1, 0]);
        assert_eq!(frame[38..54], "ff02::1:ff00:100".parse::<Ipv6Addr>().unwrap().octets());
        assert_eq!(frame[54..56], [135, 0]);
        let group = "ff02::1:ff00:100".parse().unwrap();
        let packet = Icmpv6Packet::new(&frame[HEADERS..]).unwrap();
        assert_eq!(packet.get_checksum(), checksum(&packet, &SOURCE, &group));
    }
}
