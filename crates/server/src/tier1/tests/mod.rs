//! What memory says, by a clock that the tests move and with every answer and
//! notice arriving when they say so.

mod marks;
mod races;
mod stock;
mod unknown;
mod views;

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use shards::ids::{BuyerId, Quantity, RequestId};
use shards::inventory::{Receipt, Target};

use super::*;
use crate::memory_store::{Memory, create, hat, spec};
use crate::tasks;

const SECOND: Duration = Duration::from_secs(1);

/// A server, and the store as it sees it.
struct Server {
    store: Arc<Memory>,
    inventory: Arc<Inventory>,
    tier1: Arc<Tier1>,
}

impl Server {
    fn of(store: Arc<Memory>, settings: Settings) -> Self {
        let server = Self::without_ticks(store, settings);
        drop(tasks::start(Arc::clone(&server.tier1).keep_time()));
        server
    }

    /// The same on a machine that is too busy to keep time.
    fn without_ticks(store: Arc<Memory>, settings: Settings) -> Self {
        let inventory = store.inventory();
        let tier1 = Tier1::new(Arc::clone(&inventory), settings);
        Self {
            store,
            inventory,
            tier1,
        }
    }

    /// One with a store of its own, in which there are 5 hats.
    async fn with_hats(shards: u32) -> Self {
        let server = Self::of(Memory::new(), Settings::default());
        create(&server.inventory, spec(shards)).await;
        server
    }

    /// The same, and all of them are sold to buyer 1 by request 1.
    async fn sold_out(shards: u32) -> Self {
        let server = Self::with_hats(shards).await;
        receipt(server.first(1, 5).await);
        server
    }

    /// Another server of the same store.
    fn another(&self) -> Self {
        Self::of(self.store.another(), Settings::default())
    }

    async fn first(&self, n: u8, quantity: u32) -> Answer {
        self.reserve(n, quantity, Attempt::First).await.unwrap()
    }

    async fn again(&self, n: u8, quantity: u32) -> Answer {
        let attempt = Attempt::PerhapsRepeated;
        self.reserve(n, quantity, attempt).await.unwrap()
    }

    async fn reserve(&self, n: u8, quantity: u32, attempt: Attempt) -> Result<Answer, Error> {
        self.reserve_within(SECOND * 5, &ask(n, quantity), attempt)
            .await
    }

    async fn reserve_within(
        &self,
        time: Duration,
        ask: &Reserve,
        attempt: Attempt,
    ) -> Result<Answer, Error> {
        let deadline = Some(clock::later(time));
        self.tier1.reserve(ask, attempt, deadline).await
    }

    /// Gives back what buyer `n` has.
    async fn cancel(&self, n: u8) {
        let Reserve {
            item,
            buyer,
            request,
            ..
        } = ask(n, 1);
        let key = Target::Key {
            item,
            buyer,
            request,
        };
        self.inventory.cancel(&key, None).await.unwrap();
    }

    /// What it says to one who asks for the first time, without asking the
    /// store.
    #[track_caller]
    fn refused_from_memory(&self, n: u8, quantity: u32) -> Reserved {
        self.store.take_calls();
        let answer = now(self.first(n, quantity)).expect("memory waits for nothing");
        assert_eq!(self.store.take_calls(), 0);
        assert!(answer.from_memory, "{answer:?}");
        answer.reserved
    }
}

/// Buyer `n`'s request.
fn ask(n: u8, quantity: u32) -> Reserve {
    Reserve {
        item: hat(),
        buyer: BuyerId::parse(&format!("buyer-{n}")).unwrap(),
        request: RequestId([n; 16]),
        quantity: Quantity::new(quantity).unwrap(),
    }
}

#[track_caller]
fn receipt(answer: Answer) -> Receipt {
    match answer.reserved {
        Reserved::Granted { receipt, .. } => receipt,
        other => panic!("{other:?}"),
    }
}

fn sold_out() -> Reserved {
    Reserved::Short {
        available: 0,
        held: 5,
    }
}

/// A mark of the item, that refuses without the store.
async fn mark(server: &Server) {
    server.first(9, 1).await;
    server.first(9, 1).await;
    assert_eq!(server.refused_from_memory(9, 1), sold_out());
}

/// What is there without waiting.
fn now<T>(future: impl Future<Output = T>) -> Option<T> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    }
}

/// Lets all that can go on do so.
async fn go_on() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

/// The same, until it is true.
async fn until(mut is_true: impl FnMut() -> bool) {
    for _ in 0..1_000 {
        if is_true() {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("it never came true");
}
