//! What every family needs of the kernel: globals that the agent sets before the load, and fields of its structs.

use aya_ebpf::helpers::bpf_probe_read_kernel;

/// Values in `.rodata` that the agent overrides before the load, such as the offsets of fields. The verifier knows
/// them as constants.
macro_rules! globals {
    ($($(#[$doc:meta])* $name:ident: $type:ty;)+) => {
        $(
            $(#[$doc])*
            #[unsafe(no_mangle)]
            pub(crate) static $name: aya_ebpf::Global<$type> = aya_ebpf::Global::new(0);
        )+
    };
}
pub(crate) use globals;

/// Copies the field at `offset` of the kernel struct at `base`; `Err` where that is no mapped address.
#[inline(always)]
pub(crate) fn read<T>(base: *const u8, offset: u32) -> Result<T, i32> {
    // SAFETY: the helper checks the address and fails on a bad one.
    unsafe { bpf_probe_read_kernel(base.wrapping_add(offset as usize).cast::<T>()) }
}

/// The field at `offset` of the kernel struct at `base`, without a helper call.
///
/// # Safety
/// `base` must come from an argument of a BTF tracepoint or from such a field. The verifier then proves that the field
/// lies in the struct, and a bad address reads as zero.
#[inline(always)]
pub(crate) unsafe fn field<T: Copy>(base: *const u8, offset: u32) -> T {
    // SAFETY: the caller's promise, checked by the verifier.
    unsafe { core::ptr::read_volatile(base.wrapping_add(offset as usize).cast::<T>()) }
}

#[cfg(not(test))]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

/// GPL: the helpers that read kernel memory are for GPL programs only.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 4] = *b"GPL\0";
