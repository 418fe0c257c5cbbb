//! Entries that were found and are no peers: how many, why, and a few of them by name.

use std::collections::BTreeMap;

/// Entries that are kept by name; further ones are only counted.
const EXAMPLES: usize = 5;
/// Longest part of an entry that is shown, in characters.
const SHOWN: usize = 60;

/// Why an entry is no peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Reason {
    /// It has no name that a host may have.
    Name,
    /// It has no address that one host may have.
    Address,
    /// It cannot be reached from `heartbeat.listen`.
    Family,
    /// Its name, or its address, is that of a peer before it.
    Duplicate,
    /// There are [`crate::config::MAX_PEERS`] already.
    TooMany,
    /// No name server knows an address of it.
    Unresolved,
}

impl Reason {
    /// The label `reason` of the metrics.
    fn name(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::Address => "address",
            Self::Family => "family",
            Self::Duplicate => "duplicate",
            Self::TooMany => "too-many",
            Self::Unresolved => "unresolved",
        }
    }
}

/// See the module's documentation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Refusals {
    by_reason: BTreeMap<Reason, u64>,
    examples: Vec<String>,
}

impl Refusals {
    /// Counts an entry; what was found is somebody else's text, so it is shown escaped and cut.
    pub(super) fn add(&mut self, entry: &str, reason: Reason) {
        *self.by_reason.entry(reason).or_default() += 1;
        if self.examples.len() < EXAMPLES {
            let shown: String = entry.chars().take(SHOWN).collect();
            self.examples.push(format!("{} ({})", shown.escape_debug(), reason.name()));
        }
    }

    /// Takes over the entries of another list.
    pub(super) fn extend(&mut self, other: &Self) {
        for (reason, count) in &other.by_reason {
            *self.by_reason.entry(*reason).or_default() += count;
        }
        let room = EXAMPLES.saturating_sub(self.examples.len());
        self.examples.extend(other.examples.iter().take(room).cloned());
    }

    /// True where every entry became a peer.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_reason.is_empty()
    }

    /// How many, by reason.
    #[must_use]
    pub fn counts(&self) -> BTreeMap<String, u64> {
        self.by_reason.iter().map(|(reason, count)| (reason.name().to_owned(), *count)).collect()
    }

    /// In a sentence: how many, and the first of them with the reason.
    #[must_use]
    pub fn said(&self) -> String {
        let total: u64 = self.by_reason.values().sum();
        let shown = u64::try_from(self.examples.len()).unwrap_or(u64::MAX);
        let more = if total > shown { format!(" and {} more", total - shown) } else { String::new() };
        format!("{total} left out: {}{more}", self.examples.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_are_named_and_all_are_counted() {
        let mut refusals = Refusals::default();
        assert!(refusals.is_empty());
        for i in 0..7 {
            refusals.add(&format!("p{i}"), Reason::TooMany);
        }
        let mut other = Refusals::default();
        other.add("x", Reason::Name);
        refusals.extend(&other);
        assert_eq!(refusals.counts(), [("name".to_owned(), 1), ("too-many".to_owned(), 7)].into());
        let said = refusals.said();
        assert!(said.starts_with("8 left out: p0 (too-many), "), "{said}");
        assert!(said.ends_with("p4 (too-many) and 3 more"), "{said}");
    }

    #[test]
    fn a_hostile_entry_is_shown_escaped_and_cut() {
        let mut refusals = Refusals::default();
        refusals.add(&format!("\u{1b}[2J\n{}", "x".repeat(10_000)), Reason::Address);
        let said = refusals.said();
        assert!(said.len() < 120, "{said}");
        assert!(!said.contains(char::is_control), "{said}");
    }
}
