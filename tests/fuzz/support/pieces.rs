//! Several packets in one input.

/// The pieces of `input`: before each stands its length, in two bytes; the last one may be cut off.
pub fn pieces(mut input: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (length, rest) = input.split_first_chunk()?;
        let (piece, after) = rest.split_at(rest.len().min(usize::from(u16::from_be_bytes(*length))));
        input = after;
        Some(piece)
    })
}
