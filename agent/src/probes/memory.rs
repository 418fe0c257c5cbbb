//! Memory that reading the kernel's types leaves behind.

/// Gives free memory back to the kernel.
///
/// The types of a kernel take some 60 MB while they are read, once at the start. Without this the allocator keeps about
/// 25 MB of it for good.
#[cfg(target_env = "gnu")]
pub(super) fn give_back() {
    // SAFETY: the call has no preconditions and touches free memory only.
    unsafe { libc::malloc_trim(0) };
}

/// Other allocators give back by themselves.
#[cfg(not(target_env = "gnu"))]
pub(super) fn give_back() {}
