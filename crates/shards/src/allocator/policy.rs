//! How much to move: an equal share while there is plenty, so that the next
//! buyers find stock at home; just what is needed when there is little, so that
//! the last units are not carried around. Pure numbers; nothing is right or
//! wrong about them but the cost.

use crate::ids::ShardNo;

/// Units to ask of a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Loan {
    /// Whom.
    pub from: ShardNo,
    /// How many.
    pub units: u64,
}

/// Whom to ask for how much, so that `home` has `wanted` units. The richest
/// first, so that few are asked.
#[must_use]
pub fn loans(available: &[u64], home: ShardNo, wanted: u64) -> Vec<Loan> {
    let share = equal_share(available);
    let plenty = share >= wanted;
    let at_home = available.get(usize::from(home.0)).copied().unwrap_or(0);
    let mut missing = wanted.max(share).saturating_sub(at_home);
    let mut others: Vec<(ShardNo, u64)> = numbered(available)
        .filter(|(shard, _)| *shard != home)
        .collect();
    others.sort_by_key(|(_, units)| std::cmp::Reverse(*units));
    let mut loans = Vec::new();
    for (from, units) in others {
        let can_spare = if plenty {
            units.saturating_sub(share)
        } else {
            units
        };
        let units = can_spare.min(missing);
        if units == 0 {
            continue;
        }
        missing -= units;
        loans.push(Loan { from, units });
    }
    loans
}

/// What the ledger hands to each other shard when new stock has come, so that
/// all have an equal share; as far as it has more than its own.
#[must_use]
pub fn deal(available: &[u64]) -> Vec<(ShardNo, u64)> {
    let share = equal_share(available);
    let at_ledger = available.first().copied().unwrap_or(0);
    let mut spare = at_ledger.saturating_sub(share);
    let mut dealt = Vec::new();
    for (to, units) in numbered(available).skip(1) {
        let units = share.saturating_sub(units).min(spare);
        if units > 0 {
            spare -= units;
            dealt.push((to, units));
        }
    }
    dealt
}

fn equal_share(available: &[u64]) -> u64 {
    let sum: u64 = available.iter().sum();
    sum / (available.len() as u64).max(1)
}

fn numbered(available: &[u64]) -> impl Iterator<Item = (ShardNo, u64)> {
    (0..).map(ShardNo).zip(available.iter().copied())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(available: &[u64], home: u8, wanted: u64) -> Vec<(u8, u64)> {
        let loans = loans(available, ShardNo(home), wanted);
        loans.iter().map(|loan| (loan.from.0, loan.units)).collect()
    }

    #[test]
    fn plenty_is_shared_and_little_is_not() {
        // 40 on four shards: home gets the equal share of 10.
        assert_eq!(asked(&[0, 40, 0, 0], 0, 1), [(1, 10)]);
        assert_eq!(asked(&[0, 13, 14, 13], 0, 3), [(2, 4), (1, 3), (3, 3)]);
        // Little: just what is missing, from the richest.
        assert_eq!(asked(&[1, 2, 3, 0], 0, 4), [(2, 3)]);
        assert_eq!(asked(&[3, 2], 0, 5), [(1, 2)]);
        assert_eq!(asked(&[3, 2], 1, 5), [(0, 3)]);
        // Enough is there.
        assert_eq!(asked(&[5, 0], 0, 5), []);
    }

    #[test]
    fn what_is_asked_for_always_suffices() {
        for n in 0..3_000_u64 {
            let available: Vec<u64> = (0..5)
                .map(|i| (n * 7 + i * i * n) % (3 + 4 * i + n % 9))
                .collect();
            let sum: u64 = available.iter().sum();
            for wanted in 1..=sum {
                let loans = loans(&available, ShardNo(2), wanted);
                let brought: u64 = loans.iter().map(|loan| loan.units).sum();
                assert!(available[2] + brought >= wanted, "{available:?} {wanted}");
                for Loan { from, units } in loans {
                    assert!(units <= available[usize::from(from.0)]);
                }
            }
        }
    }

    #[test]
    fn new_stock_is_dealt_out_as_far_as_the_ledger_has_more_than_its_share() {
        let dealt = |available: &[u64]| -> Vec<_> {
            deal(available)
                .iter()
                .map(|(to, units)| (to.0, *units))
                .collect()
        };
        assert_eq!(dealt(&[1_000, 0, 0, 0]), [(1, 250), (2, 250), (3, 250)]);
        assert_eq!(dealt(&[10, 9, 0]), [(2, 4)]);
        assert_eq!(dealt(&[1, 9, 0]), []);
        assert_eq!(
            dealt(&[2, 0, 0]),
            [],
            "less than one each stays at the ledger"
        );
        assert_eq!(dealt(&[7]), []);
    }
}
