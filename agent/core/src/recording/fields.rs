//! Single fields of a frame, in the form that postcard gives them (its wire format: numbers in groups of seven bits, the
//! lowest first; signed ones with their sign in the lowest bit; a byte before what may be absent). There are dozens in a
//! heartbeat, most of them one byte long: those are taken here, and the others by postcard.

use std::time::Duration;

use serde::Deserialize;

/// Why a frame cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Unreadable(pub(super) String);

/// What leads from the number before to this one, modulo 2^64.
pub(super) fn difference(now: u64, before: u64) -> i64 {
    now.wrapping_sub(before).cast_signed()
}

pub(super) fn sum(before: u64, step: i64) -> u64 {
    before.wrapping_add(step.cast_unsigned())
}

/// Takes a value of any type from the beginning of these bytes.
pub(super) fn take<'a, T: Deserialize<'a>>(bytes: &mut &'a [u8]) -> Result<T, Unreadable> {
    let (value, rest) = postcard::take_from_bytes(bytes).map_err(|error| Unreadable(error.to_string()))?;
    *bytes = rest;
    Ok(value)
}

#[inline]
pub(super) fn number(bytes: &mut &[u8]) -> Result<u64, Unreadable> {
    match *bytes {
        [first @ ..0x80, rest @ ..] => {
            *bytes = rest;
            Ok(u64::from(*first))
        }
        _ => take(bytes),
    }
}

#[inline]
pub(super) fn step(bytes: &mut &[u8]) -> Result<i64, Unreadable> {
    let number = number(bytes)?;
    Ok((number >> 1).cast_signed() ^ -(number & 1).cast_signed())
}

#[inline]
pub(super) fn flag(bytes: &mut &[u8]) -> Result<bool, Unreadable> {
    let (on, rest) = match *bytes {
        [on @ ..2, rest @ ..] => (*on == 1, rest),
        [other, ..] => return Err(Unreadable(format!("{other} where 0 or 1 has to be"))),
        [] => return Err(Unreadable("it ends within a line".into())),
    };
    *bytes = rest;
    Ok(on)
}

/// A time in nanoseconds alone, as version 4 has it.
#[inline]
pub(super) fn time(bytes: &mut &[u8]) -> Result<Duration, Unreadable> {
    number(bytes).map(Duration::from_nanos)
}

/// As postcard has it: seconds and nanoseconds.
#[inline]
pub(super) fn duration(bytes: &mut &[u8]) -> Result<Duration, Unreadable> {
    let (seconds, nanoseconds): (u64, u32) = (number(bytes)?, take(bytes)?);
    let sum = Duration::from_secs(seconds).checked_add(Duration::from_nanos(nanoseconds.into()));
    sum.ok_or_else(|| Unreadable("a time is too long".into()))
}

#[inline]
pub(super) fn optional<T>(
    bytes: &mut &[u8],
    read: impl FnOnce(&mut &[u8]) -> Result<T, Unreadable>,
) -> Result<Option<T>, Unreadable> {
    if flag(bytes)? { read(bytes).map(Some) } else { Ok(None) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde::Serialize;

    use super::*;

    /// What postcard writes of it.
    fn written(value: &impl Serialize) -> Vec<u8> {
        postcard::to_stdvec(value).unwrap()
    }

    /// Reads it back, with something behind it.
    fn read<T>(mut bytes: Vec<u8>, field: impl Fn(&mut &[u8]) -> Result<T, Unreadable>) -> T {
        bytes.push(7);
        let mut rest = &bytes[..];
        let value = field(&mut rest).unwrap();
        assert_eq!(rest, [7], "nothing more is taken");
        value
    }

    proptest! {
        #[test]
        fn fields_are_read_as_postcard_writes_them(short in 0..300_u64, long: u64, signed: i64, small in -200..200_i64, on: bool) {
            for value in [short, long] {
                prop_assert_eq!(read(written(&value), number), value);
                let time = Duration::from_nanos(value);
                prop_assert_eq!(read(written(&time), duration), time);
                prop_assert_eq!(read(written(&on.then_some(value)), |bytes| optional(bytes, number)), on.then_some(value));
            }
            for value in [signed, small] {
                prop_assert_eq!(read(written(&value), step), value);
            }
            prop_assert_eq!(read(written(&on), flag), on);
        }
    }

    #[test]
    fn what_is_cut_off_or_impossible_is_refused() {
        let mut none: &[u8] = &[];
        assert!(number(&mut none).is_err());
        assert!(number(&mut &[0x80][..]).is_err());
        assert_eq!(flag(&mut &[2][..]), Err(Unreadable("2 where 0 or 1 has to be".into())));
        let longest = [written(&u64::MAX), written(&1_000_000_000_u32)].concat();
        assert!(duration(&mut &longest[..]).is_err());
    }
}
