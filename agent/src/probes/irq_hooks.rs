//! The hooks of the families `irq`, `softirq` and `watchdogs`.

use super::hooks::{Hook, Kind, at_least, offset};

/// The ones on interrupt vectors exist on x86 only.
const VECTOR: Hook = Hook {
    probe: "irq",
    kind: Kind::Raw,
    tracepoint: "",
    values: at_least(1, "x86 only"),
    globals: &[],
    instead: None,
};

/// Begin of the interrupt of the CPU's own timer.
pub(super) const LOCAL_TIMER_ENTRY: Hook = Hook { tracepoint: "local_timer_entry", ..VECTOR };
/// Its end.
pub(super) const LOCAL_TIMER_EXIT: Hook = Hook { tracepoint: "local_timer_exit", ..VECTOR };
/// Begin of a request of another CPU to look at the run queue.
pub(super) const RESCHEDULE_ENTRY: Hook = Hook { tracepoint: "reschedule_entry", ..VECTOR };
/// Its end.
pub(super) const RESCHEDULE_EXIT: Hook = Hook { tracepoint: "reschedule_exit", ..VECTOR };
/// Begin of a call by another CPU that goes to several.
pub(super) const CALL_FUNCTION_ENTRY: Hook = Hook { tracepoint: "call_function_entry", ..VECTOR };
/// Its end.
pub(super) const CALL_FUNCTION_EXIT: Hook = Hook { tracepoint: "call_function_exit", ..VECTOR };
/// Begin of a call by another CPU that goes to this one only.
pub(super) const CALL_FUNCTION_SINGLE_ENTRY: Hook = Hook { tracepoint: "call_function_single_entry", ..VECTOR };
/// Its end.
pub(super) const CALL_FUNCTION_SINGLE_EXIT: Hook = Hook { tracepoint: "call_function_single_exit", ..VECTOR };
/// Begin of work that was put off.
pub(super) const IRQ_WORK_ENTRY: Hook = Hook { tracepoint: "irq_work_entry", ..VECTOR };
/// Its end.
pub(super) const IRQ_WORK_EXIT: Hook = Hook { tracepoint: "irq_work_exit", ..VECTOR };

/// Begin of a device's handler; every architecture has it.
pub(super) const IRQ_HANDLER_ENTRY: Hook =
    Hook { tracepoint: "irq_handler_entry", values: at_least(2, "Linux 5.8"), ..VECTOR };
/// Its end.
pub(super) const IRQ_HANDLER_EXIT: Hook =
    Hook { tracepoint: "irq_handler_exit", values: at_least(2, "Linux 5.8"), ..VECTOR };

/// A softirq is wanted.
pub(super) const SOFTIRQ_RAISE: Hook =
    Hook { probe: "softirq", tracepoint: "softirq_raise", values: at_least(1, "Linux 5.8"), ..VECTOR };
/// It begins.
pub(super) const SOFTIRQ_ENTRY: Hook = Hook { tracepoint: "softirq_entry", ..SOFTIRQ_RAISE };

/// RCU waited too long.
pub(super) const RCU_STALL_WARNING: Hook =
    Hook { probe: "watchdogs", tracepoint: "rcu_stall_warning", values: at_least(2, "Linux 5.12"), ..VECTOR };
/// A task has been blocked for too long.
pub(super) const SCHED_PROCESS_HANG: Hook = Hook {
    probe: "watchdogs",
    tracepoint: "sched_process_hang",
    values: at_least(1, "Linux 5.8"),
    globals: &[offset("TASK_PID", &["task_struct.pid"]), offset("TASK_COMM", &["task_struct.comm"])],
    ..VECTOR
};
