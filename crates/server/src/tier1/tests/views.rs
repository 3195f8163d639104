//! What settings refuse, and how soon a change of them is obeyed.

use shards::machine::ItemSpec;
use shards::time::Millis;

use super::*;

async fn pause(server: &Server) {
    let hat = hat();
    let paused = server.inventory.pause_item(&hat, "a test", None);
    paused.await.unwrap();
}

async fn resume(server: &Server) {
    let hat = hat();
    let resumed = server.inventory.resume_item(&hat, "a test", None);
    resumed.await.unwrap();
}

/// Refused, a second time from memory.
async fn twice(server: &Server) -> Reserved {
    server.first(8, 1).await;
    server.first(8, 1).await;
    server.refused_from_memory(8, 1)
}

#[tokio::test(start_paused = true)]
async fn a_pause_is_refused_from_memory_and_its_end_is_obeyed_at_once() {
    let server = Server::with_hats(4).await;
    pause(&server).await;
    assert_eq!(twice(&server).await, Reserved::SalePaused);
    resume(&server).await;
    receipt(server.first(1, 1).await);
    // While it sells, memory is not in the way.
    server.store.take_calls();
    receipt(server.first(2, 1).await);
    assert!(server.store.take_calls() <= 6);
    server.inventory.close_item(&hat(), "", None).await.unwrap();
    assert_eq!(twice(&server).await, Reserved::SaleEnded);
}

/// ⚔ No server refuses by older settings, or sells by them, once the operator is
/// answered: though no notice reaches it.
#[tokio::test(start_paused = true)]
async fn changes_are_obeyed_everywhere_by_the_time_they_are_answered() {
    let operator = Server::sold_out(4).await;
    let server = operator.another();
    assert_eq!(twice(&server).await, sold_out());
    for _ in 0..3 {
        // The view is as young as can be.
        clock::after(VIEW_AGE_MAX).await;
        server.first(2, 1).await;
        pause(&operator).await;
        operator.tier1.obeyed_everywhere().await;
        assert_eq!(server.first(2, 1).await.reserved, Reserved::SalePaused);
        clock::after(VIEW_AGE_MAX).await;
        server.first(2, 1).await;
        resume(&operator).await;
        operator.tier1.obeyed_everywhere().await;
        assert_eq!(server.first(2, 1).await.reserved, sold_out());
    }
    // Who is alone need not wait.
    let alone = Server::with_hats(1).await;
    let begin = clock::now();
    alone.tier1.obeyed_everywhere().await;
    assert_eq!(begin, clock::now());
}

/// ⚔ The same on a machine that is too busy to keep time.
#[tokio::test(start_paused = true)]
async fn changes_are_obeyed_though_the_clock_is_late() {
    let operator = Server::sold_out(4).await;
    let server = Server::without_ticks(operator.store.another(), Settings::default());
    assert_eq!(twice(&server).await, sold_out());
    pause(&operator).await;
    operator.tier1.obeyed_everywhere().await;
    assert_eq!(server.first(2, 1).await.reserved, Reserved::SalePaused);
}

/// ⚔ And though a reading takes long that began before the change.
#[tokio::test(start_paused = true)]
async fn who_comes_later_is_not_judged_by_a_reading_that_takes_long() {
    let operator = Server::sold_out(4).await;
    let server = operator.another();
    assert_eq!(twice(&server).await, sold_out());
    pause(&operator).await;
    clock::after(VIEW_AGE_MAX).await;
    server.store.set_latency(VIEW_AGE_MAX * 2);
    let mut early = pin!(server.first(2, 1));
    assert!(now(early.as_mut()).is_none());
    go_on().await;
    resume(&operator).await;
    operator.tier1.obeyed_everywhere().await;
    assert_eq!(server.first(3, 1).await.reserved, sold_out());
    // Who came before the change may hear of either.
    assert_eq!(early.await.reserved, Reserved::SalePaused);
}

#[tokio::test(start_paused = true)]
async fn windows_are_judged_by_the_stores_time_but_near_an_edge() {
    let server = Server::of(Memory::new(), Settings::default());
    let sale_start = Millis(10_000);
    let spec = ItemSpec {
        sale_start: Some(sale_start),
        sale_end: Some(Millis(20_000)),
        ..spec(1)
    };
    create(&server.inventory, spec).await;
    let early = Reserved::NotStarted { sale_start };
    assert_eq!(twice(&server).await, early);
    let at = async |ms: u64, n: u8| {
        let left = Duration::from_millis(ms).saturating_sub(server.store_time());
        clock::after(left).await;
        // Whatever was known of the settings is renewed.
        server.store.take_calls();
        let answer = server.first(n, 5).await;
        (answer.from_memory, answer.reserved)
    };
    assert_eq!(at(8_900, 11).await, (true, early.clone()));
    // Within a second of the start only the store knows.
    assert_eq!(at(9_100, 12).await, (false, early.clone()));
    assert_eq!(at(9_990, 13).await, (false, early));
    let (from_memory, reserved) = at(10_010, 14).await;
    assert!(!from_memory && matches!(reserved, Reserved::Granted { .. }));
    server.cancel(14).await;
    // Sold out in the middle; near its end the sale may be over instead.
    receipt(server.first(1, 5).await);
    at(15_000, 15).await;
    assert_eq!(at(15_100, 16).await, (true, sold_out()));
    assert!(!at(19_100, 17).await.0);
    assert_eq!(at(20_010, 18).await, (false, Reserved::SaleEnded));
    at(21_100, 19).await;
    assert_eq!(at(21_200, 20).await, (true, Reserved::SaleEnded));
}

/// What is asked for beyond the item's own maximum is not sold out but wrong.
#[tokio::test(start_paused = true)]
async fn the_items_own_maximum_comes_before_its_stock() {
    let server = Server::of(Memory::new(), Settings::default());
    let spec = ItemSpec {
        max_units_per_reservation: 2,
        ..spec(1)
    };
    create(&server.inventory, spec).await;
    for n in 1..=2 {
        receipt(server.first(n, 2).await);
    }
    receipt(server.first(3, 1).await);
    twice(&server).await;
    let wrong = server.reserve(4, 3, Attempt::First).await;
    assert!(matches!(wrong, Err(Error::Invalid(_))), "{wrong:?}");
}

impl Server {
    /// Since the store began.
    fn store_time(&self) -> Duration {
        let now = self.inventory.store_time().unwrap();
        Duration::from_millis(now.0.unsigned_abs())
    }
}
