//! What the kernel hands over: classic BPF (`Documentation/networking/filter.rst`), so that a storm of ARP that is about
//! nobody who is watched costs the agent nothing.

use std::net::{Ipv4Addr, Ipv6Addr};

use socket2::SockFilter;

/// Bytes of a frame that are handed over: enough for ARP, and for an advertisement with a few options.
pub(super) const SNAP: usize = 256;
/// Addresses that one filter takes. The kernel makes up to two instructions of 8 bytes of each, and has room for 20 KiB of
/// them (`net.core.optmem_max` until Linux 6.7).
const MAX_ADDRESSES: usize = 1100;
/// Comparisons that share one exit: a jump goes over at most 255 instructions.
const BLOCK: usize = 200;

/// Byte of a frame where the hardware type of ARP is (RFC 826), where the protocol, and where the sender's address.
const ARP_HARDWARE: u32 = 14;
const ARP_PROTOCOL: u32 = 16;
const ARP_SENDER: u32 = 28;
/// Byte of a frame where IPv6 has the next header, where ICMPv6 has its type, and an advertisement the end of its target.
const NEXT_HEADER: u32 = 20;
const ICMP_TYPE: u32 = 54;
const TARGET_END: u32 = 74;

/// Loads a word, a half of it, or a byte of the frame.
const WORD: u32 = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
const HALF: u32 = libc::BPF_LD | libc::BPF_H | libc::BPF_ABS;
const BYTE: u32 = libc::BPF_LD | libc::BPF_B | libc::BPF_ABS;

/// ARP for IPv4 over Ethernet whose sender has one of these addresses, as a whole program.
pub(super) fn arp(senders: &[Ipv4Addr]) -> Vec<SockFilter> {
    let mut program = Vec::new();
    must_be(&mut program, HALF, ARP_HARDWARE, 1);
    must_be(&mut program, HALF, ARP_PROTOCOL, 0x0800);
    one_of(&mut program, ARP_SENDER, senders.iter().map(|sender| u32::from(*sender)));
    program
}

/// Neighbour advertisements about targets that end as one of these addresses, as a whole program. The rest of an address is
/// left to the reader.
pub(super) fn advertisements(targets: &[Ipv6Addr]) -> Vec<SockFilter> {
    let mut program = Vec::new();
    must_be(&mut program, BYTE, NEXT_HEADER, 58);
    must_be(&mut program, BYTE, ICMP_TYPE, 136);
    one_of(&mut program, TARGET_END, targets.iter().map(|target| u128::from(*target) as u32));
    program
}

fn must_be(program: &mut Vec<SockFilter>, load: u32, at: u32, value: u32) {
    program.extend([op(load, 0, 0, at), equal(value, 1), reject()]);
}

/// Accepts where the word is one of these, else rejects.
fn one_of(program: &mut Vec<SockFilter>, at: u32, words: impl Iterator<Item = u32>) {
    let words: Vec<u32> = words.take(MAX_ADDRESSES).collect();
    program.push(op(WORD, 0, 0, at));
    for block in words.chunks(BLOCK) {
        // Each jumps over the rest of its block and the jump behind it.
        let rests = (1..=BLOCK as u8).take(block.len()).rev();
        program.extend(block.iter().zip(rests).map(|(word, rest)| equal(*word, rest)));
        program.extend([op(libc::BPF_JMP | libc::BPF_JA, 0, 0, 1), accept()]);
    }
    program.push(reject());
}

/// Leaves out that many instructions where it is equal, else goes on.
fn equal(value: u32, skip: u8) -> SockFilter {
    op(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, skip, 0, value)
}

fn accept() -> SockFilter {
    op(libc::BPF_RET | libc::BPF_K, 0, 0, SNAP as u32)
}

fn reject() -> SockFilter {
    op(libc::BPF_RET | libc::BPF_K, 0, 0, 0)
}

fn op(code: u32, if_true: u8, if_false: u8, value: u32) -> SockFilter {
    SockFilter::new(code as u16, if_true, if_false, value)
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixDatagram;

    use lacuna_core::evidence::LinkAddress;
    use socket2::SockRef;

    use super::*;
    use crate::link::{arp as packet, ndp};

    const LINK: LinkAddress = LinkAddress([2, 0, 0, 0, 0, 1]);

    /// Which of the frames the kernel lets through; sockets of any family have such filters.
    fn passed(program: &[SockFilter], frames: &[Vec<u8>]) -> Vec<bool> {
        let (here, there) = UnixDatagram::pair().unwrap();
        SockRef::from(&there).attach_filter(program).unwrap();
        there.set_nonblocking(true).unwrap();
        let passes = |frame: &Vec<u8>| {
            // The sender is told that nobody took it (EPERM).
            let _ = here.send(frame);
            let mut room = [0; 2 * SNAP];
            there.recv(&mut room).is_ok_and(|length| room[..length] == frame[..length])
        };
        frames.iter().map(passes).collect()
    }

    fn from(sender: [u8; 4]) -> Vec<u8> {
        packet::request(LINK, sender.into(), None, Ipv4Addr::new(10, 0, 0, 1)).to_vec()
    }

    #[test]
    fn only_arp_of_watched_senders_passes() {
        let program = arp(&[Ipv4Addr::new(10, 0, 0, 100), Ipv4Addr::new(10, 0, 0, 101)]);
        let changed = |at: usize, value: u8| {
            let mut frame = from([10, 0, 0, 100]);
            frame[at] = value;
            frame
        };
        let frames = [
            from([10, 0, 0, 100]),
            from([10, 0, 0, 101]),
            from([10, 0, 0, 102]),
            changed(15, 6),
            changed(16, 0x86),
            from([10, 0, 0, 100])[..31].to_vec(),
            Vec::from([0_u8; 1]),
        ];
        assert_eq!(passed(&program, &frames), [true, true, false, false, false, false, false]);
        assert_eq!(passed(&arp(&[]), &frames[..1]), [false]);
    }

    #[test]
    fn as_many_addresses_as_there_may_be_fit() {
        let many: Vec<Ipv4Addr> = (0..5000_u32).map(|i| Ipv4Addr::from(0x0a00_0000 + i)).collect();
        // The first and the last of a block, the last of all, and one that finds no room.
        let frames = [[10, 0, 0, 0], [10, 0, 0, 199], [10, 0, 0, 200], [10, 0, 4, 75], [10, 0, 4, 76]].map(from);
        assert_eq!(passed(&arp(&many), &frames), [true, true, true, true, false]);
    }

    #[test]
    fn only_advertisements_of_watched_targets_pass() {
        let targets: [Ipv6Addr; 2] = ["fd00::100".parse().unwrap(), "fd00:1::100".parse().unwrap()];
        let about = |target: &str| {
            let mut frame = ndp::solicitation(LINK, "fd00::1".parse().unwrap(), target.parse().unwrap()).to_vec();
            frame[54] = 136;
            frame
        };
        let solicitation = ndp::solicitation(LINK, "fd00::1".parse().unwrap(), targets[0]).to_vec();
        let frames =
            [about("fd00::100"), about("fd00:1::100"), about("fd00::101"), about("fd00:1::1:0:100"), solicitation];
        assert_eq!(passed(&advertisements(&targets), &frames), [true, true, false, true, false]);
    }
}
