//! Of concurrent misses one loads; whoever goes away leaves it to the next.

use super::{AGE_MAX_MS, Call, KEEP_MS, known, roomy};
use crate::{Found, Loaded};

#[test]
fn of_concurrent_misses_one_loads() {
    let cache = roomy();
    let first = Call::get(&cache, &1);
    let mut others: Vec<_> = (0..200).map(|_| Call::get(&cache, &1)).collect();
    assert!(others.iter_mut().all(|other| !other.loads()));
    assert_eq!(first.end(known(7)), Found::Known(7));
    for mut other in others {
        assert_eq!(other.poll(), Some(Found::Known(7)));
    }
    assert_eq!(cache.get(&1), Some(Found::Known(7)));
    let figures = cache.figures();
    assert_eq!((figures.loads, figures.shared), (1, 200));
    assert_eq!((figures.misses, figures.hits), (201, 1));
    assert_eq!(cache.flights(), 0, "nobody is left on a flight");
}

#[test]
fn different_keys_do_not_wait_for_each_other() {
    let cache = roomy();
    let mut first = Call::get(&cache, &1);
    let mut second = Call::get(&cache, &2);
    assert!(first.loads() && second.loads());
}

#[test]
fn a_miss_whose_value_landed_meanwhile_does_not_load() {
    let cache = roomy();
    let first = Call::get(&cache, &1);
    let mut second = Call::get(&cache, &1);
    cache.put(&1, cache.clock().ticket(), Found::Known(8), KEEP_MS);
    first.cancel();
    assert_eq!(second.poll(), Some(Found::Known(8)));
}

#[test]
fn who_comes_late_does_not_share_a_load_that_takes_long() {
    let cache = roomy();
    let first = Call::get(&cache, &1);
    cache.clock().advance_to(AGE_MAX_MS - 1);
    let mut second = Call::get(&cache, &1);
    cache.clock().advance_to(AGE_MAX_MS);
    let mut late = Call::get(&cache, &1);
    let mut later = Call::get(&cache, &1);
    cache.clock().advance_to(2 * KEEP_MS);
    first.end(known(7));
    // However long it took, it began late enough for the second one.
    assert_eq!(second.poll(), Some(Found::Known(7)));
    assert!(late.loads(), "it was told of what was before it came");
    assert!(!later.loads());
    assert_eq!(late.end(known(8)), Found::Known(8));
    assert_eq!(later.poll(), Some(Found::Known(8)));
}

#[test]
fn a_later_load_is_not_the_one_under_way() {
    let cache = roomy();
    let first = Call::get(&cache, &1);
    let mut strict = Call::later(&cache, &1);
    let mut second = Call::later(&cache, &1);
    assert!(!strict.loads());
    // What the first load found may be older than the others' arrival.
    first.end(known(7));
    assert!(strict.loads(), "it took an older load for its own");
    assert!(!second.loads());
    // But one that began after both came will do for both.
    assert_eq!(strict.end(known(8)), Found::Known(8));
    assert_eq!(second.poll(), Some(Found::Known(8)));
    assert_eq!(cache.get(&1), Some(Found::Known(8)));
    assert_eq!(cache.figures().loads, 2);
}

#[test]
fn a_later_load_does_not_take_what_is_remembered() {
    let cache = roomy();
    cache.put(&1, cache.clock().ticket(), Found::Known(7), KEEP_MS);
    let call = Call::later(&cache, &1);
    assert_eq!(call.end(known(8)), Found::Known(8));
}

#[test]
fn whoever_comes_during_a_pause_before_the_load_shares_it() {
    let cache = roomy();
    let first = Call::later(&cache, &1);
    let mut second = Call::later(&cache, &1);
    // The first one's load paused until here, and asks only now.
    let ticket = cache.clock().ticket();
    let mut late = Call::later(&cache, &1);
    first.end(known(7).began_at(ticket));
    assert_eq!(second.poll(), Some(Found::Known(7)));
    assert!(late.loads(), "it came after the question");
}

#[test]
fn a_load_that_is_cancelled_is_the_next_ones() {
    let cache = roomy();
    let first = Call::get(&cache, &1);
    let mut second = Call::get(&cache, &1);
    let mut third = Call::later(&cache, &1);
    assert!(!second.loads());
    first.cancel();
    assert!(second.loads(), "it is stuck");
    second.cancel();
    assert!(third.loads(), "it is stuck");
    third.cancel();
    assert_eq!(cache.flights(), 0);
}

#[test]
fn whoever_waits_may_be_cancelled() {
    let cache = roomy();
    let first = Call::get(&cache, &1);
    let second = Call::get(&cache, &1);
    let mut third = Call::get(&cache, &1);
    second.cancel();
    assert_eq!(first.end(known(7)), Found::Known(7));
    assert_eq!(third.poll(), Some(Found::Known(7)));
    assert_eq!(cache.flights(), 0);
}

#[test]
fn a_load_that_panics_is_the_next_ones() {
    let cache = roomy();
    let mut first = Call::get(&cache, &1);
    let mut second = Call::get(&cache, &1);
    first.answer = None;
    let died = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| first.poll()));
    assert!(died.is_err());
    drop(first);
    assert!(second.loads(), "it is stuck");
}

#[test]
fn a_failure_is_told_to_those_who_wait_and_to_nobody_else() {
    let cache = roomy();
    let first = Call::get(&cache, &1);
    let mut second = Call::get(&cache, &1);
    let mut strict = Call::later(&cache, &1);
    first.end(Loaded::keep(Found::Failed("away"), 0));
    assert_eq!(second.poll(), Some(Found::Failed("away")));
    assert!(strict.loads(), "it may be different by now");
    assert_eq!(cache.get(&1), None);
}

#[test]
fn a_callers_own_failure_is_nobody_elses() {
    let cache = roomy();
    let first = Call::get(&cache, &1);
    let mut second = Call::get(&cache, &1);
    let own = first.end(Loaded::failed_for_me("my time is over"));
    assert_eq!(own, Found::Failed("my time is over"));
    assert!(second.loads());
    assert_eq!(second.end(known(7)), Found::Known(7));
}

#[test]
fn a_failure_to_remember_answers_everybody() {
    let cache = roomy();
    let first = Call::get(&cache, &1);
    let mut waiting = Call::later(&cache, &1);
    first.end(Loaded::keep(Found::Failed("away"), 200));
    assert_eq!(waiting.poll(), Some(Found::Failed("away")));
    assert_eq!(cache.get(&1), Some(Found::Failed("away")));
    let mut coming = Box::pin(cache.load_later(&1, async { unreachable!() }));
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    let found = coming.as_mut().poll(&mut context);
    assert_eq!(found, std::task::Poll::Ready(Found::Failed("away")));
}

#[test]
fn what_is_not_to_be_kept_is_shared_only_while_it_loads() {
    let cache = roomy();
    let first = Call::get(&cache, &1);
    let mut waiting = Call::get(&cache, &1);
    // Keeps the flight alive beyond its first load.
    let _strict = Call::later(&cache, &1);
    first.end(Loaded::keep(Found::Known(7), 0));
    // It did not wait for that load, so it waits for the next.
    let mut late = Call::get(&cache, &1);
    assert_eq!(waiting.poll(), Some(Found::Known(7)));
    assert_eq!(
        late.poll(),
        None,
        "it was told of what ended before it came"
    );
}
