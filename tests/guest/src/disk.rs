//! Reads from the guest's disk that no cache answers.

use std::fs::File;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use nix::libc::O_DIRECT;

/// The first virtio disk.
const DISK: &str = "/dev/vda";
/// A block of a direct read, which must also lie at a multiple of its size in memory.
const BLOCK: usize = 4096;
/// The blocks that are read, round and round.
const BLOCKS: u64 = 1024;
/// Between two reads.
const PAUSE: Duration = Duration::from_millis(10);

#[repr(align(4096))]
struct Block([u8; BLOCK]);

/// In a helper: reads block after block.
pub(crate) fn read_on(lasts: Duration) -> Result<()> {
    let disk = File::options().read(true).custom_flags(O_DIRECT).open(DISK).context(DISK)?;
    let mut block = Box::new(Block([0; BLOCK]));
    let end = Instant::now() + lasts;
    for number in 0_u64.. {
        if Instant::now() > end {
            break;
        }
        disk.read_exact_at(&mut block.0, number % BLOCKS * BLOCK as u64).context(DISK)?;
        std::thread::sleep(PAUSE);
    }
    Ok(())
}
