//! What a cache says about a key, and what it is told.

use crate::Ticket;

/// What is known about a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found<V, E> {
    /// Its value.
    Known(V),
    /// That there is none: an answer of the source, not a lack of one.
    Absent,
    /// Only that it could not be found out.
    Failed(E),
}

impl<V, E> Found<V, E> {
    /// The value, that there is none, or why it is not known.
    ///
    /// # Errors
    /// What [`Found::Failed`] carries.
    pub fn into_result(self) -> Result<Option<V>, E> {
        match self {
            Self::Known(value) => Ok(Some(value)),
            Self::Absent => Ok(None),
            Self::Failed(error) => Err(error),
        }
    }
}

/// What a load brings: the answer, how long it may be remembered, and whom it
/// concerns.
#[derive(Debug, Clone, Copy)]
pub struct Loaded<V, E> {
    pub(crate) found: Found<V, E>,
    pub(crate) keep_ms: u64,
    pub(crate) is_shared: bool,
    pub(crate) began: Option<Ticket>,
}

impl<V, E> Loaded<V, E> {
    /// An answer to remember for `keep_ms`; with 0 only those who wait for
    /// this load are told. Failures count from their end, all else from the
    /// load's beginning.
    pub fn keep(found: Found<V, E>, keep_ms: u64) -> Self {
        Self {
            found,
            keep_ms,
            is_shared: true,
            began: None,
        }
    }

    /// A failure of this caller alone, such as the end of its own deadline. Of
    /// those who wait the next one loads.
    pub fn failed_for_me(error: E) -> Self {
        Self {
            is_shared: false,
            ..Self::keep(Found::Failed(error), 0)
        }
    }

    /// For a load that first paused: it began with this ticket, which was
    /// taken after the pause and before the question. Whoever came during the
    /// pause then shares it.
    pub fn began_at(mut self, ticket: Ticket) -> Self {
        self.began = Some(ticket);
        self
    }
}
