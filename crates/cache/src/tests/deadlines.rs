//! Deadlines by the hand-moved clock, to the millisecond.

use super::{Call, known, roomy};
use crate::{Found, Loaded};

#[test]
fn a_value_is_believed_before_its_deadline_and_not_at_it() {
    let cache = roomy();
    cache.clock().advance_to(500);
    cache.put(&1, cache.clock().ticket(), Found::Known(7), 100);
    cache.clock().advance_to(599);
    assert_eq!(cache.get(&1), Some(Found::Known(7)));
    cache.clock().advance_to(600);
    assert_eq!(cache.get(&1), None);
}

#[test]
fn it_counts_from_the_question() {
    let cache = roomy();
    let ticket = cache.clock().ticket();
    cache.clock().advance_to(60);
    cache.put(&1, ticket, Found::Known(7), 100);
    cache.put(&2, ticket, Found::Absent, 100);
    cache.clock().advance_to(99);
    assert!(cache.get(&1).is_some() && cache.get(&2).is_some());
    cache.clock().advance_to(100);
    assert!(cache.get(&1).is_none() && cache.get(&2).is_none());
}

#[test]
fn a_load_counts_from_its_beginning() {
    let cache = roomy();
    let call = Call::get(&cache, &1);
    cache.clock().advance_to(400);
    call.end(known(7));
    cache.clock().advance_to(999);
    assert_eq!(cache.get(&1), Some(Found::Known(7)));
    cache.clock().advance_to(1_000);
    assert_eq!(cache.get(&1), None);
}

#[test]
fn a_failure_counts_from_its_end() {
    let cache = roomy();
    let call = Call::get(&cache, &1);
    // As long as a store may take to time out.
    cache.clock().advance_to(5_000);
    call.end(Loaded::keep(Found::Failed("away"), 200));
    cache.clock().advance_to(5_199);
    assert_eq!(cache.get(&1), Some(Found::Failed("away")));
    cache.clock().advance_to(5_200);
    assert_eq!(cache.get(&1), None);
    let mut call = Call::later(&cache, &1);
    assert!(call.loads());
}

#[test]
fn a_load_longer_than_its_answer_may_be_kept_is_told_and_not_believed_later() {
    let cache = roomy();
    let call = Call::get(&cache, &1);
    let mut waiting = Call::get(&cache, &1);
    cache.clock().advance_to(3_000);
    assert_eq!(call.end(known(7)), Found::Known(7));
    assert_eq!(waiting.poll(), Some(Found::Known(7)));
    assert_eq!(cache.get(&1), None);
    assert_eq!(cache.last_known(&1), Some(7));
}

#[test]
fn nothing_is_kept_for_no_time() {
    let cache = roomy();
    assert!(!cache.put(&1, cache.clock().ticket(), Found::Known(7), 0));
    assert_eq!(cache.last_known(&1), None);
}

#[test]
fn forever_is_not_too_long() {
    let cache = roomy();
    cache.clock().advance_to(u64::MAX - 5);
    cache.put(&1, cache.clock().ticket(), Found::Known(7), u64::MAX);
    assert_eq!(cache.get(&1), Some(Found::Known(7)));
}
