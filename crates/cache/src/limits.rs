//! How much may be remembered.

/// The bounds of both kinds of memory. Neither takes room from the other:
/// whatever number of keys is invented, known ones stay.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Of values.
    pub known: Bound,
    /// Of what is absent, or failed. Whoever wants 10,000 invented keys
    /// remembered at once asks for 12,500, since keys do not spread evenly (see
    /// the crate's manual).
    pub unknown: Bound,
}

/// A bound in entries and in bytes; whichever is reached first holds. With 0
/// entries nothing is remembered, loads are still shared.
#[derive(Debug, Clone, Copy)]
pub struct Bound {
    /// Most entries.
    pub entries_max: u32,
    /// Most bytes, as [`Sizes`] tells them, with what the entry itself takes.
    pub bytes_max: u64,
}

/// How many bytes keys, values and errors own elsewhere: on the heap, without
/// what `size_of` knows. Called once for each entry that is remembered.
///
/// A value behind an `Arc` counts in full in each cache that has it.
#[derive(Debug)]
pub struct Sizes<K, V, E> {
    /// Of a key.
    pub key: fn(&K) -> usize,
    /// Of a value.
    pub value: fn(&V) -> usize,
    /// Of an error.
    pub error: fn(&E) -> usize,
}

impl<K, V, E> Sizes<K, V, E> {
    /// Nothing owns anything elsewhere: small `Copy` types.
    pub const INLINE: Self = Self {
        key: |_| 0,
        value: |_| 0,
        error: |_| 0,
    };
}
