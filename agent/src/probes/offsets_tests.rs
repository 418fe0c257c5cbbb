//! The choice of values with made-up kernels, and once with the running one.

use std::collections::BTreeMap;

use super::*;
use crate::probes::hooks::{Kind, OBJECTS, Values};
use crate::probes::kernel_types::{KernelTypes, VMLINUX};

/// A kernel that has these fields, and one tracepoint that hands over so many values.
struct Fake {
    fields: BTreeMap<&'static str, Field>,
    values: Option<usize>,
}

impl Types for Fake {
    fn field(&self, path: &str) -> Option<Field> {
        self.fields.get(path).copied()
    }

    fn values(&self, _tracepoint: &str) -> Option<usize> {
        self.values
    }

    fn arguments(&self, _function: &str) -> Option<usize> {
        self.values.map(|values| values + 1)
    }
}

fn at(byte: u32) -> Field {
    Field { byte, shift: 0, bits: None }
}

fn fake(values: Option<usize>, fields: &[(&'static str, Field)]) -> Fake {
    let fields = fields.iter().copied().collect();
    Fake { fields, values }
}

static HOOK: Hook = Hook {
    probe: "test",
    kind: Kind::Raw,
    tracepoint: "made_up",
    values: Values { at_least: 2, since: "Linux 9.9" },
    globals: &[
        Global { name: "STATE", source: Source::Offset(&["task.__state", "task.state"]) },
        Global { name: "SHIFT", source: Source::Shift("sock.ca") },
        Global { name: "MASK", source: Source::Mask("sock.ca") },
        Global { name: "HAS_ERROR", source: Source::Hands(3) },
        Global { name: "HAS_FIELD", source: Source::Has(&["task.state_of_late", "task.__state"]) },
    ],
    instead: None,
};

const CA: Field = Field { byte: 7, shift: 2, bits: Some(5) };

#[test]
fn a_renamed_field_is_found_under_either_name() {
    let newer = fake(Some(3), &[("task.__state", at(24)), ("sock.ca", CA)]);
    let expected = vec![("STATE", 24), ("SHIFT", 2), ("MASK", 31), ("HAS_ERROR", 1), ("HAS_FIELD", 1)];
    assert_eq!(globals(&newer, &HOOK).unwrap(), expected);

    let older = fake(Some(2), &[("task.state", at(16)), ("sock.ca", CA)]);
    let expected = vec![("STATE", 16), ("SHIFT", 2), ("MASK", 31), ("HAS_ERROR", 0), ("HAS_FIELD", 0)];
    assert_eq!(globals(&older, &HOOK).unwrap(), expected);
}

#[test]
fn a_missing_field_is_named() {
    let kernel = fake(Some(2), &[("sock.ca", CA)]);
    let error = globals(&kernel, &HOOK).unwrap_err().to_string();
    assert!(error.contains("task.__state or task.state"), "{error}");
}

#[test]
fn a_missing_tracepoint_is_named() {
    let error = globals(&fake(None, &[]), &HOOK).unwrap_err().to_string();
    assert!(error.contains("made_up"), "{error}");
}

#[test]
fn a_function_is_told_from_a_tracepoint() {
    let values = Values { at_least: 2, since: "Linux 9.9" };
    let hook = Hook { kind: Kind::Function, values, globals: &[], ..HOOK };
    let error = globals(&fake(None, &[]), &hook).unwrap_err().to_string();
    assert!(error.contains("no function made_up"), "{error}");
    assert_eq!(globals(&fake(Some(1), &[]), &hook).unwrap(), [], "it has two arguments");
}

#[test]
fn a_tracepoint_that_hands_over_too_little_is_refused_with_the_kernel_that_has_it() {
    let error = globals(&fake(Some(1), &[]), &HOOK).unwrap_err().to_string();
    assert!(error.contains("Linux 9.9"), "{error}");
}

#[test]
fn a_field_without_bits_is_a_whole_byte() {
    assert_eq!(mask(at(3)), 0xff);
}

#[test]
fn the_running_kernel_has_the_fields_of_every_family() {
    if !std::path::Path::new(VMLINUX).exists() {
        eprintln!("not run: this kernel has no {VMLINUX}");
        return;
    }
    let kernel = KernelTypes::read().unwrap();
    for hook in OBJECTS.iter().flat_map(|object| object.hooks) {
        match globals(&kernel, hook) {
            Ok(_) | Err(ProbeError::NoTracepoint(_) | ProbeError::NoFunction(_) | ProbeError::TooFewValues { .. }) => {}
            Err(error) => panic!("{}: {error}", hook.name()),
        }
    }
    assert_eq!(kernel.arguments("ip_do_fragment"), Some(4));
    assert_eq!(kernel.arguments("no_such_function"), None);
    assert_eq!(kernel.field("hrtimer.no_such_field"), None);
    assert_eq!(kernel.field("no_such_struct.field"), None);
    let ca_state = kernel.field("inet_connection_sock.icsk_ca_state").unwrap();
    assert!(matches!(ca_state.bits, Some(5 | 6)), "{ca_state:?}");
}
