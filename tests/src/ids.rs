//! What is random in a test, from one seed that it prints.

use proto::v1::ReservationKey;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, RngExt, SeedableRng};
use uuid::Builder;

/// The seed of this run: `HOLDFAST_TEST_SEED`, else a new one. Printed, so that
/// a failure can be run again.
#[expect(
    clippy::print_stdout,
    reason = "shown by the test runner if the test fails"
)]
pub fn seed() -> u64 {
    let seed = match std::env::var("HOLDFAST_TEST_SEED") {
        Ok(text) => text.parse().expect("HOLDFAST_TEST_SEED is a number"),
        Err(_) => rand::random(),
    };
    println!("HOLDFAST_TEST_SEED={seed}");
    seed
}

/// Draws ids, and whatever else a test needs to be random.
#[derive(Debug)]
pub struct Ids {
    rng: StdRng,
    /// Part of every buyer's name: two generators never draw the same one.
    made: u64,
}

impl Ids {
    /// A generator from this run's seed.
    pub fn seeded() -> Self {
        Self::from_seed(seed())
    }

    /// A generator from a seed.
    pub fn from_seed(seed: u64) -> Self {
        Self {
            rng: StdRng::seed_from_u64(seed),
            made: 0,
        }
    }

    /// Another generator, for another task: what it draws does not depend on
    /// which of them draws first.
    pub fn fork(&mut self) -> Self {
        Self::from_seed(self.rng.next_u64())
    }

    /// A request id.
    pub fn request(&mut self) -> String {
        let mut bytes = [0; 16];
        self.rng.fill_bytes(&mut bytes);
        Builder::from_random_bytes(bytes).into_uuid().to_string()
    }

    /// A buyer nobody has heard of.
    pub fn buyer(&mut self) -> String {
        self.made += 1;
        format!("buyer-{}-{:08x}", self.made, self.rng.next_u32())
    }

    /// A request of a new buyer.
    pub fn key(&mut self, item: &str) -> ReservationKey {
        let buyer_id = self.buyer();
        self.key_of(item, &buyer_id)
    }

    /// A new request of this buyer.
    pub fn key_of(&mut self, item: &str, buyer: &str) -> ReservationKey {
        ReservationKey {
            item_id: item.into(),
            buyer_id: buyer.into(),
            request_id: self.request(),
        }
    }

    /// A number of this range.
    pub fn between(&mut self, range: std::ops::Range<u64>) -> u64 {
        self.rng.random_range(range)
    }

    /// One of these.
    pub fn one_of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        all.choose(&mut self.rng).expect("there is one")
    }
}
