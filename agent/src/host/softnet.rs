//! Between card and protocols: `/proc/net/softnet_stat`. It is of the kernel as a whole, whatever the network namespace.

use super::HostFiles;

/// The sum over all CPUs since boot (`softnet_seq_show`, `net/core/net-procfs.c`, columns unchanged since Linux 2.6).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Softnet {
    /// Packets that were dropped as the backlog of their CPU was full.
    pub dropped: u64,
    /// Times that a CPU stopped with packets left, as its time or budget was used up.
    pub squeezed: u64,
}

impl HostFiles {
    /// The sum over all CPUs; absent where it cannot be read.
    #[must_use]
    pub fn softnet(&self) -> Option<Softnet> {
        parse(&self.read("proc/thread-self/net/softnet_stat")?)
    }
}

/// A line for each CPU that is online, with at least nine columns in hexadecimal: processed, dropped, squeezed.
fn parse(text: &str) -> Option<Softnet> {
    let mut sum = None::<Softnet>;
    for line in text.lines() {
        let mut columns = line.split_whitespace().skip(1).map(|column| u64::from_str_radix(column, 16).ok());
        let (dropped, squeezed) = (columns.next()??, columns.next()??);
        let sum = sum.get_or_insert_default();
        *sum = Softnet { dropped: sum.dropped + dropped, squeezed: sum.squeezed + squeezed };
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::super::fake;
    use super::*;

    #[test]
    fn the_cpus_are_added_up_whatever_columns_follow() {
        let text = "0000272d 00000001 0000000a 00000000 00000000 00000000 00000000 00000000 00000000\n\
            000034d9 00000010 00000002 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000001 0 0\n";
        let (_root, files) = fake(&[("proc/thread-self/net/softnet_stat", text)]);
        assert_eq!(files.softnet(), Some(Softnet { dropped: 17, squeezed: 12 }));
    }

    #[test]
    fn what_cannot_be_read_is_absent() {
        assert_eq!(fake(&[]).1.softnet(), None);
        for odd in ["", "0000272d 00000001\n", "a b xyz\n"] {
            let (_root, files) = fake(&[("proc/thread-self/net/softnet_stat", odd)]);
            assert_eq!(files.softnet(), None, "{odd:?}");
        }
        assert!(HostFiles::default().softnet().is_some());
    }
}
