//! What can happen in a random history: few buyers, few requests and little
//! stock, so that they collide; instants that hit the edges, not the middle.
//!
//! A step says what to ask in words that keep their meaning when other steps
//! are left out ("to the next deadline", "the total plus two"); [`super::world`]
//! makes an operation of it.

use std::fmt;

use super::super::*;
use super::fixture::{buyer, request};
use super::random::{Case, Rng};
use crate::ids::{RecordKey, ShardNo};
use crate::time::Millis;

pub(super) const BUYERS: u32 = 3;
pub(super) const REQUESTS: u32 = 4;
/// More than a batch can give back at once.
pub(super) const CROWD: u32 = BATCH_STEPS_MAX + 50;
/// Who comes in crowds.
pub(super) const CROWD_BUYER: u32 = 77;

#[derive(Clone)]
pub(super) struct History {
    pub places: Vec<PlaceSetup>,
    pub steps: Vec<Step>,
}

impl fmt::Debug for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_lines(f, &self.places, &self.steps)
    }
}

/// One line for each place and each step: it is read, not parsed.
pub(super) fn write_lines(
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

/// One shard to begin with.
#[derive(Clone, Copy, Debug)]
pub(super) struct PlaceSetup {
    pub item: &'static str,
    pub shard: ShardNo,
    pub opening: u64,
    pub settings: Settings,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Step {
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
pub(super) enum Tick {
    By(i64),
    /// To the first instant of its kind that lies ahead, and a little off it.
    Deadline(i64),
    Purge(i64),
    Window(i64),
}

/// Whose reservation.
#[derive(Clone, Copy, Debug)]
pub(super) enum Who {
    /// Of these ids.
    Ids(RecordKey),
    /// Some that is there; these ids' if none is.
    Known(usize, RecordKey),
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Ask {
    Reserve {
        who: Who,
        units: u32,
        knows: Knows,
    },
    Confirm {
        who: Who,
        late: LateConfirm,
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
    },
    /// To the present total plus this; believing in a total that far off.
    SetTotal {
        request: u32,
        change: i64,
        off_by: u64,
    },
    Look,
    Configure {
        edit: Edit,
        version: Version,
    },
    Delete,
    /// A shard of the next life; where there is one, a late repeat.
    Create,
    Inspect {
        after: Option<Who>,
        limit: u32,
    },
}

/// The settings version of a Reserve.
#[derive(Clone, Copy, Debug)]
pub(super) enum Knows {
    Same,
    Older,
    Newer,
}

/// The settings version of a Configure.
#[derive(Clone, Copy, Debug)]
pub(super) enum Version {
    Next,
    Same,
    Older,
    Later,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Edit {
    HoldTtl(u64),
    MaxHold(u64),
    Retention(u64),
    Limit(u32),
    PerReservation(u32),
    Selling(Selling),
    /// From and to, as seen from now.
    Window(Option<u64>, Option<u64>),
}

const HOLD_TTLS_MS: &[u64] = &[100, 300, 1_000, 5_000];
const RETENTIONS_MS: &[u64] = &[50, 700, 3_000, 2_000_000];
const LIMITS: &[u32] = &[0, 2, 3, 4, 6];
const TICKS_MS: &[i64] = &[1, 7, 20, 50, 99, 100, 101, 300, -10];
const LONG_TICKS_MS: &[i64] = &[1_000, 5_000, 6_000, 900_000, 2_000_000, -1_000];
const EXTENSIONS_MS: &[u64] = &[1, 50, 100, 300, 1_000, 5_000, 6_000, 86_400_000];
const DELTAS: &[i64] = &[-9, -3, -2, -1, 0, 1, 2, 4, i64::MIN, i64::MAX];
const SWEEPS: &[u32] = &[0, 1, 2, 1_000];

impl Edit {
    pub(super) fn apply(self, settings: &mut Settings, now: Millis) {
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

impl History {
    /// Three buyers with four requests each, up to three shards.
    pub(super) fn small(rng: &mut Rng) -> Self {
        let mut places = vec![place(rng, "a", ShardNo::LEDGER)];
        if rng.chance(40) {
            // The same item: the same settings, another shard, no ledger.
            let settings = places[0].settings;
            let shard = ShardNo(1);
            places.push(PlaceSetup {
                shard,
                settings,
                ..place(rng, "a", shard)
            });
        }
        if rng.chance(30) {
            places.push(place(rng, "b", ShardNo::LEDGER));
        }
        let steps = (0..rng.between(40, 120))
            .map(|_| step(rng, places.len()))
            .collect();
        Self { places, steps }
    }

    /// One shard, and more holds than a batch can give back at once.
    pub(super) fn crowded(rng: &mut Rng) -> Self {
        let mut place = place(rng, "a", ShardNo::LEDGER);
        place.opening = u64::from(rng.between(CROWD, 2 * CROWD));
        place.settings.max_units_per_buyer = rng.pick(&[0, CROWD]);
        place.settings.hold_ttl_ms = rng.pick(&[100, 300]);
        let steps = (0..rng.between(20, 40))
            .map(|_| {
                if rng.chance(12) {
                    Step::Crowd { place: 0 }
                } else {
                    step(rng, 1)
                }
            })
            .collect();
        Self {
            places: vec![place],
            steps,
        }
    }
}

fn place(rng: &mut Rng, item: &'static str, shard: ShardNo) -> PlaceSetup {
    let hold_ttl_ms = rng.pick(HOLD_TTLS_MS);
    PlaceSetup {
        item,
        shard,
        opening: u64::from(rng.below(9)),
        settings: Settings {
            selling: Selling::Open,
            sale_start: None,
            sale_end: None,
            hold_ttl_ms,
            max_hold_ms: hold_ttl_ms + rng.pick(HOLD_TTLS_MS),
            sell_at_once: rng.chance(15),
            counts_buyers: rng.chance(80),
            max_units_per_buyer: rng.pick(LIMITS),
            max_units_per_reservation: rng.pick(&[3, 100, 100]),
            retention_ms: rng.pick(RETENTIONS_MS),
        },
    }
}

pub(super) fn step(rng: &mut Rng, places: usize) -> Step {
    match rng.below(100) {
        0..22 => Step::Tick(match rng.below(16) {
            0..8 => Tick::By(rng.pick(TICKS_MS)),
            8 => Tick::By(rng.pick(LONG_TICKS_MS)),
            9..13 => Tick::Deadline(rng.pick(&[-1, 0, 0, 1])),
            13..15 => Tick::Purge(rng.pick(&[-1, 0])),
            _ => Tick::Window(rng.pick(&[-1, 0])),
        }),
        22..25 => Step::Full(rng.chance(20)),
        25..27 => Step::Restart,
        27..35 => Step::Repeat(rng.below(12) as usize),
        _ => Step::Ask {
            place: rng.below(u32::try_from(places).unwrap()) as usize,
            former_life: rng.chance(1),
            ask: ask(rng),
        },
    }
}

fn ask(rng: &mut Rng) -> Ask {
    let ids = RecordKey {
        request: request(rng.below(REQUESTS)),
        buyer: buyer(rng.below(BUYERS)),
    };
    // Most of what is asked is about something.
    let who = if rng.chance(75) {
        Who::Known(rng.below(BUYERS * REQUESTS) as usize, ids)
    } else {
        Who::Ids(ids)
    };
    match rng.below(200) {
        0..54 => Ask::Reserve {
            who: if rng.chance(75) { Who::Ids(ids) } else { who },
            units: rng.between(1, 4),
            knows: match rng.below(20) {
                0 => Knows::Newer,
                1..4 => Knows::Older,
                _ => Knows::Same,
            },
        },
        54..86 => Ask::Confirm {
            who,
            late: rng.pick(&[
                LateConfirm::Refuse,
                LateConfirm::Retake,
                LateConfirm::RetakeOrLose,
            ]),
        },
        86..102 => Ask::Cancel {
            who,
            forbid_unknown: rng.chance(30),
        },
        102..122 => Ask::Return {
            who,
            request: rng.below(3),
            units: rng.between(1, 3),
            discard: rng.chance(35),
        },
        122..136 => Ask::Extend {
            who,
            hold_for_ms: rng.pick(EXTENSIONS_MS),
        },
        136..142 => Ask::Lookup(who),
        142..150 => Ask::Expire(rng.pick(SWEEPS)),
        150..158 => Ask::Purge(rng.pick(SWEEPS)),
        158..170 => Ask::Adjust {
            request: rng.below(4),
            delta: rng.pick(DELTAS),
            allow_partial: rng.chance(50),
        },
        170..174 => Ask::SetTotal {
            request: rng.below(4),
            change: i64::from(rng.below(9)) - 4,
            off_by: u64::from(rng.chance(20)),
        },
        174..178 => Ask::Look,
        178..191 => Ask::Configure {
            edit: edit(rng),
            version: match rng.below(6) {
                0 => Version::Same,
                1 => Version::Older,
                2 => Version::Later,
                _ => Version::Next,
            },
        },
        191 if rng.chance(50) => Ask::Delete,
        191..197 => Ask::Create,
        _ => Ask::Inspect {
            after: rng.chance(50).then_some(who),
            limit: rng.pick(&[0, 1, 1_000]),
        },
    }
}

fn edit(rng: &mut Rng) -> Edit {
    let from = [None, Some(0), Some(100), Some(1_000)];
    let to = [None, None, Some(0), Some(300), Some(5_000)];
    match rng.below(20) {
        0..4 => Edit::HoldTtl(rng.pick(HOLD_TTLS_MS)),
        4..6 => Edit::MaxHold(rng.pick(HOLD_TTLS_MS)),
        6..9 => Edit::Retention(rng.pick(RETENTIONS_MS)),
        9..12 => Edit::Limit(rng.pick(LIMITS)),
        12 => Edit::PerReservation(rng.pick(&[1, 3, 100])),
        13..15 => Edit::Window(rng.pick(&from), rng.pick(&to)),
        15..17 => Edit::Selling(rng.pick(&[Selling::Paused, Selling::Closed, Selling::Deleting])),
        // Open again and for long, or little would happen.
        17 => Edit::Window(None, None),
        _ => Edit::Selling(Selling::Open),
    }
}
