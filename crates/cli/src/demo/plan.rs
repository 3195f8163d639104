//! Who comes to the sale and what they will do: drawn before it begins, so
//! that a seed names a sale.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

/// Units that one buyer may hold or have bought.
pub(super) const LIMIT: u32 = 4;
/// How long a hold lasts: short enough that the abandoned ones come back
/// while the sale goes on.
pub(super) const HOLD_TTL: Duration = Duration::from_secs(3);
/// The time in which all buyers arrive.
const RUSH: Duration = Duration::from_secs(4);

/// One buyer.
#[derive(Clone, Debug)]
pub(super) struct Buyer {
    /// The shop's name for them.
    pub id: String,
    /// When they come, after the opening.
    pub arrives: Duration,
    /// Units they want.
    pub quantity: u32,
    /// They press the button twice: the same request, at the same time.
    pub presses_twice: bool,
    /// What they do with what they get.
    pub then: Then,
    /// How long they think about it.
    pub thinks: Duration,
}

/// What a buyer does with a hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Then {
    /// Pays.
    Pay,
    /// Pays, then tries to get more than the limit allows.
    PayAndWantMore,
    /// Changes their mind and says so.
    Cancel,
    /// Goes away without a word: the hold expires.
    Abandon,
}

/// Draws the buyers of a sale, in the order in which they arrive.
pub(super) fn draw(buyers: u32, seed: u64) -> Vec<Buyer> {
    let mut random = StdRng::seed_from_u64(seed);
    let mut all: Vec<_> = (0..buyers).map(|n| buyer(n, &mut random)).collect();
    all.sort_by_key(|buyer| buyer.arrives);
    all
}

fn buyer(n: u32, random: &mut StdRng) -> Buyer {
    // A rush: more come in the first moments than later.
    let late: f64 = random.random();
    Buyer {
        id: format!("buyer-{n}"),
        arrives: RUSH.mul_f64(late.powf(1.3)),
        quantity: match random.random_range(0..100) {
            0..60 => 1,
            60..82 => 2,
            82..92 => 3,
            _ => LIMIT,
        },
        presses_twice: random.random_bool(0.15),
        then: match random.random_range(0..100) {
            0..60 => Then::Pay,
            60..72 => Then::PayAndWantMore,
            72..85 => Then::Cancel,
            _ => Then::Abandon,
        },
        thinks: Duration::from_millis(random.random_range(20..1_500)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_names_a_sale() {
        let named = |seed| format!("{:?}", draw(50, seed));
        assert_eq!(named(1), named(1));
        assert_ne!(named(1), named(2));
    }

    #[test]
    fn every_kind_of_buyer_comes() {
        let all = draw(500, 1);
        for then in [Then::Pay, Then::PayAndWantMore, Then::Cancel, Then::Abandon] {
            assert!(all.iter().any(|buyer| buyer.then == then), "{then:?}");
        }
        assert!(all.iter().any(|buyer| buyer.presses_twice));
        assert!(all.is_sorted_by_key(|buyer| buyer.arrives));
    }
}
