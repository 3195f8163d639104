//! Reading many reservations: as they are now, in bounded steps, and nothing
//! changes by it.

use super::super::*;
use super::fixture::{
    DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS, Sale, buyer, cancel, cancel_by_key, confirm, give_back,
    key, lookup, reserve, settings,
};
use crate::ids::{Fingerprint, RecordKey};

#[derive(Clone, Copy)]
struct Wanted<'a> {
    buyer: Option<Fingerprint>,
    states: &'a [State],
    limit: u32,
}

const ALL: Wanted<'_> = Wanted {
    buyer: None,
    states: &[],
    limit: 2,
};

/// All pages, and how many of them there were. Changes nothing.
#[track_caller]
fn list(sale: &mut Sale, wanted: Wanted<'_>) -> (Vec<(RecordKey, Reservation)>, usize) {
    let before = sale.stripe.clone();
    let (mut found, mut after, mut pages) = (Vec::new(), None, 0);
    loop {
        let page = sale.ask(ShardOp::List {
            after,
            limit: wanted.limit,
            buyer: wanted.buyer,
            states: wanted.states.to_vec(),
        });
        let ShardReply::Listed { reservations, next } = page else {
            panic!("no page: {page:?}");
        };
        assert!(reservations.len() <= wanted.limit as usize);
        found.extend(reservations);
        pages += 1;
        after = next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(sale.stripe.shards, before.shards);
    assert_eq!(sale.stripe.guard.seq, before.guard.seq);
    (found, pages)
}

fn states(listed: &[(RecordKey, Reservation)]) -> Vec<(RecordKey, State)> {
    listed
        .iter()
        .map(|(key, r)| (*key, r.record.state))
        .collect()
}

/// One reservation in each state, each of its own buyer.
fn one_of_each() -> Sale {
    let mut sale = Sale::new(settings(), 10);
    sale.grant(key(5, 1), 10);
    sale.wait(settings().hold_ttl_ms);
    sale.grant(key(2, 2), 10);
    let lost = ShardOp::Confirm {
        key: key(5, 1),
        late: LateConfirm::RetakeOrLose,
        version: 0,
    };
    sale.ask(lost);
    sale.ask(confirm(key(2, 2)));
    sale.ask(give_back(key(2, 2), 1, 8));
    sale.grant(key(3, 3), 2);
    sale.ask(cancel(key(3, 3)));
    sale.ask(cancel_by_key(key(3, 30)));
    sale.grant(key(4, 4), 3);
    sale.wait(MINUTE_MS);
    sale.grant(key(1, 5), 4);
    sale.wait(settings().hold_ttl_ms - MINUTE_MS);
    sale
}

#[test]
fn a_listing_shows_each_reservation_as_a_reading_of_it_does() {
    let mut sale = one_of_each();
    let (listed, pages) = list(&mut sale, ALL);
    assert_eq!(pages, 3);
    assert_eq!(
        states(&listed),
        [
            (key(5, 1), State::Lost),
            (key(2, 2), State::Confirmed),
            (key(3, 3), State::Cancelled),
            // Its deadline is over, and nobody has noticed.
            (key(4, 4), State::Expired),
            (key(1, 5), State::Held),
            (key(3, 30), State::Cancelled),
        ]
    );
    for (key, shown) in listed {
        let mut copy = sale.clone();
        assert_eq!(copy.ask(lookup(key)), ShardReply::Done(shown));
    }
}

#[test]
fn what_is_purged_is_absent_though_no_sweep_came_by() {
    let mut sale = one_of_each();
    sale.wait(DAY_MS - HOUR_MS);
    let (listed, _) = list(&mut sale, ALL);
    // What never arrived is known for a quarter of an hour only.
    let known = [key(5, 1), key(2, 2), key(3, 3), key(4, 4), key(1, 5)];
    assert_eq!(
        listed.iter().map(|(key, _)| *key).collect::<Vec<_>>(),
        known
    );
    sale.wait(2 * HOUR_MS);
    assert_eq!(list(&mut sale, ALL).0, []);
    for key in known {
        assert_eq!(sale.clone().ask(lookup(key)), ShardReply::NotFound);
    }
}

#[test]
fn a_listing_can_be_of_one_buyer_and_of_some_states() {
    let mut sale = one_of_each();
    let of_one = Wanted {
        buyer: Some(buyer(3)),
        ..ALL
    };
    let (listed, _) = list(&mut sale, of_one);
    assert_eq!(
        states(&listed),
        [
            (key(3, 3), State::Cancelled),
            (key(3, 30), State::Cancelled)
        ]
    );
    let of_some = Wanted {
        states: &[State::Expired, State::Held],
        ..ALL
    };
    let (listed, _) = list(&mut sale, of_some);
    assert_eq!(
        states(&listed),
        [(key(4, 4), State::Expired), (key(1, 5), State::Held)]
    );
    let of_none = Wanted {
        states: &[State::Lost],
        ..of_one
    };
    assert_eq!(list(&mut sale, of_none).0, []);
}

/// Few of many: a page is empty rather than late.
#[test]
fn a_listing_looks_at_a_bounded_number_of_records() {
    let mut sale = Sale::new(settings(), 5_000);
    let all: Vec<_> = (0..=LIST_LOOKS_MAX * 2)
        .map(|n| reserve(key(1, n), 1))
        .collect();
    sale.batch(all);
    let rare = Wanted {
        buyer: Some(buyer(2)),
        limit: 1_000,
        ..ALL
    };
    assert_eq!(list(&mut sale, rare), (Vec::new(), 3));
    let all = Wanted {
        limit: u32::MAX,
        ..ALL
    };
    let (listed, pages) = list(&mut sale, all);
    assert_eq!((listed.len(), pages), (LIST_LOOKS_MAX as usize * 2 + 1, 3));
}

/// What is there from the first page to the last is met, whatever else comes
/// and goes.
#[test]
fn a_place_in_a_listing_outlives_the_record_it_was_made_of() {
    let short = Settings {
        retention_ms: SECOND_MS,
        ..settings()
    };
    let mut sale = Sale::new(short, 10);
    for n in 1..=5 {
        sale.grant(key(1, n), 1);
    }
    let page = |sale: &mut Sale, after| match sale.ask(ShardOp::List {
        after,
        limit: 2,
        buyer: None,
        states: Vec::new(),
    }) {
        ShardReply::Listed { reservations, next } => (states(&reservations), next),
        other => panic!("no page: {other:?}"),
    };
    let (first, next) = page(&mut sale, None);
    assert_eq!(first, [(key(1, 1), State::Held), (key(1, 2), State::Held)]);
    for n in 2..=3 {
        sale.ask(cancel(key(1, n)));
    }
    sale.wait(2 * SECOND_MS);
    sale.ask(ShardOp::Purge { limit: 10 });
    let (second, next) = page(&mut sale, next);
    assert_eq!(second, [(key(1, 4), State::Held), (key(1, 5), State::Held)]);
    assert_eq!(next, None);
}

#[test]
fn an_explanation_reads_what_a_reserve_is_decided_by() {
    let mut sale = Sale::new(settings(), 10);
    sale.grant(key(1, 1), 3);
    sale.ask(confirm(key(1, 1)));
    sale.grant(key(1, 2), 4);
    let ask = |sale: &mut Sale, buyer| match sale.ask(ShardOp::Explain { buyer }) {
        ShardReply::Explained {
            reading,
            buyer_units,
            full,
        } => (reading.counters.available, buyer_units, full),
        other => panic!("no explanation: {other:?}"),
    };
    assert_eq!(ask(&mut sale, buyer(1)), (3, Some(7), false));
    assert_eq!(ask(&mut sale, buyer(2)), (3, Some(0), false));
    // What has lapsed is the buyer's no more.
    sale.wait(settings().hold_ttl_ms);
    sale.full = true;
    assert_eq!(ask(&mut sale, buyer(1)), (7, Some(3), true));

    let uncounted = Settings {
        counts_buyers: false,
        ..settings()
    };
    let mut sale = Sale::new(uncounted, 1);
    assert_eq!(ask(&mut sale, buyer(1)), (1, None, false));
}
