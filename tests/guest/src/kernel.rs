//! The module of the lab that stalls the kernel.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

/// Its file: a line written to it is a stall, reading it says whether one goes on.
const FILE: &str = "/proc/lab_stall";
/// How long a stall may take to begin.
const PATIENCE: Duration = Duration::from_secs(2);
/// Before a CPU waits for another one, so that the answer to the runner is out.
const HEAD_START: Duration = Duration::from_millis(100);
/// Longer than any stall (`LONGEST` in the module).
const LONGEST: Duration = Duration::from_secs(30);

/// In a helper: writes that line; returns when the write does.
pub(crate) fn stall(line: &str) -> Result<()> {
    std::fs::write(FILE, line).with_context(|| format!("{FILE}: {line}"))
}

/// In a helper: a stall of another CPU, until it is over.
pub(crate) fn stall_other(line: &str) -> Result<()> {
    stall(line)?;
    // The other CPU takes the call a little later.
    begun()?;
    let end = Instant::now() + LONGEST;
    while spinning()? && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(2));
    }
    Ok(())
}

/// In a helper: waits for a cross-call to that CPU.
pub(crate) fn wait_for(cpu: usize) -> Result<()> {
    std::thread::sleep(HEAD_START);
    stall(&format!("cross-call {cpu}"))
}

/// Waits until a stall has begun.
pub(crate) fn begun() -> Result<()> {
    let end = Instant::now() + PATIENCE;
    while Instant::now() < end {
        if spinning()? {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    bail!("no CPU stalls after {PATIENCE:?}");
}

/// Whether a stall goes on.
fn spinning() -> Result<bool> {
    Ok(std::fs::read_to_string(FILE).context(FILE)?.starts_with("spinning"))
}
