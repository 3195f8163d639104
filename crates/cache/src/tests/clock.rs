//! The clock stands still until it is moved, and never goes back.

use std::time::Duration;

use crate::Clock;

#[test]
fn it_never_goes_back() {
    let clock = Clock::default();
    clock.advance_to(20);
    clock.advance_to(10);
    assert_eq!(clock.now_ms(), 20);
}

#[test]
fn tickets_are_in_order() {
    let clock = Clock::default();
    let first = clock.ticket();
    clock.advance_to(5);
    let second = clock.ticket();
    assert!(first.number < second.number);
    assert_eq!((first.at_ms, second.at_ms), (0, 5));
}

#[tokio::test(start_paused = true)]
async fn ticking_it_is_slow_by_a_tick_at_most() {
    let clock = Clock::default();
    clock.advance_to(1_000);
    let tick = Duration::from_millis(5);
    let checks = async {
        for elapsed_ms in 1..100 {
            tokio::time::advance(Duration::from_millis(1)).await;
            let real_ms = 1_000 + elapsed_ms;
            assert!(clock.now_ms() <= real_ms, "it is fast");
            assert!(
                clock.now_ms() + 5 >= real_ms,
                "{} at {real_ms}",
                clock.now_ms()
            );
        }
    };
    tokio::select! {
        biased;
        () = clock.tick_every(tick) => {}
        () = checks => {}
    }
    assert!(clock.now_ms() >= 1_090);
}
