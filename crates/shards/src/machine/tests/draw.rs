//! Draws random histories.

use super::super::*;
use super::fixture::{buyer, request};
use super::history::{
    Ask, BUYERS, CROWD, Edit, For, History, Knows, PlaceSetup, REQUESTS, Received, Step, Tick,
    Version, Who, Whose,
};
use super::random::Rng;
use crate::ids::{RecordKey, ShardNo};

const HOLD_TTLS_MS: &[u64] = &[100, 300, 1_000, 5_000];
const RETENTIONS_MS: &[u64] = &[50, 700, 3_000, 2_000_000];
const LIMITS: &[u32] = &[0, 2, 3, 4, 6];
const TICKS_MS: &[i64] = &[1, 7, 20, 50, 99, 100, 101, 300, -10];
const LONG_TICKS_MS: &[i64] = &[1_000, 5_000, 6_000, 900_000, 2_000_000, -1_000];
const EXTENSIONS_MS: &[u64] = &[
    1, 50, 100, 120, 150, 200, 250, 300, 1_000, 5_000, 6_000, 86_400_000,
];
const DELTAS: &[i64] = &[-9, -3, -2, -1, 0, 1, 2, 4, i64::MIN, i64::MAX];
const SWEEPS: &[u32] = &[0, 1, 2, 1_000];

impl History {
    /// Three buyers with four requests each, up to three shards.
    pub(crate) fn small(rng: &mut Rng) -> Self {
        let mut places = vec![place(rng, "a", ShardNo::LEDGER)];
        // The same item: the same settings, another shard, no ledger.
        let settings = places[0].settings;
        for shard in (1..rng.pick(&[1, 2, 2, 3])).map(ShardNo) {
            places.push(PlaceSetup {
                settings,
                ..place(rng, "a", shard)
            });
        }
        if rng.chance(30) {
            places.push(place(rng, "b", ShardNo::LEDGER));
        }
        let steps = (0..rng.between(40, 140))
            .map(|_| step(rng, places.len()))
            .collect();
        Self { places, steps }
    }

    /// A rich shard and a poor one, and more holds than a batch can give back at once.
    pub(crate) fn crowded(rng: &mut Rng) -> Self {
        let mut place = place(rng, "a", ShardNo::LEDGER);
        place.opening = u64::from(rng.between(CROWD, 2 * CROWD));
        place.settings.max_units_per_buyer = rng.pick(&[0, CROWD]);
        place.settings.hold_ttl_ms = rng.pick(&[100, 300]);
        let steps = (0..rng.between(20, 40))
            .map(|_| {
                if rng.chance(12) {
                    Step::Crowd { place: 0 }
                } else {
                    step(rng, 2)
                }
            })
            .collect();
        let poor = PlaceSetup {
            shard: ShardNo(1),
            opening: 0,
            ..place
        };
        Self {
            places: vec![place, poor],
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

pub(crate) fn step(rng: &mut Rng, places: usize) -> Step {
    match rng.below(100) {
        0..22 => Step::Tick(match rng.below(16) {
            0..8 => Tick::By(rng.pick(TICKS_MS)),
            8 => Tick::By(rng.pick(LONG_TICKS_MS)),
            9..13 => Tick::Deadline(rng.pick(&[-1, 0, 0, 1])),
            13 => Tick::Purge(rng.pick(&[-1, 0])),
            14 => Tick::Claim(rng.pick(&[-1, 0, 1])),
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
    match rng.below(250) {
        0..54 => Ask::Reserve {
            who: if rng.chance(75) { Who::Ids(ids) } else { who },
            units: rng.between(1, 4),
            knows: knows(rng),
        },
        54..86 => Ask::Confirm {
            who,
            late: rng.pick(&[
                LateConfirm::Refuse,
                LateConfirm::Retake,
                LateConfirm::RetakeOrLose,
            ]),
            knows: knows(rng),
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
            gathered: rng.chance(50),
            knows: knows(rng),
        },
        170..174 => Ask::SetTotal {
            request: rng.below(4),
            change: i64::from(rng.below(9)) - 4,
            off_by: u64::from(rng.chance(20)),
            knows: knows(rng),
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
        197..200 => Ask::Inspect {
            after: rng.chance(50).then_some(who),
            limit: rng.pick(&[0, 1, 1_000]),
        },
        200..222 => lend(rng),
        222..236 => Ask::Credit {
            from: rng.below(2) as usize,
            stale_by: rng.pick(&[0, 0, 0, 1, 3]),
        },
        236..246 => Ask::Claim(claimant(rng, who)),
        _ => Ask::Unclaim(claimant(rng, who)),
    }
}

fn knows(rng: &mut Rng) -> Knows {
    match rng.below(20) {
        0 => Knows::Newer,
        1..4 => Knows::Older,
        _ => Knows::Same,
    }
}

fn claimant(rng: &mut Rng, who: Who) -> For {
    if rng.chance(70) {
        For::Buyer(who)
    } else {
        For::Operator(rng.below(4))
    }
}

fn lend(rng: &mut Rng) -> Ask {
    Ask::Lend {
        to: rng.below(2) as usize,
        wanted: rng.pick(&[0, 1, 2, 3, 300, u64::MAX]),
        received: match rng.below(10) {
            0 => Received::Stale(1),
            1 => Received::Stale(u64::MAX),
            _ => Received::Exact,
        },
        claim: match rng.below(10) {
            0..4 => Whose::Nobodys,
            4..7 => Whose::Theirs,
            _ => Whose::Younger(rng.pick(&[-1, 0, 1])),
        },
    }
}

/// A lend that freezes its stripe.
pub(crate) fn lend_after_a_loss(rng: &mut Rng, places: usize) -> Step {
    Step::Ask {
        place: rng.below(u32::try_from(places).unwrap()) as usize,
        former_life: false,
        ask: match lend(rng) {
            Ask::Lend {
                to, wanted, claim, ..
            } => Ask::Lend {
                to,
                wanted,
                received: Received::Ahead,
                claim,
            },
            other => other,
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
