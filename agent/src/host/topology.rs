//! Which CPUs there are, which of them the agent may disturb, and which serve the network.

use std::collections::BTreeSet;

use super::HostFiles;

/// CPU numbers from here on are left out; the probes have room for as many.
const MAX_CPUS: u32 = 1024;

/// `IFF_UP` of the Linux ABI.
const IFF_UP: u32 = 1;

/// The CPUs of a host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Topology {
    /// Those that are online.
    pub online: BTreeSet<u32>,
    /// Those that the scheduler leaves alone (`isolcpus=`).
    pub isolated: BTreeSet<u32>,
    /// Those that do without a tick (`nohz_full=`).
    pub nohz_full: BTreeSet<u32>,
}

impl Topology {
    /// The CPUs that can be watched without disturbing what was asked to be left alone.
    #[must_use]
    pub fn covered(&self) -> BTreeSet<u32> {
        let left_alone = |cpu: &&u32| self.isolated.contains(cpu) || self.nohz_full.contains(cpu);
        self.online.iter().filter(|cpu| !left_alone(cpu)).copied().collect()
    }
}

impl HostFiles {
    /// The CPUs (`/sys/devices/system/cpu`); absent where it cannot be read.
    #[must_use]
    pub fn topology(&self) -> Option<Topology> {
        let list = |name: &str| cpu_list(&self.line(&format!("sys/devices/system/cpu/{name}")));
        let online = list("online");
        (!online.is_empty()).then(|| Topology { online, isolated: list("isolated"), nohz_full: list("nohz_full") })
    }

    /// The CPUs that serve the interrupts of the network interfaces that are up, but for `lo`; empty where no interface
    /// has interrupts of its own, such as inside of a container.
    #[must_use]
    pub fn network_cpus(&self) -> BTreeSet<u32> {
        let interfaces = self.names("sys/class/net").into_iter().filter(|name| name != "lo" && self.is_up(name));
        interfaces.flat_map(|name| self.irqs(&name)).flat_map(|irq| self.served_by(irq)).collect()
    }

    fn is_up(&self, interface: &str) -> bool {
        let flags = self.line(&format!("sys/class/net/{interface}/flags"));
        let flags = u32::from_str_radix(flags.trim_start_matches("0x"), 16);
        flags.is_ok_and(|flags| flags & IFF_UP != 0)
    }

    /// Of the device itself, else, as with virtio, of the one that it hangs on.
    fn irqs(&self, interface: &str) -> Vec<u32> {
        let of_device = |device: &str| {
            let device = format!("sys/class/net/{interface}/{device}");
            let messages: Vec<u32> =
                self.names(&format!("{device}/msi_irqs")).iter().filter_map(|name| name.parse().ok()).collect();
            if !messages.is_empty() {
                return messages;
            }
            let line = self.line(&format!("{device}/irq")).parse();
            line.ok().filter(|irq| *irq > 0).into_iter().collect()
        };
        ["device", "device/.."].into_iter().map(of_device).find(|irqs| !irqs.is_empty()).unwrap_or_default()
    }

    /// The CPU that the interrupt is routed to (Linux 4.15), else those that it may be routed to.
    fn served_by(&self, irq: u32) -> BTreeSet<u32> {
        let list = |name: &str| cpu_list(&self.line(&format!("proc/irq/{irq}/{name}")));
        let effective = list("effective_affinity_list");
        if effective.is_empty() { list("smp_affinity_list") } else { effective }
    }
}

/// A list such as `0-3,8`; what is not one, such as `(null)`, is empty.
fn cpu_list(text: &str) -> BTreeSet<u32> {
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (first.trim().parse::<u32>().ok()?, last.trim().parse::<u32>().ok()?);
        Some(first..=last.min(MAX_CPUS - 1))
    };
    text.split(',').filter_map(range).flatten().collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::super::fake;
    use super::*;

    #[test]
    fn lists_have_ranges_and_a_bound() {
        let check = |text: &str, expected: &[u32]| assert!(cpu_list(text).iter().eq(expected), "{text}");
        check("0-3,8", &[0, 1, 2, 3, 8]);
        check("5", &[5]);
        check("", &[]);
        check("(null)", &[]);
        check("3-1", &[]);
        assert_eq!(cpu_list("0-4294967295").len(), 1024);
    }

    #[test]
    fn what_was_asked_to_be_left_alone_is_not_covered() {
        let (_root, files) = fake(&[
            ("sys/devices/system/cpu/online", "0-5\n"),
            ("sys/devices/system/cpu/isolated", "2\n"),
            ("sys/devices/system/cpu/nohz_full", "4-5\n"),
        ]);
        assert!(files.topology().unwrap().covered().iter().eq(&[0, 1, 3]));
        assert_eq!(HostFiles::below(std::path::Path::new("/nowhere")).topology(), None);
    }

    #[test]
    fn interrupts_lead_to_cpus() {
        let (root, files) = fake(&[
            ("sys/class/net/lo/flags", "0x9\n"),
            ("sys/class/net/eth0/flags", "0x1003\n"),
            ("sys/class/net/eth0/device/msi_irqs/41", "msix\n"),
            ("sys/class/net/eth1/flags", "0x1002\n"),
            ("sys/class/net/eth1/device/irq", "44\n"),
            ("sys/class/net/eth2/flags", "0x1003\n"),
            ("sys/devices/pci/irq", "45\n"),
            ("sys/devices/pci/virtio0/vendor", "0x1af4\n"),
            ("proc/irq/41/effective_affinity_list", "3\n"),
            ("proc/irq/41/smp_affinity_list", "0-3\n"),
            ("proc/irq/44/effective_affinity_list", "7\n"),
            ("proc/irq/45/effective_affinity_list", "\n"),
            ("proc/irq/45/smp_affinity_list", "0-1\n"),
        ]);
        symlink("../../../devices/pci/virtio0", root.path().join("sys/class/net/eth2/device")).unwrap();
        assert!(files.network_cpus().iter().eq(&[0, 1, 3]), "eth1 is down: {:?}", files.network_cpus());
    }

    #[test]
    fn this_host_has_cpus() {
        let topology = HostFiles::default().topology().unwrap();
        assert!(topology.covered().is_subset(&topology.online));
    }
}
