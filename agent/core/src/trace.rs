//! The name of a trace: what all hosts that witness one incident have in common.

use std::fmt;
use std::str::FromStr;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// 16 bytes, never all zero. The first six are when it began, in milliseconds of the wall clock of the host that named it: of two
/// names the smaller one is that of what began first, and hosts agree on that without a look at each other's clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TraceId(u128);

impl TraceId {
    /// The one with that number; absent for 0, which names no trace.
    #[must_use]
    pub fn new(number: u128) -> Option<Self> {
        (number != 0).then_some(Self(number))
    }

    /// The one of what began at that time, told from others of that millisecond by the low 80 bits of `tail`.
    #[must_use]
    pub fn of(started_ms: u64, tail: u128) -> Self {
        let time = u128::from(started_ms & 0xffff_ffff_ffff) << 80;
        Self((time | (tail & ((1 << 80) - 1))).max(1))
    }

    /// Its number.
    #[must_use]
    pub fn number(self) -> u128 {
        self.0
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// Why a text names no trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoTraceId;

impl std::error::Error for NoTraceId {}

impl fmt::Display for NoTraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a trace is named by 32 hexadecimal digits that are not all 0")
    }
}

impl FromStr for TraceId {
    type Err = NoTraceId;

    fn from_str(text: &str) -> Result<Self, NoTraceId> {
        let digits = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let number = u128::from_str_radix(text, 16).ok().filter(|_| digits);
        number.and_then(Self::new).ok_or(NoTraceId)
    }
}

impl Serialize for TraceId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for TraceId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_earlier_one_is_the_smaller_one_and_its_text_is_read_again() {
        let (early, late) = (TraceId::of(1_800_000_000_000, u128::MAX), TraceId::of(1_800_000_000_001, 0));
        assert!(early < late);
        assert_eq!(early.to_string(), "01a3185c5000ffffffffffffffffffff");
        assert_eq!(early.to_string().parse(), Ok(early));
        assert_eq!(serde_json::from_str::<TraceId>(&serde_json::to_string(&late).unwrap()).unwrap(), late);
    }

    #[test]
    fn what_names_no_trace_is_refused() {
        for text in
            ["", "5f0c", "00000000000000000000000000000000", "+1a3185c5000ffffffffffffffffffff", &"g".repeat(32)]
        {
            assert_eq!(text.parse::<TraceId>(), Err(NoTraceId), "{text}");
        }
    }
}
