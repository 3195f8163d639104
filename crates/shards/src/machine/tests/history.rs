//! What can happen in a random history: few buyers, few requests and little
//! stock, so that they collide; instants that hit the edges, not the middle.
//!
//! A step says what to ask in words that keep their meaning when other steps
//! are left out ("to the next deadline", "the total plus two"); [`super::world`]
//! makes an operation of it, [`super::draw`] draws them.

use std::fmt;

use super::super::*;
use super::random::Case;
use crate::ids::{RecordKey, ShardNo};
use crate::time::Millis;

pub(crate) const BUYERS: u32 = 3;
pub(crate) const REQUESTS: u32 = 4;
/// More than a batch can give back at once.
pub(crate) const CROWD: u32 = BATCH_STEPS_MAX + 50;
/// Who comes in crowds.
pub(crate) const CROWD_BUYER: u32 = 77;

#[derive(Clone)]
pub(crate) struct History {
    pub places: Vec<PlaceSetup>,
    pub steps: Vec<Step>,
}

impl fmt::Debug for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_lines(f, &self.places, &self.steps)
    }
}

/// One line for each place and each step: it is read, not parsed.
pub(crate) fn write_lines(
    f: &mut fmt::Formatter<'_>,
    places: &[PlaceSetup],
    steps: &[impl fmt::Debug],
) -> fmt::Result {
    for place in places {
        writeln!(f, "{place:?}")?;
    }
    for (step_no, step) in steps.iter().enumerate() {
        writeln!(f, "{step_no:3}: {step:?}")?;
    }
    Ok(())
}

impl Case for History {
    type Step = Step;
    fn steps(&mut self) -> &mut Vec<Step> {
        &mut self.steps
    }
}

/// One shard to begin with. Shards of one item begin with the same settings.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PlaceSetup {
    pub item: &'static str,
    pub shard: ShardNo,
    pub opening: u64,
    pub settings: Settings,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Step {
    Tick(Tick),
    /// The store becomes nearly full, or is not any more.
    Full(bool),
    /// The store is closed and opened: queues are made anew.
    Restart,
    /// An operation of the shard at this place, or of the life before it.
    Ask {
        place: usize,
        former_life: bool,
        ask: Ask,
    },
    /// An operation of a moment ago, word for word.
    Repeat(usize),
    /// Many buy one unit each.
    Crowd {
        place: usize,
    },
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Tick {
    By(i64),
    /// To the first instant of its kind that lies ahead, and a little off it.
    Deadline(i64),
    Purge(i64),
    Window(i64),
    /// When a claim ends that nobody renews.
    Claim(i64),
}

/// Whose reservation.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Who {
    /// Of these ids.
    Ids(RecordKey),
    /// Some that is there; these ids' if none is.
    Known(usize, RecordKey),
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Ask {
    Reserve {
        who: Who,
        units: u32,
        knows: Knows,
    },
    Confirm {
        who: Who,
        late: LateConfirm,
        knows: Knows,
    },
    Cancel {
        who: Who,
        forbid_unknown: bool,
    },
    Return {
        who: Who,
        request: u32,
        units: u32,
        discard: bool,
    },
    Extend {
        who: Who,
        hold_for_ms: u64,
    },
    Lookup(Who),
    Expire(u32),
    Purge(u32),
    Adjust {
        request: u32,
        delta: i64,
        allow_partial: bool,
        gathered: bool,
        knows: Knows,
    },
    /// To the present total plus this; believing in a total that far off.
    SetTotal {
        request: u32,
        change: i64,
        off_by: u64,
        knows: Knows,
    },
    Look,
    Claim(For),
    Unclaim(For),
    /// To another shard of the item: the next one, or the one after.
    Lend {
        to: usize,
        wanted: u64,
        received: Received,
        claim: Whose,
    },
    /// Of what another shard of the item has sent, ever, less this.
    Credit {
        from: usize,
        stale_by: u64,
    },
    Configure {
        edit: Edit,
        version: Version,
    },
    Delete,
    /// Where the shard is gone: all shards of the item in its next life, the
    /// rest of this one deleted first. Where it is there, a late repeat.
    Create,
    Inspect {
        after: Option<Who>,
        limit: u32,
    },
}

/// Who claims.
#[derive(Clone, Copy, Debug)]
pub(crate) enum For {
    Buyer(Who),
    Operator(u32),
}

/// What a lender is told that the other has received from it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Received {
    /// What it has.
    Exact,
    /// What it had, so many units ago.
    Stale(u64),
    /// More than was sent: the lender has lost the end of its history.
    Ahead,
}

/// The claim that a lend is asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Whose {
    Nobodys,
    /// The other shard's, if it has one.
    Theirs,
    /// One so much younger than the lender's own.
    Younger(i64),
}

/// The settings version of an operation that is decided by settings.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Knows {
    Same,
    Older,
    Newer,
}

/// The settings version of a Configure.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Version {
    Next,
    Same,
    Older,
    Later,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Edit {
    HoldTtl(u64),
    MaxHold(u64),
    Retention(u64),
    Limit(u32),
    PerReservation(u32),
    Selling(Selling),
    /// From and to, as seen from now.
    Window(Option<u64>, Option<u64>),
}

impl Edit {
    pub(crate) fn apply(self, settings: &mut Settings, now: Millis) {
        match self {
            Self::HoldTtl(ms) => settings.hold_ttl_ms = ms,
            Self::MaxHold(ms) => settings.max_hold_ms = ms,
            Self::Retention(ms) => settings.retention_ms = ms,
            Self::Limit(limit) => settings.max_units_per_buyer = limit,
            Self::PerReservation(max) => settings.max_units_per_reservation = max,
            Self::Selling(selling) => settings.selling = selling,
            Self::Window(from, to) => {
                settings.sale_start = from.map(|ms| now.plus_ms(ms));
                settings.sale_end = to.map(|ms| now.plus_ms(ms));
            }
        }
        settings.max_hold_ms = settings.max_hold_ms.max(settings.hold_ttl_ms);
    }
}
