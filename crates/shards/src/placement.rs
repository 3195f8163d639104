//! On which stripes an item's shards lie: distinct ones, masters in turn, so
//! that no master has more of an item's sale than its part. Decided once, when
//! the item is created, and recorded in its entry.

use crate::hash;
use crate::ids::{ItemId, STRIPES, StripeNo};

/// Which of the store's masters serves each stripe, at this moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Masters {
    /// By stripe; masters are numbered from 0.
    of_stripe: Vec<u16>,
}

impl Masters {
    /// One process has all stripes.
    #[must_use]
    pub fn single() -> Self {
        Self::by(|_| 0)
    }

    /// The master of each stripe.
    pub fn by(master_of: impl FnMut(StripeNo) -> u16) -> Self {
        Self {
            of_stripe: StripeNo::all().map(master_of).collect(),
        }
    }

    /// The number of the master of this stripe.
    #[must_use]
    pub fn of(&self, stripe: StripeNo) -> u16 {
        self.of_stripe
            .get(usize::from(stripe.0))
            .copied()
            .unwrap_or(0)
    }

    /// How many different ones there are: the number of shards of an item whose
    /// creator leaves it to the service.
    #[must_use]
    pub fn count(&self) -> u8 {
        let mut all = self.of_stripe.clone();
        all.sort_unstable();
        all.dedup();
        u8::try_from(all.len()).unwrap_or(STRIPES)
    }
}

/// The stripe of each shard, at most one a stripe. The ledger lies beside the
/// item's entry; items begin on different stripes, and so on different masters.
#[must_use]
pub fn place(item: &ItemId, shards: u8, masters: &Masters) -> Vec<StripeNo> {
    let first = hash::catalog_stripe(item);
    // Queues of stripes, one a master, in the order in which they are met from
    // the first stripe on.
    let mut queues: Vec<(u16, Vec<StripeNo>)> = Vec::new();
    for offset in 0..STRIPES {
        let stripe = StripeNo((first.0 + offset) % STRIPES);
        let master = masters.of(stripe);
        match queues.iter_mut().find(|(of, _)| *of == master) {
            Some((_, queue)) => queue.push(stripe),
            None => queues.push((master, vec![stripe])),
        }
    }
    let longest = queues
        .iter()
        .map(|(_, queue)| queue.len())
        .max()
        .unwrap_or(0);
    let in_turn = (0..longest).flat_map(|turn| {
        queues
            .iter()
            .filter_map(move |(_, queue)| queue.get(turn).copied())
    });
    in_turn.take(usize::from(shards)).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    fn item(n: u32) -> ItemId {
        ItemId::parse(&format!("item-{n}")).unwrap()
    }

    /// The stripes as a cluster's slots cut them: in runs, master after master.
    fn in_runs(masters: u16) -> Masters {
        Masters::by(|stripe| u16::from(stripe.0) * masters / u16::from(STRIPES))
    }

    #[test]
    fn the_busiest_master_has_at_most_one_shard_above_the_mean() {
        for masters in [1, 3, 5, 7] {
            let picture = in_runs(masters);
            assert_eq!(u16::from(picture.count()), masters);
            for shards in 1..=64_u8 {
                for n in 0..20 {
                    let placed = place(&item(n), shards, &picture);
                    assert_eq!(placed.len(), usize::from(shards));
                    assert_eq!(placed[0], hash::catalog_stripe(&item(n)));
                    let distinct: BTreeSet<_> = placed.iter().collect();
                    assert_eq!(distinct.len(), placed.len(), "{placed:?}");
                    let mut load: BTreeMap<u16, u16> = BTreeMap::new();
                    for stripe in &placed {
                        *load.entry(picture.of(*stripe)).or_default() += 1;
                    }
                    let busiest = load.values().max().copied().unwrap_or(0);
                    assert!(
                        busiest * masters <= u16::from(shards) + masters,
                        "{shards} shards on {masters} masters: {load:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn items_begin_on_different_masters() {
        let picture = in_runs(5);
        let begins: BTreeSet<_> = (0..100)
            .map(|n| picture.of(place(&item(n), 1, &picture)[0]))
            .collect();
        assert_eq!(begins.len(), 5);
    }

    #[test]
    fn a_master_without_stripes_left_is_passed_over() {
        let lopsided = Masters::by(|stripe| u16::from(stripe.0 < 2));
        let placed = place(&item(1), 64, &lopsided);
        assert_eq!(placed.iter().collect::<BTreeSet<_>>().len(), 64);
    }

    /// Recorded with every item: a change here moves nothing that is there, but
    /// should be meant.
    #[test]
    fn pinned() {
        let placed = place(&item(1), 4, &in_runs(3));
        assert_eq!(
            placed.iter().map(|s| s.0).collect::<Vec<_>>(),
            [53, 0, 22, 54]
        );
    }
}
