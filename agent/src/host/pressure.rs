//! Waiting for storage as a whole: `/proc/pressure/io`.

use super::HostFiles;

/// How long tasks waited for storage since boot, in microseconds (`Documentation/accounting/psi.rst`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IoPressure {
    /// At least one task waited.
    pub some_us: u64,
    /// All tasks that had something to do waited.
    pub full_us: u64,
}

impl HostFiles {
    /// How long tasks waited for storage; absent where the kernel does not measure it (`CONFIG_PSI`, `psi=1`).
    #[must_use]
    pub fn io_pressure(&self) -> Option<IoPressure> {
        let text = self.read("proc/pressure/io")?;
        Some(IoPressure { some_us: total(&text, "some")?, full_us: total(&text, "full")? })
    }
}

fn total(text: &str, which: &str) -> Option<u64> {
    let line = text.lines().find(|line| line.split_whitespace().next() == Some(which))?;
    line.split_whitespace().find_map(|field| field.strip_prefix("total="))?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::super::fake;
    use super::*;

    #[test]
    fn pressure_has_two_totals() {
        let text =
            "some avg10=0.00 avg60=0.00 avg300=0.00 total=1234\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=567\n";
        let (_root, files) = fake(&[("proc/pressure/io", text)]);
        assert_eq!(files.io_pressure(), Some(IoPressure { some_us: 1234, full_us: 567 }));
        let (_root, files) = fake(&[("proc/pressure/io", "some total=1\n")]);
        assert_eq!(files.io_pressure(), None);
    }
}
