//! The script and its two ends: what a run is told, and what it answers. One run
//! carries a batch of operations on one stripe; see `lua/` for how.

mod decode;
mod encode;
mod news;
mod operands;
pub(super) mod pack;
mod places;
pub(super) mod stored;
mod text;

use std::fmt;

use bytes::Bytes;

pub(super) use self::news::{News, read_message};
pub(super) use self::text::script;
use crate::ids::StripeNo;
use crate::machine::{Op, Reply, Stamp, StoreIdentity};
use crate::time::Millis;

/// Operations of one run, at most: more would hit the bounds of Lua's stack.
pub(super) const BATCH_LEN_MAX: usize = 128;

/// ⚔ Which life of which process serves a stripe: run id and replication id, 20
/// bytes each. A run id comes back when a stripe fails over and back; the two
/// together do not.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Incarnation(pub [u8; 40]);

impl fmt::Debug for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hex = |at: usize| data_encoding::HEXLOWER.encode(&self.0[at..at + 4]);
        write!(f, "{}/{}", hex(0), hex(20))
    }
}

/// A stripe taken over by an incarnation: an entry of the guard's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Adoption {
    /// From 1, without gaps; the log keeps the last 16.
    pub number: u64,
    /// By whom.
    pub incarnation: Incarnation,
    /// The stripe's `seq` at that moment.
    pub seq: u64,
}

/// What a guard says about who serves its stripe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    /// The number of the last adoption.
    pub number: u64,
    /// By whom.
    pub incarnation: Incarnation,
    /// Runs so far; after this one.
    pub seq: u64,
    /// Releases so far: losses before the last one are accepted.
    pub releases: u64,
    /// The log of adoptions, oldest first; only where the guard's number is
    /// above [`Call::known`], and of a stripe that is fenced or only read.
    pub log: Vec<Adoption>,
}

/// One run of the script on one stripe.
pub(super) struct Call<'a> {
    pub stripe: StripeNo,
    /// Another store's guard is refused.
    pub store_id: [u8; 16],
    /// ⚔ Read on the connection that this run is sent on.
    pub incarnation: Incarnation,
    /// The highest adoption number that this server has seen.
    pub known: u64,
    /// The most releases that this server has seen.
    pub known_releases: u64,
    pub stamp: Stamp,
    /// How far the stamp's time may be from the master's.
    pub skew_max_ms: u64,
    pub what: What<'a>,
}

pub(super) enum What<'a> {
    /// Operations, at most [`BATCH_LEN_MAX`]. Writes, whatever they are: it
    /// raises `seq`.
    Ops(&'a [&'a Op]),
    /// ⚔ Takes the stripe over for [`Call::incarnation`], if the last adoption
    /// is still this one. The stripe serves one second later.
    Adopt { expected: u64 },
    /// Writes a guard where there is none (or something that is no guard):
    /// adoption 1, by this incarnation. With a reason it is written as frozen.
    Init {
        identity: &'a StoreIdentity,
        frozen: Option<&'a str>,
    },
    /// Reads the guard. Writes nothing.
    Read,
}

/// What a run did.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Ran {
    /// Carried out, as far as the stripe's state lets it.
    Ops {
        seen: Seen,
        /// One for each operation, in their order.
        answers: Vec<Answer>,
        news: News,
    },
    /// The stripe is this incarnation's; or, of `Init`, there is a guard.
    Taken(Seen),
    /// What the guard says.
    Guard {
        identity: StoreIdentity,
        seen: Seen,
        frozen: bool,
    },
    /// ⚔ The guard names another incarnation (of `Adopt`: another last
    /// adoption): nothing was done.
    Fenced(Seen),
    /// ⚔ The stamp's time is too far from this: nothing was done.
    Clock { master: Millis },
    /// There is no guard: nothing was done.
    NoGuard,
    /// The guard is another store's: nothing was done.
    Foreign { store_id: [u8; 16] },
}

/// The answer to one operation.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Answer {
    /// Carried out.
    Reply(Reply),
    /// ⚔ The stripe was taken over less than a second ago: nothing was done.
    NotYet,
}

/// An answer that the script cannot have given.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the script's answer cannot be read: {0}")]
pub(super) struct Garbled(pub String);

/// The arguments of EVALSHA.
pub(super) struct Arguments {
    pub keys: Vec<Bytes>,
    pub args: Vec<Bytes>,
}

impl Call<'_> {
    /// As the script takes it.
    pub(super) fn encode(&self) -> Arguments {
        encode::encode(self)
    }

    /// Reads the answer to this call.
    pub(super) fn decode(&self, answer: &[u8]) -> Result<Ran, Garbled> {
        decode::decode(self, answer)
    }
}
