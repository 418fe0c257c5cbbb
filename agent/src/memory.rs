//! What the allocator does with free memory, and what stays in memory.

use std::io;

/// Gives free memory back to the kernel.
///
/// The types of a kernel take some 60 MB while they are read, once at the start. Without this the allocator keeps about
/// 25 MB of it for good.
#[cfg(target_env = "gnu")]
pub(crate) fn give_back() {
    // SAFETY: the call has no preconditions and touches free memory only.
    unsafe { libc::malloc_trim(0) };
}

/// Other allocators give back by themselves.
#[cfg(not(target_env = "gnu"))]
pub(crate) fn give_back() {}

/// The largest piece that the allocator may be told to take from its heap instead of mapping it
/// (`HEAP_MAX_SIZE / 2` of glibc's malloc).
#[cfg(target_env = "gnu")]
const LARGEST_BYTES: libc::c_int = 32 << 20;

/// Keeps free memory from now on.
///
/// Giving memory back to the kernel takes it from the page tables, and the kernel then waits until every CPU that ran this
/// process has forgotten it (a TLB shoot-down): also for a CPU that is locked up. The agent, which must go on just then,
/// would wait with it. It has a few megabytes, which it uses again.
#[cfg(target_env = "gnu")]
pub(crate) fn keep() {
    // SAFETY: the calls have no preconditions and change nothing but thresholds; one that is refused stays as it was.
    unsafe {
        libc::mallopt(libc::M_TRIM_THRESHOLD, libc::c_int::MAX);
        libc::mallopt(libc::M_MMAP_THRESHOLD, LARGEST_BYTES);
    }
}

/// Other allocators decide for themselves.
#[cfg(not(target_env = "gnu"))]
pub(crate) fn keep() {}

/// Keeps in memory what the agent has used, its code as well: where memory runs out, the kernel takes pages of programs first, and an
/// agent that has to read its own from a busy disk looks as if somebody had stopped it. Only what is touched counts
/// (`MCL_ONFAULT`).
///
/// # Errors
/// It is not permitted (`CAP_SYS_RESOURCE`): under a limit later allocations would fail.
pub(crate) fn stay() -> io::Result<()> {
    lift_lock_limit()?;
    // SAFETY: the call has no preconditions, and changes only which pages may be taken away.
    let locked = unsafe { libc::mlockall(libc::MCL_CURRENT | libc::MCL_FUTURE | libc::MCL_ONFAULT) };
    if locked == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Any amount of memory may be locked from now on.
///
/// # Errors
/// As [`stay`].
pub(crate) fn lift_lock_limit() -> io::Result<()> {
    use nix::sys::resource::{RLIM_INFINITY, Resource, setrlimit};
    Ok(setrlimit(Resource::RLIMIT_MEMLOCK, RLIM_INFINITY, RLIM_INFINITY)?)
}
