//! Whole sales over many shards, on two servers, with buyers who cancel, who
//! walk away, and who come again; judged by what they were told.

use std::cell::{Cell, RefCell};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};
use shards::ids::{BuyerId, Quantity, RequestId};
use shards::inventory::{AuditLevel, Error, Inventory, Reserve, Reserved, Target, Verdict};
use shards::machine::{ItemSpec, State};
use shards::store::StoreError;

use crate::fixture::{Fixture, item, request, sharded, stock};
use crate::judge::{Grant, Refusal, Ticks, false_refusals};

const UNITS: u64 = 1_000;
const CALLERS: usize = 48;
const QUANTITIES: [u32; 5] = [1, 2, 3, 5, 7];
const HOLD_MS: i64 = 60_000;

/// What all callers of one sale share.
struct Crowd<'a, F> {
    fixture: &'a F,
    servers: [Inventory; 2],
    ticks: Ticks,
    log: RefCell<Log>,
    /// Refusals in a row, of one unit: nothing is left.
    dry: Cell<u32>,
    calls: Cell<u64>,
}

#[derive(Default)]
struct Log {
    grants: Vec<Grant>,
    refusals: Vec<Refusal>,
    /// Of those, holds that nobody will confirm.
    left: Vec<usize>,
}

/// A grant, as its caller knows it.
struct Held {
    index: usize,
    target: Target,
}

impl<F: Fixture> Crowd<'_, F> {
    /// Reserves, and notes what was told.
    async fn reserve(&self, rng: &mut SmallRng, quantity: u32) -> Option<Held> {
        let ask = Reserve {
            item: item("sneaker"),
            buyer: BuyerId::parse(&format!("buyer-{}", rng.random::<u32>())).unwrap(),
            request: RequestId(rng.random()),
            quantity: Quantity::new(quantity).unwrap(),
        };
        let server = &self.servers[usize::from(rng.random::<bool>())];
        let begin = self.ticks.next();
        let outcome = server.reserve(&ask, None).await.unwrap();
        let end = self.ticks.next();
        let (units, wanted) = (u64::from(quantity), u64::from(quantity));
        let mut log = self.log.borrow_mut();
        match outcome {
            Reserved::Granted { .. } => {
                self.dry.set(0);
                log.grants.push(Grant {
                    begin,
                    units,
                    back: None,
                });
                Some(Held {
                    index: log.grants.len() - 1,
                    target: Target::Key {
                        item: ask.item,
                        buyer: ask.buyer,
                        request: ask.request,
                    },
                })
            }
            Reserved::Short { .. } => {
                if quantity == 1 {
                    self.dry.set(self.dry.get() + 1);
                }
                log.refusals.push(Refusal { begin, end, wanted });
                None
            }
            other => panic!("{other:?}"),
        }
    }

    async fn confirm(&self, held: &Held) {
        match self.servers[0].confirm(&held.target, false, None).await {
            Ok(_) => {}
            Err(Error::WrongState(receipt)) => {
                assert_eq!(receipt.reservation.record.state, State::Expired);
                self.note_back(held.index);
            }
            Err(error) => panic!("{error}"),
        }
    }

    async fn cancel(&self, held: &Held) {
        self.servers[1].cancel(&held.target, None).await.unwrap();
        self.note_back(held.index);
    }

    fn note_back(&self, index: usize) {
        let now = self.ticks.next();
        self.log.borrow_mut().grants[index].back = Some(now);
    }

    /// All present holds lapse; those that nobody will confirm are free again.
    fn let_holds_lapse(&self) {
        let left = std::mem::take(&mut self.log.borrow_mut().left);
        self.fixture.advance_ms(HOLD_MS);
        for index in left {
            self.note_back(index);
        }
    }

    async fn caller(&self, mut rng: SmallRng) {
        // A few refusals in a row, after which nobody has given anything back.
        while self.dry.get() < 3 * u32::try_from(CALLERS).unwrap() {
            self.calls.set(self.calls.get() + 1);
            if self.calls.get().is_multiple_of(400) {
                self.let_holds_lapse();
            }
            let quantity = QUANTITIES[rng.random_range(0..QUANTITIES.len())];
            let Some(held) = self.reserve(&mut rng, quantity).await else {
                continue;
            };
            match rng.random_range(0..100) {
                0..60 => self.confirm(&held).await,
                60..85 => self.cancel(&held).await,
                _ => self.log.borrow_mut().left.push(held.index),
            }
        }
    }
}

#[expect(
    clippy::print_stdout,
    reason = "shown by the test runner if the test fails"
)]
fn seed() -> u64 {
    let given = std::env::var("HOLDFAST_TEST_SEED").ok();
    let seed = given.map_or_else(rand::random, |text| text.parse().unwrap());
    println!("HOLDFAST_TEST_SEED={seed}");
    seed
}

async fn sell_all<F: Fixture>(fixture: F, shards: u32) {
    let seed = seed();
    let spec = ItemSpec {
        hold_ttl_ms: Some(HOLD_MS.unsigned_abs()),
        ..sharded(shards, UNITS)
    };
    let crowd = Crowd {
        fixture: &fixture,
        servers: [fixture.server(), fixture.server()],
        ticks: Ticks::default(),
        log: RefCell::default(),
        dry: Cell::new(0),
        calls: Cell::new(0),
    };
    crowd.servers[0]
        .create_item(item("sneaker"), spec, request(0), None)
        .await
        .unwrap();
    // Demand goes on until nothing is left and nothing comes back.
    let mut rng = SmallRng::seed_from_u64(seed);
    loop {
        crowd.dry.set(0);
        let callers = (0..CALLERS).map(|_| crowd.caller(SmallRng::seed_from_u64(rng.random())));
        join_all(callers).await;
        if crowd.log.borrow().left.is_empty() {
            break;
        }
        crowd.let_holds_lapse();
    }
    assert_eq!(stock(&crowd.servers[0]).await, (0, 0, UNITS));
    let audit = crowd.servers[1]
        .audit(&item("sneaker"), AuditLevel::Records, None)
        .await
        .unwrap();
    assert_eq!(audit.verdict, Verdict::Sound, "{:?}", audit.violations);
    let log = crowd.log.borrow();
    let sold: u64 = log
        .grants
        .iter()
        .filter(|grant| grant.back.is_none())
        .map(|grant| grant.units)
        .sum();
    assert_eq!(sold, UNITS, "by what the callers were told");
    let lies = false_refusals(UNITS, &log.grants, &log.refusals);
    assert!(
        lies.is_empty(),
        "{} of {}: {lies:#?}",
        lies.len(),
        log.refusals.len()
    );
}

pub(crate) async fn over_1_shard(fixture: impl Fixture) {
    sell_all(fixture, 1).await;
}

pub(crate) async fn over_2_shards(fixture: impl Fixture) {
    sell_all(fixture, 2).await;
}

pub(crate) async fn over_8_shards(fixture: impl Fixture) {
    sell_all(fixture, 8).await;
}

pub(crate) async fn over_64_shards(fixture: impl Fixture) {
    sell_all(fixture, 64).await;
}

/// An operator takes units away in mid-sale: within the deadline it is done, or
/// refused without a trace.
pub(crate) async fn with_stock_taken_away_in_the_middle(fixture: impl Fixture) {
    let seed = seed();
    let server = fixture.server();
    let id = item("sneaker");
    server
        .create_item(id.clone(), sharded(8, UNITS), request(0), None)
        .await
        .unwrap();
    let sold = Cell::new(0);
    let buy = async |seed: u64| {
        let mut rng = SmallRng::seed_from_u64(seed);
        loop {
            let quantity = QUANTITIES[rng.random_range(0..QUANTITIES.len())];
            let ask = Reserve {
                item: id.clone(),
                buyer: BuyerId::parse(&format!("buyer-{}", rng.random::<u32>())).unwrap(),
                request: RequestId(rng.random()),
                quantity: Quantity::new(quantity).unwrap(),
            };
            match server.reserve(&ask, None).await.unwrap() {
                Reserved::Granted { .. } => sold.set(sold.get() + u64::from(quantity)),
                Reserved::Short { .. } if quantity == 1 => break,
                Reserved::Short { .. } => {}
                other => panic!("{other:?}"),
            }
        }
    };
    let operator = async {
        let mut taken = 0;
        for n in 1..=20 {
            #[expect(clippy::disallowed_methods, reason = "an operator's deadline")]
            let deadline = Some(Instant::now() + Duration::from_secs(5));
            let before = stock(&server).await;
            let change = server.adjust_stock(&id, -20, false, request(n), deadline);
            match change.await {
                Ok(done) => {
                    assert_eq!(done.applied, -20);
                    taken += 20;
                }
                Err(Error::NotEnoughAvailable { available, .. }) => {
                    assert!(available < 20, "{available} are there, {before:?} were");
                }
                Err(Error::Store(StoreError::Unavailable(_))) => {}
                Err(error) => panic!("{error}"),
            }
        }
        taken
    };
    let buyers = join_all((0..16).map(|n| buy(seed.wrapping_add(n))));
    let (_, taken) = tokio::join!(buyers, operator);
    let (available, held, _) = stock(&server).await;
    assert_eq!((available, held), (0, sold.get()));
    assert_eq!(held + taken, UNITS, "{taken} were taken away");
    let audit = server.audit(&id, AuditLevel::Records, None).await.unwrap();
    assert_eq!(audit.verdict, Verdict::Sound, "{:?}", audit.violations);
}
