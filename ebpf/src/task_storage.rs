//! A value that the kernel keeps with each task and frees with it (`BPF_MAP_TYPE_TASK_STORAGE`, Linux 5.11).
//!
//! `aya-ebpf` has this for sockets, inodes and cgroups, not for tasks.

use core::ffi::c_void;
use core::ptr;

use aya_ebpf::bindings::{BPF_F_NO_PREALLOC, BPF_LOCAL_STORAGE_GET_F_CREATE, bpf_map_type::BPF_MAP_TYPE_TASK_STORAGE};
use aya_ebpf::helpers::generated::bpf_task_storage_get;

/// The map, as the loader reads it from BTF: the order of the fields and their types are its definition.
#[repr(C)]
pub(crate) struct TaskStorage<T> {
    r#type: *const [i32; BPF_MAP_TYPE_TASK_STORAGE as usize],
    key: *const i32,
    value: *const T,
    max_entries: *const [i32; 0],
    map_flags: *const [i32; BPF_F_NO_PREALLOC as usize],
}

// SAFETY: the pointers are a definition for the loader; nothing ever follows them.
unsafe impl<T> Sync for TaskStorage<T> {}

impl<T> TaskStorage<T> {
    pub(crate) const fn new() -> Self {
        Self {
            r#type: ptr::null(),
            key: ptr::null(),
            value: ptr::null(),
            max_entries: ptr::null(),
            map_flags: ptr::null(),
        }
    }

    /// The value of `task`; null where it has none.
    ///
    /// # Safety
    /// `task` must come from an argument of a BTF tracepoint.
    #[inline(always)]
    pub(crate) unsafe fn get(&self, task: *const u8) -> *mut T {
        // SAFETY: the caller's promise, checked by the verifier.
        unsafe { self.call(task, 0) }
    }

    /// The value of `task`, zeroed where it had none; null where the kernel has no memory for it.
    ///
    /// # Safety
    /// `task` must come from an argument of a BTF tracepoint.
    #[inline(always)]
    pub(crate) unsafe fn get_or_create(&self, task: *const u8) -> *mut T {
        // SAFETY: the caller's promise, checked by the verifier.
        unsafe { self.call(task, u64::from(BPF_LOCAL_STORAGE_GET_F_CREATE)) }
    }

    #[inline(always)]
    unsafe fn call(&self, task: *const u8, flags: u64) -> *mut T {
        let map = ptr::from_ref(self).cast_mut().cast::<c_void>();
        // SAFETY: the caller's promise, checked by the verifier.
        unsafe { bpf_task_storage_get(map, task.cast_mut().cast(), ptr::null_mut(), flags) }.cast()
    }
}
