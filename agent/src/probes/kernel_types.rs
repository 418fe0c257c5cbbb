//! What the running kernel says of its own types (BTF).

use std::collections::BTreeMap;

use btf_rs::{Btf, BtfType, Type};

use super::error::ProbeError;
use super::offsets::{Field, Types};

/// Where the kernel describes its types.
pub(super) const VMLINUX: &str = "/sys/kernel/btf/vmlinux";

/// Qualifiers and typedefs that may lie between a member and its struct; the kernel has at most three or four.
const MAX_QUALIFIERS: usize = 16;

/// The types of the running kernel.
pub(super) struct KernelTypes(Btf);

impl KernelTypes {
    /// Reads them.
    ///
    /// # Errors
    /// Where the kernel was built without BTF, or it cannot be read.
    pub(super) fn read() -> Result<Self, ProbeError> {
        Btf::from_file(VMLINUX).map(Self).map_err(|error| ProbeError::NoTypes { because: error.to_string() })
    }

    /// The members of an enum by value; empty where there is none of that name.
    pub(super) fn enumeration(&self, name: &str) -> BTreeMap<u32, String> {
        let types = self.0.resolve_types_by_name(name).unwrap_or_default();
        let Some(members) = types.into_iter().find_map(|kind| match kind {
            Type::Enum(found) => Some(found.members),
            _ => None,
        }) else {
            return BTreeMap::new();
        };
        members.iter().filter_map(|member| Some((member.val(), self.0.resolve_name(member).ok()?))).collect()
    }

    fn structure(&self, name: &str) -> Option<Type> {
        let types = self.0.resolve_types_by_name(name).ok()?;
        types.into_iter().find(|kind| matches!(kind, Type::Struct(_)))
    }

    /// The member, in bits from the begin of `parent`, and its type; looks into unnamed structs and unions.
    fn member(&self, parent: &Type, name: &str) -> Option<(u32, Option<u32>, Type)> {
        let (Type::Struct(parent) | Type::Union(parent)) = parent else {
            return None;
        };
        parent.members.iter().find_map(|member| {
            let found = self.0.resolve_name(member).unwrap_or_default();
            if found == name {
                let bits = member.bitfield_size().filter(|bits| *bits > 0);
                return Some((member.bit_offset(), bits, self.unqualified(member)?));
            }
            if !found.is_empty() {
                return None;
            }
            let (bit, bits, kind) = self.member(&self.unqualified(member)?, name)?;
            Some((member.bit_offset() + bit, bits, kind))
        })
    }

    /// What `of` refers to, without `const`, `volatile` and typedefs.
    fn unqualified(&self, of: &dyn BtfType) -> Option<Type> {
        let mut kind = self.0.resolve_chained_type(of).ok()?;
        for _ in 0..MAX_QUALIFIERS {
            kind = match &kind {
                Type::Typedef(_) | Type::Const(_) | Type::Volatile(_) | Type::TypeTag(_) => {
                    self.0.resolve_chained_type(kind.as_btf_type()?).ok()?
                }
                _ => return Some(kind),
            };
        }
        None
    }
}

impl Types for KernelTypes {
    fn field(&self, path: &str) -> Option<Field> {
        let mut names = path.split('.');
        let mut kind = self.structure(names.next()?)?;
        let (mut bit, mut bits) = (0, None);
        for name in names {
            let (offset, width, next) = self.member(&kind, name)?;
            (bit, bits, kind) = (bit + offset, width, next);
        }
        Some(Field { byte: bit / 8, shift: bit % 8, bits })
    }

    fn values(&self, tracepoint: &str) -> Option<usize> {
        let types = self.0.resolve_types_by_name(&format!("btf_trace_{tracepoint}"));
        let typedef = types.ok()?.into_iter().find(|kind| matches!(kind, Type::Typedef(_)))?;
        let Type::Ptr(pointer) = self.unqualified(typedef.as_btf_type()?)? else {
            return None;
        };
        let Type::FuncProto(prototype) = self.unqualified(&pointer)? else {
            return None;
        };
        // The first one is the tracepoint's own, and never handed to a probe.
        prototype.parameters.len().checked_sub(1)
    }

    fn arguments(&self, function: &str) -> Option<usize> {
        let types = self.0.resolve_types_by_name(function).ok()?;
        let function = types.into_iter().find(|kind| matches!(kind, Type::Func(_)))?;
        let Type::FuncProto(prototype) = self.0.resolve_chained_type(function.as_btf_type()?).ok()? else {
            return None;
        };
        Some(prototype.parameters.len())
    }
}
