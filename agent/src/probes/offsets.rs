//! Which values the probes' globals get from the running kernel's types: Rust probes have no CO-RE relocations.

use super::error::ProbeError;
use super::hooks::{Global, Hook, Kind, Source};

/// Where a field lies in its struct.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Field {
    /// The byte it begins in.
    pub(super) byte: u32,
    /// How many bits of that byte lie below it.
    pub(super) shift: u32,
    /// How many bits it has; absent where it is not a bit field.
    pub(super) bits: Option<u32>,
}

/// What a kernel says of its types.
pub(super) trait Types {
    /// Where the field lies that `path` names: struct, member, member of the member.
    fn field(&self, path: &str) -> Option<Field>;
    /// How many values the tracepoint hands over; absent where the kernel does not have it.
    fn values(&self, tracepoint: &str) -> Option<usize>;
    /// How many arguments the function takes; absent where the kernel does not have it, or inlined it everywhere.
    fn arguments(&self, function: &str) -> Option<usize>;
}

/// The globals that `hook` needs, with their values on this kernel.
///
/// # Errors
/// Where the kernel lacks the tracepoint or function, a value that it hands over, or a field.
pub(super) fn globals(types: &impl Types, hook: &Hook) -> Result<Vec<(&'static str, u32)>, ProbeError> {
    let has = match hook.kind {
        Kind::Function => types.arguments(hook.tracepoint).ok_or(ProbeError::NoFunction(hook.tracepoint))?,
        Kind::Btf | Kind::Raw => types.values(hook.tracepoint).ok_or(ProbeError::NoTracepoint(hook.tracepoint))?,
    };
    if has < hook.values.at_least {
        return Err(ProbeError::TooFewValues {
            tracepoint: hook.tracepoint,
            has,
            needs: hook.values.at_least,
            since: hook.values.since,
        });
    }
    let value = |global: &Global| Ok((global.name, value(types, has, &global.source)?));
    hook.globals.iter().map(value).collect()
}

fn value(types: &impl Types, has: usize, source: &Source) -> Result<u32, ProbeError> {
    match source {
        Source::Offset(paths) => Ok(field(types, paths)?.byte),
        Source::Shift(path) => Ok(field(types, &[*path])?.shift),
        Source::Mask(path) => Ok(mask(field(types, &[*path])?)),
        Source::Hands(count) => Ok(u32::from(has >= *count)),
        Source::Has(paths) => Ok(u32::from(field(types, paths).is_ok())),
    }
}

fn field(types: &impl Types, paths: &[&str]) -> Result<Field, ProbeError> {
    paths.iter().find_map(|path| types.field(path)).ok_or_else(|| ProbeError::NoField(paths.join(" or ")))
}

/// The bits of a field that is read as one byte.
fn mask(field: Field) -> u32 {
    match field.bits {
        Some(bits @ 0..8) => (1 << bits) - 1,
        _ => 0xff,
    }
}

#[cfg(test)]
#[path = "offsets_tests.rs"]
mod tests;
