//! ARP over Ethernet for IPv4 (RFC 826): requests, and what a packet says of its sender.

use std::net::Ipv4Addr;

use lacuna_core::evidence::LinkAddress;
use pnet_packet::Packet;
use pnet_packet::arp::{ArpHardwareTypes, ArpOperations, ArpPacket};
use pnet_packet::ethernet::{EtherTypes, EthernetPacket};

use super::{Refused, Seen};

/// Ethernet header and ARP for IPv4; the driver pads it to what Ethernet asks for.
const REQUEST_BYTES: usize = 42;
/// To everybody.
const BROADCAST: [u8; 6] = [0xff; 6];

/// A request for `target`, by the sender's addresses; to one link-layer address, or to all. A sender without an address of
/// its own asks as `0.0.0.0`, a probe (RFC 5227), which is answered alike and changes nobody's cache.
#[must_use]
pub fn request(link: LinkAddress, source: Ipv4Addr, to: Option<LinkAddress>, target: Ipv4Addr) -> [u8; REQUEST_BYTES] {
    let mut frame = [0; REQUEST_BYTES];
    frame[..6].copy_from_slice(&to.map_or(BROADCAST, |to| to.0));
    frame[6..12].copy_from_slice(&link.0);
    // EtherType ARP; hardware Ethernet, protocol IPv4, lengths 6 and 4, operation request.
    frame[12..22].copy_from_slice(&[0x08, 0x06, 0, 1, 0x08, 0, 6, 4, 0, 1]);
    frame[22..28].copy_from_slice(&link.0);
    frame[28..32].copy_from_slice(&source.octets());
    frame[38..42].copy_from_slice(&target.octets());
    frame
}

/// What an ARP packet says that came in on the interface `own`: requests tell who has an address as well as answers do.
///
/// # Errors
/// It is no ARP for IPv4 over Ethernet, or cannot be true.
pub fn seen(frame: &[u8], own: LinkAddress) -> Result<Seen, Refused> {
    let ethernet = EthernetPacket::new(frame).ok_or(Refused::Short)?;
    if ethernet.get_ethertype() != EtherTypes::Arp {
        return Err(Refused::Kind);
    }
    let arp = ArpPacket::new(ethernet.payload()).ok_or(Refused::Short)?;
    check(&arp)?;
    let sender = LinkAddress(arp.get_sender_hw_addr().octets());
    let source = LinkAddress(ethernet.get_source().octets());
    if !sender.is_of_one() || !source.is_of_one() {
        return Err(Refused::Sender);
    }
    let to_this_host = arp.get_target_hw_addr().octets() == own.0;
    let answers = arp.get_operation() == ArpOperations::Reply
        && to_this_host
        && arp.get_sender_proto_addr() != arp.get_target_proto_addr();
    // Two routers that share a virtual address are told apart by the frame, where that has the interface's own.
    let link = if sender.is_virtual() { source } else { sender };
    Ok(Seen { address: arp.get_sender_proto_addr().into(), link, answers })
}

fn check(arp: &ArpPacket<'_>) -> Result<(), Refused> {
    let fits = arp.get_hardware_type() == ArpHardwareTypes::Ethernet
        && arp.get_protocol_type() == EtherTypes::Ipv4
        && (arp.get_hw_addr_len(), arp.get_proto_addr_len()) == (6, 4);
    if !fits {
        return Err(Refused::Hardware);
    }
    if ![ArpOperations::Request, ArpOperations::Reply].contains(&arp.get_operation()) {
        return Err(Refused::Operation);
    }
    let sender = arp.get_sender_proto_addr();
    // A probe (RFC 5227) has no sender's address and says nothing.
    if sender.is_unspecified() || sender.is_multicast() || sender.is_broadcast() || sender.is_loopback() {
        return Err(Refused::Sender);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: LinkAddress = LinkAddress([0x02, 0x42, 0x0a, 0x4d, 0, 0x0d]);
    const OTHER: LinkAddress = LinkAddress([0x02, 0x42, 0x0a, 0x4d, 0, 0x0b]);
    const VIP: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 100);

    /// An answer for 10.77.0.100 to 10.77.0.13, as Linux sends it, padded to 60 bytes.
    const REPLY: &str = "02420a4d000d 02420a4d000b 0806 0001 0800 06 04 0002 02420a4d000b 0a4d0064 02420a4d000d 0a4d000d \
        000000000000000000000000000000000000";
    /// Gratuitous ARP of keepalived: a broadcast request for 10.77.0.100 from 10.77.0.100.
    const GRATUITOUS: &str =
        "ffffffffffff 02420a4d000b 0806 0001 0800 06 04 0001 02420a4d000b 0a4d0064 ffffffffffff 0a4d0064";

    fn bytes(hex: &str) -> Vec<u8> {
        let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
        let text = String::from_utf8(digits).unwrap();
        (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
    }

    fn changed(hex: &str, at: usize, to: &[u8]) -> Result<Seen, Refused> {
        let mut frame = bytes(hex);
        frame[at..at + to.len()].copy_from_slice(to);
        seen(&frame, OWN)
    }

    #[test]
    fn an_answer_and_an_announcement_are_told_apart() {
        let claims = |answers| Ok(Seen { address: VIP.into(), link: OTHER, answers });
        assert_eq!(seen(&bytes(REPLY), OWN), claims(true));
        assert_eq!(seen(&bytes(REPLY), OTHER), claims(false), "to somebody else");
        assert_eq!(seen(&bytes(GRATUITOUS), OWN), claims(false));
        assert_eq!(changed(GRATUITOUS, 20, &[0, 2]), claims(false), "gratuitous answers exist as well");
        assert_eq!(changed(REPLY, 38, &VIP.octets()), claims(false), "it answers nobody");
    }

    #[test]
    fn what_is_no_arp_for_ipv4_is_refused_by_reason() {
        let cases: [(usize, &[u8], Refused); 14] = [
            (12, &[0x08, 0x00], Refused::Kind),
            (12, &[0x81, 0x00], Refused::Kind),
            (14, &[0, 6], Refused::Hardware),
            (16, &[0x86, 0xdd], Refused::Hardware),
            (18, &[8], Refused::Hardware),
            (18, &[255], Refused::Hardware),
            (19, &[16], Refused::Hardware),
            (19, &[0], Refused::Hardware),
            (20, &[0, 3], Refused::Operation),
            (20, &[0xff, 0xff], Refused::Operation),
            (22, &[0xff; 6], Refused::Sender),
            (6, &[0; 6], Refused::Sender),
            (28, &[0; 4], Refused::Sender),
            (28, &[224, 0, 0, 18], Refused::Sender),
        ];
        for (at, to, refused) in cases {
            assert_eq!(changed(REPLY, at, to), Err(refused), "{to:02x?} at {at}");
        }
    }

    #[test]
    fn every_cut_and_every_byte_is_survived() {
        let frame = bytes(REPLY);
        for length in 0..42 {
            assert_eq!(seen(&frame[..length], OWN), Err(Refused::Short), "{length} bytes");
        }
        assert!(seen(&frame[..42], OWN).is_ok(), "without padding");
        for at in 0..frame.len() {
            for value in [0, 1, 0x7f, 0x80, 0xff] {
                let _ = changed(REPLY, at, &[value]);
            }
        }
    }

    #[test]
    fn two_routers_with_one_virtual_address_are_told_apart_where_the_frame_tells() {
        let shared = [0, 0, 0x5e, 0, 1, 51];
        assert_eq!(changed(REPLY, 22, &shared).unwrap().link, OTHER);
        let mut frame = bytes(REPLY);
        frame[6..12].copy_from_slice(&shared);
        frame[22..28].copy_from_slice(&shared);
        assert_eq!(seen(&frame, OWN).unwrap().link, LinkAddress(shared));
    }

    #[test]
    fn a_request_is_what_rfc_826_says() {
        let frame = request(OWN, Ipv4Addr::new(10, 77, 0, 13), None, VIP);
        let expected =
            "ffffffffffff 02420a4d000d 0806 0001 0800 06 04 0001 02420a4d000d 0a4d000d 000000000000 0a4d0064";
        assert_eq!(frame.to_vec(), bytes(expected));
        let asked = seen(&frame, OTHER).unwrap();
        assert_eq!((asked.link, asked.answers), (OWN, false));
        assert_eq!(request(OWN, Ipv4Addr::UNSPECIFIED, Some(OTHER), VIP)[..6], OTHER.0);
    }
}
