//! What random histories ask of machine and script: the machine's own, in
//! batches, and what those do not ask.

use std::fmt;

use crate::ids::ShardNo;
use crate::machine::tests::catalog_history::CatalogAsk;
use crate::machine::tests::draw::{lend_after_a_loss, step};
use crate::machine::tests::fixture::buyer;
use crate::machine::tests::history::{BUYERS, History, PlaceSetup, Step, write_lines};
use crate::machine::tests::random::{Case, Rng};
use crate::machine::tests::world::World;
use crate::machine::{Op, ShardOp, State, StripeOp};

/// Steps that are gathered into batches; what moves the clock ends a batch.
#[derive(Clone)]
pub(super) struct Batches {
    pub places: Vec<PlaceSetup>,
    pub steps: Vec<Part>,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Part {
    Step(Step),
    Catalog(CatalogAsk),
    Whole(Whole),
    /// The batch ends here.
    End,
}

/// What the machine's own histories do not ask.
#[derive(Clone, Copy, Debug)]
pub(super) enum Whole {
    Visit,
    Freeze(u64),
    Release(u64),
    Entries(u32),
    Accept(usize),
    /// Of what the other shard is said to have received beyond what was sent.
    Reconcile(usize, u64),
    List(usize, Option<State>),
    Explain(usize, u32),
}

impl fmt::Debug for Batches {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_lines(f, &self.places, &self.steps)
    }
}

impl Case for Batches {
    type Step = Part;
    fn steps(&mut self) -> &mut Vec<Part> {
        &mut self.steps
    }
}

/// What histories mostly consist of, in percent; the rest is asked of shards.
#[derive(Clone, Copy)]
pub(super) struct Mix {
    pub ends: u32,
    pub catalog: u32,
    pub whole: u32,
    pub freezes: bool,
}

impl Batches {
    pub(super) fn small(rng: &mut Rng, mix: Mix) -> Self {
        let History { places, .. } = History::small(rng);
        let Mix {
            ends,
            catalog,
            whole,
            freezes,
        } = mix;
        let steps = (0..rng.between(40, 120))
            .map(|_| match rng.below(100) {
                at if at < ends => Part::End,
                at if at < ends + catalog => Part::Catalog(CatalogAsk::draw(rng)),
                at if at < ends + catalog + whole => {
                    Part::Whole(Whole::draw(rng, freezes, places.len()))
                }
                99 if freezes => Part::Step(lend_after_a_loss(rng, places.len())),
                _ => Part::Step(step(rng, places.len())),
            })
            .collect();
        Self { places, steps }
    }

    pub(super) fn crowded(rng: &mut Rng) -> Self {
        let History { places, steps } = History::crowded(rng);
        let mut parts = Vec::new();
        for step in steps {
            parts.push(Part::Step(step));
            if rng.chance(20) {
                parts.push(Part::End);
            }
        }
        Self {
            places,
            steps: parts,
        }
    }
}

impl Whole {
    fn draw(rng: &mut Rng, freezes: bool, places: usize) -> Self {
        let place = rng.below(u32::try_from(places).unwrap()) as usize;
        match rng.below(10) {
            1 => Self::Entries(rng.below(3)),
            2 => Self::Accept(place),
            3 => Self::Reconcile(place, u64::from(rng.below(3))),
            4 => Self::List(
                place,
                rng.pick(&[None, Some(State::Held), Some(State::Cancelled)]),
            ),
            5 => Self::Explain(place, rng.below(BUYERS)),
            6 if freezes => Self::Freeze(u64::from(rng.between(7, 8))),
            7.. if freezes => Self::Release(u64::from(rng.between(7, 8))),
            _ => Self::Visit,
        }
    }

    pub(super) fn op(self, world: &World) -> Op {
        let at = |place: usize, op| Op::Shard(world.shard_key(place), op);
        match self {
            Self::Visit => Op::Stripe(StripeOp::Visit),
            Self::Freeze(id) => Op::Stripe(StripeOp::Freeze {
                id,
                reason: format!("for a test, {id}"),
            }),
            Self::Release(id) => Op::Stripe(StripeOp::Release { id }),
            Self::Entries(limit) => Op::Stripe(StripeOp::Entries { after: None, limit }),
            Self::Accept(place) => at(place, ShardOp::Accept),
            Self::Reconcile(place, more) => {
                let peer = ShardNo(1);
                let shard = world.stripe.shards.get(&world.shard_key(place));
                let sent = shard.and_then(|shard| shard.header.counters.sent.get(&peer));
                let received = sent.copied().unwrap_or(0) + more;
                at(place, ShardOp::Reconcile { peer, received })
            }
            Self::List(place, state) => at(
                place,
                ShardOp::List {
                    after: None,
                    limit: 1_000,
                    buyer: None,
                    states: state.into_iter().collect(),
                },
            ),
            Self::Explain(place, n) => at(place, ShardOp::Explain { buyer: buyer(n) }),
        }
    }
}
