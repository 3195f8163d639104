//! What can be asked of a shard, and what it can answer.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::list::Cursor;
use super::record::{Reservation, State, StockChange};
use super::settings::Settings;
use crate::ids::{Fingerprint, Quantity, RecordKey, RequestId, ShardNo, TOTAL_MAX};
use crate::time::Millis;

/// An operation of one shard.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ShardOp {
    /// Holds (or sells at once) units, all or nothing.
    Reserve {
        /// Whose request.
        key: RecordKey,
        /// Units.
        quantity: Quantity,
        /// The settings version that the asking server knows.
        version: u64,
    },
    /// Makes the sale of a hold final.
    Confirm {
        /// Which reservation.
        key: RecordKey,
        /// What to do when it has expired.
        late: LateConfirm,
        /// The settings version that the asking server knows.
        version: u64,
    },
    /// Gives held units back.
    Cancel {
        /// Which reservation.
        key: RecordKey,
        /// Named by its key: then an unknown one is forbidden from now on.
        forbid_unknown: bool,
    },
    /// Takes sold units back.
    Return {
        /// Which reservation.
        key: RecordKey,
        /// The caller's id of this return.
        request: RequestId,
        /// Units.
        quantity: Quantity,
        /// Keep them off sale.
        discard: bool,
    },
    /// Makes a hold last at least this long from now.
    Extend {
        /// Which reservation.
        key: RecordKey,
        /// How long.
        hold_for_ms: u64,
    },
    /// Reads a reservation.
    Lookup {
        /// Which.
        key: RecordKey,
    },
    /// Ends holds whose deadline passed.
    Expire {
        /// Most queue entries to look at, within the batch's own budget.
        limit: u32,
    },
    /// Forgets reservations whose retention passed.
    Purge {
        /// Most queue entries to look at, within the batch's own budget.
        limit: u32,
    },
    /// Changes the stock; ledger shard only.
    Change {
        /// The operator's id of the change.
        request: RequestId,
        /// The change.
        change: StockChange,
        /// Stock was brought here as far as there is any: a change that may be
        /// partial is, if this shard is short. Before that it says so.
        gathered: bool,
        /// The settings version that the asking server knows.
        version: u64,
    },
    /// Reads the counters, lapsed holds given back first.
    Look,
    /// Notes that a request waits for stock to come here, or renews that note.
    /// The oldest one stays.
    Claim {
        /// Who waits.
        claimant: Claimant,
    },
    /// The request waits no longer.
    Unclaim {
        /// Who waited.
        claimant: Claimant,
    },
    /// Gives available units to another shard; lapsed holds are given back
    /// first. ⚔ Credited there only once this is acknowledged.
    Lend {
        /// To whom.
        to: ShardNo,
        /// Most units to give.
        wanted: u64,
        /// What that shard is known to have received from this one, perhaps
        /// less than it has by now.
        received: u64,
        /// The claim of the shard that they go to; `None`: it has none.
        claim: Option<Millis>,
    },
    /// Takes in what another shard has sent, as far as it is not in yet.
    Credit {
        /// By whom.
        from: ShardNo,
        /// What it has sent, ever.
        sent: u64,
    },
    /// ⚔ Part of the release of a frozen stripe: books as sent what another
    /// shard has received beyond what this one knows to have sent. Of a stripe
    /// that serves, and with 0, it only reads.
    Reconcile {
        /// The other shard.
        peer: ShardNo,
        /// What that one has received from this one, ever.
        received: u64,
    },
    /// Makes the shard; nothing else does. Harmless when it is there.
    Create {
        /// Settings.
        settings: Settings,
        /// Their version.
        version: u64,
        /// Units to start with; `Some` makes it the ledger shard.
        supply: Option<u64>,
    },
    /// Takes newer settings; older ones are left alone.
    Configure {
        /// Settings.
        settings: Settings,
        /// Their version.
        version: u64,
    },
    /// Removes the shard and all it holds.
    Delete,
    /// ⚔ Part of the release of a frozen stripe: what is missing from this shard
    /// is not missed any more. Of a stripe that serves it changes nothing.
    Accept,
    /// Reads the header and recounts some records, in an order of the store's
    /// own. Changes nothing. As long as the revision is the same, each record is
    /// met once from the first page to the last.
    Inspect {
        /// Go on from here; `None` = from the beginning.
        after: Option<Cursor>,
        /// About how many records to recount; 0 = only the header.
        limit: u32,
    },
    /// Reads reservations as they are now, in an order of the store's own.
    /// Changes nothing. At least once, perhaps twice, it meets each that is
    /// there from the first page to the last.
    List {
        /// Go on from here; `None` = from the beginning.
        after: Option<Cursor>,
        /// Most reservations to answer with. The work is bounded apart from it,
        /// so there may be fewer, or none, and yet more to come.
        limit: u32,
        /// Only this buyer's.
        buyer: Option<Fingerprint>,
        /// Only those in one of these states; empty = all.
        states: Vec<State>,
    },
    /// Reads what a Reserve of this buyer would be decided by; lapsed holds are
    /// given back first.
    Explain {
        /// The buyer.
        buyer: Fingerprint,
    },
}

/// For whom stock is brought to a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Claimant {
    /// A Reserve or a late Confirm.
    Buyer(RecordKey),
    /// A change of the stock.
    Operator(RequestId),
}

/// A request that waits for stock to come to its shard. While it is open the
/// shard lends to older claims only, so that of two requests that want each
/// other's units one gets them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Claim {
    /// Who waits.
    pub claimant: Claimant,
    /// Since when, by the store's time: what makes it older or younger.
    pub since: Millis,
    /// Until when, unless it is renewed: its server may be gone.
    pub until: Millis,
}

/// What a Confirm does with an expired hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LateConfirm {
    /// Refuse.
    Refuse,
    /// Take the units anew; if this shard is short, say so and change nothing,
    /// so that stock can be brought here.
    Retake,
    /// Take the units anew; if this shard is short, they are LOST, for good.
    RetakeOrLose,
}

/// What a shard answers. The names are decisions, not statuses: what each means
/// to a caller is decided by the operation that was asked.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ShardReply {
    /// Units were given to this request, now or before.
    Granted {
        /// What it has.
        reservation: Reservation,
        /// They were given before.
        replayed: bool,
    },
    /// These ids' reservation ended without a sale; nothing was taken.
    Ended(Reservation),
    /// It is as asked.
    Done(Reservation),
    /// The reservation's state stands in the way; nothing changed.
    WrongState(Reservation),
    /// No such reservation.
    NotFound,
    /// These ids were used with other contents; nothing changed.
    Reused,
    /// State or window forbid a sale now.
    NotSelling(super::settings::SaleNow),
    /// More than the item allows in one reservation.
    TooMany {
        /// What it allows.
        max: u32,
    },
    /// The buyer would exceed the limit.
    OverLimit {
        /// What the buyer has.
        units: u64,
        /// The limit.
        max: u32,
    },
    /// Fewer units are here than asked for; nothing lapsed is left to give back.
    Short {
        /// Units asked for.
        wanted: u64,
        /// Can be bought here.
        available: u64,
        /// Held here.
        held: u64,
    },
    /// The hold would outlast the item's longest; nothing changed.
    HoldTooLong {
        /// The longest that can be asked for now.
        max_hold_for_ms: u64,
    },
    /// More units than are left to return; nothing changed.
    ReturnTooLarge {
        /// What is left.
        left: u32,
    },
    /// The stock changed.
    Changed {
        /// By how much.
        applied: i64,
        /// It had been done before.
        replayed: bool,
        /// The shard after it.
        reading: Box<Reading>,
    },
    /// The total would exceed [`crate::ids::TOTAL_MAX`]; nothing changed.
    TotalTooLarge {
        /// What it is.
        total: u64,
    },
    /// The total is not the expected one; nothing changed.
    TotalMismatch {
        /// What it is.
        total: u64,
    },
    /// The counters.
    Read(Box<Reading>),
    /// The counters, and the sums of some records.
    Inspected {
        /// The header's counters.
        reading: Box<Reading>,
        /// Of the records looked at.
        sums: RecordSums,
        /// Where to go on; `None` = that was all.
        next: Option<Cursor>,
    },
    /// Stock comes to this shard by a claim of this age.
    Claimed {
        /// Since when.
        since: Millis,
    },
    /// The request has no claim (any more).
    Unclaimed,
    /// Units were given to the other shard, or as many as it could give.
    Lent {
        /// Sent to it, ever: what to credit there.
        sent: u64,
        /// Given now; 0 also while an earlier transfer is under way.
        given: u64,
    },
    /// ⚔ An older request waits for this shard's units. Not the same as having none.
    ClaimedByOlder,
    /// What the other shard sent is here.
    Credited {
        /// Received from it, ever.
        received: u64,
    },
    /// What it has sent to the other shard is at least what that one received.
    Reconciled {
        /// Units that it could not take from its stock: booked as surplus now.
        surplus: u64,
        /// What it has itself received from the other shard, ever.
        received: u64,
    },
    /// What is there is what has to be there.
    Accepted,
    /// Some reservations.
    Listed {
        /// As they are now.
        reservations: Vec<(RecordKey, Reservation)>,
        /// Where to go on; `None` = that was all.
        next: Option<Cursor>,
    },
    /// What a Reserve would be decided by.
    Explained {
        /// The counters.
        reading: Box<Reading>,
        /// Units that the buyer has; `None` if they are not counted.
        buyer_units: Option<u64>,
        /// The store is nearly full: it would be refused in the end.
        full: bool,
    },
    /// Queue entries were worked off.
    Swept {
        /// Records changed.
        changed: u32,
        /// More was due than the limit allowed.
        more: bool,
    },
    /// It is there.
    Created,
    /// It works by this version or a later one.
    Configured {
        /// Its version now.
        version: u64,
    },
    /// It is gone.
    Deleted,
    /// No such shard: never made, deleted, or lost.
    Missing,
    /// The asking server knows newer settings than this shard.
    OldSettings {
        /// The shard's.
        version: u64,
    },
    /// ⚔ More had lapsed than this batch could give back: ask again. Never
    /// answered with a no instead.
    Again,
    /// The store is nearly full and this would need more of it.
    Full,
}

impl ShardReply {
    /// Whether it decides a request that units are asked for: nothing that can
    /// be mended by asking again, here or after bringing stock.
    pub(super) fn is_decision(&self) -> bool {
        !matches!(
            self,
            Self::Short { .. } | Self::Again | Self::OldSettings { .. } | Self::Missing
        )
    }

    /// What a shard without units says.
    pub(super) fn sold_out(quantity: Quantity) -> Self {
        Self::Short {
            wanted: u64::from(quantity.get()),
            available: 0,
            held: 0,
        }
    }
}

/// A shard's counters at one instant.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Reading {
    /// The store's time.
    pub now: Millis,
    /// The counters.
    pub counters: Counters,
    /// Settings in force.
    pub settings: Settings,
    /// Their version.
    pub version: u64,
    /// Changes of this shard so far: equal ones mean that nothing changed.
    pub revision: u64,
}

/// The counters of a shard's header. Units since creation where not said
/// otherwise; I1: `supply + surplus + Σreceived − Σsent = available + held + sold`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Counters {
    /// Stocked by operators; only the ledger shard has it.
    pub supply: Option<u64>,
    /// Can be bought, now.
    pub available: u64,
    /// Held, now.
    pub held: u64,
    /// Sold and not put back on sale, now.
    pub sold: u64,
    /// Part of `sold`: returned and not put back on sale.
    pub discarded: u64,
    /// Part of `sold`: its records are purged.
    pub purged_sold: u64,
    /// Ever added to `available`, modulo 2^53. Only told from an earlier value
    /// of itself, so it may wrap; and it must, for Lua's numbers end there.
    pub gained: u64,
    /// Found given although their stock had been lost.
    pub surplus: u64,
    /// Sent to each other shard.
    pub sent: BTreeMap<ShardNo, u64>,
    /// Received from each other shard.
    pub received: BTreeMap<ShardNo, u64>,
}

impl Counters {
    /// Adds units to `available`.
    pub(super) fn gain(&mut self, units: u64) {
        self.available += units;
        self.gained = (self.gained + units) & TOTAL_MAX;
    }
}

/// Sums over records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct RecordSums {
    /// Records seen.
    pub records: u64,
    /// Units of held ones.
    pub held: u64,
    /// Units of confirmed ones, less what was returned.
    pub sold: u64,
}

impl std::ops::AddAssign for RecordSums {
    fn add_assign(&mut self, other: Self) {
        self.records += other.records;
        self.held += other.held;
        self.sold += other.sold;
    }
}
