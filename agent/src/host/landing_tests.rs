//! Stacks as kernels show them.

use std::time::Duration;

use lacuna_abi::CODE_BYTES;
use lacuna_core::time::Nanos;

use super::*;
use crate::probes::LandingKind;

/// The probe's and the timer interrupt's way into the kernel on Linux 6.18.
const WAY: [&str; 4] = [
    "bpf_prog_0123456789abcdef_local_timer_entry+0x1a0 [bpf]",
    "bpf_trace_run1+0x80",
    "sysvec_apic_timer_interrupt+0x36",
    "asm_sysvec_apic_timer_interrupt+0x1a",
];

fn landed(interrupted: &[&str], end: &[u8]) -> Landed {
    let names: Vec<_> = WAY.iter().chain(interrupted).map(|name| Some((*name).to_owned())).collect();
    judge(&raw(names.len(), code(end)), &names, |_| None)
}

fn raw(frames: usize, code: [u8; CODE_BYTES]) -> RawLanding {
    RawLanding {
        at: Nanos(1),
        silence: Duration::from_secs(1),
        kind: LandingKind::Sample,
        frames: (1..).take(frames).collect(),
        code: vec![code; frames],
    }
}

/// `sti`.
const STI: u8 = 0xfb;
/// `mov %rsp,%rbp`.
const NOTHING: &[u8] = &[0x48, 0x89, 0xe5];
/// `sti`, then `decl %gs:…`.
const UNLOCK: &[u8] = &[STI, 0x65, 0xff, 0x0d, 1, 2, 3, 4];

/// Code that ends with that.
fn code(end: &[u8]) -> [u8; CODE_BYTES] {
    let mut code = [0x90; CODE_BYTES];
    code[CODE_BYTES - end.len()..].copy_from_slice(end);
    code
}

#[test]
fn nothing_below_the_entry_is_user_mode() {
    let expected = Landed { place: Place::User, just_enabled: None, passed: None, stack: vec![] };
    assert_eq!(landed(&[], NOTHING), expected);
}

#[test]
fn a_halted_cpu_is_idle_whatever_let_the_interrupt_in() {
    let halt = &[STI, 0xf4];
    let found = landed(&["pv_native_safe_halt+0xf", "default_idle+0x9", "do_idle+0x1c1"], halt);
    assert_eq!((found.place, found.just_enabled), (Place::Idle, None));
}

#[test]
fn the_idle_task_that_switches_tasks_does_not_idle() {
    let found =
        landed(&["finish_task_switch.isra.0+0x8f", "__schedule+0x3", "schedule_idle+0x2", "do_idle+0x1"], UNLOCK);
    assert_eq!((found.place, found.kept_masked()), (Place::Kernel, None));
}

#[test]
fn landmarks_tell_user_mode_and_the_idle_loop_at_once() {
    let symbols = "ffffffff81000000 T local_timer_entry\nffffffff81000100 T asm_sysvec_apic_timer_interrupt\n\
        ffffffff81000200 T default_idle\nffffffff81000300 T vfs_read\nffffffff81000400 T end\n";
    let (_root, files) = super::super::fake(&[("proc/kallsyms", symbols)]);
    let landmarks = files.landmarks();
    let landed = |frames: &[u64]| {
        let frames = frames.iter().map(|low| 0xffff_ffff_8100_0000 + low).collect();
        landmarks.landed(&RawLanding { frames, ..raw(0, code(NOTHING)) })
    };
    assert_eq!(landed(&[0x10, 0x11a]).map(|landed| landed.place), Some(Place::User));
    let idle = landed(&[0x10, 0x11a, 0x209, 0x310]).unwrap();
    assert_eq!((idle.place, idle.stack), (Place::Idle, vec!["default_idle+0x9".to_owned()]));
    assert_eq!(landed(&[0x10, 0x11a, 0x309]), None, "other code needs its name");
    assert_eq!(landed(&[0x10]), None, "no way into the kernel");
}

#[test]
fn kernel_code_is_named() {
    let found = landed(&["_raw_spin_unlock_irq+0x1a", "0xsomething"], UNLOCK);
    assert_eq!(found.stack, ["_raw_spin_unlock_irq+0x1a", "0xsomething"]);
    assert_eq!((found.place, found.just_enabled), (Place::Kernel, Some(true)));
}

#[test]
fn a_softirq_on_top_of_the_idle_loop_is_kernel_code() {
    let stack = ["net_rx_action+0x10", "handle_softirqs+0x2", "asm_common_interrupt+0x26", "pv_native_safe_halt+0xf"];
    assert_eq!(landed(&stack, NOTHING).place, Place::Kernel);
}

#[test]
fn without_an_entry_or_names_nothing_is_claimed() {
    let names = [Some("bpf_trace_run1+0x80".to_owned()), None];
    let found = judge(&raw(2, code(UNLOCK)), &names, |_| Some(1));
    let stack = vec!["bpf_trace_run1+0x80".to_owned(), "0x2".to_owned()];
    assert_eq!(found, Landed { place: Place::Unknown, just_enabled: None, passed: None, stack });
}

#[test]
fn at_the_begin_of_a_function_the_call_tells() {
    let called = |end: &[u8]| {
        let stack = ["fput+0x0", "ep_item_poll+0x53"];
        let names: Vec<_> = WAY.iter().chain(&stack).map(|name| Some((*name).to_owned())).collect();
        let mut raw = raw(names.len(), code(UNLOCK));
        raw.code[WAY.len() + 1] = code(end);
        judge(&raw, &names, |_| None).just_enabled
    };
    assert_eq!(called(&[0xe8, 1, 2, 3, 4]), Some(false));
    assert_eq!(called(&[STI, 0xe8, 1, 2, 3, 4]), Some(true));
    assert_eq!(called(&[0xff, 0xd0]), None);
}

#[test]
fn ticks_are_asked_for_where_interrupts_had_just_been_enabled() {
    let passed = |end: &[u8]| {
        let names: Vec<_> = WAY.iter().chain(&["release+0x9"]).map(|name| Some((*name).to_owned())).collect();
        judge(&raw(names.len(), code(end)), &names, |address| Some(address * 10)).passed
    };
    assert_eq!(passed(UNLOCK), Some(50), "the fifth frame was interrupted");
    assert_eq!(passed(NOTHING), None);
}
