//! Stock on its way: both sides count what was ever sent and received, so it
//! does not matter who carries a transfer on, how often, or how late.

use super::super::*;
use super::fixture::{
    Sale, adjust, confirm, credit, give_back, key, lend, lent, reserve, settings,
};
use crate::ids::{ShardNo, TOTAL_MAX};

fn credited(received: u64) -> ShardReply {
    ShardReply::Credited { received }
}

/// Available on each shard.
fn available(sale: &Sale) -> Vec<u64> {
    let shards = sale.stripe.shards.values();
    shards.map(|s| s.header.counters.available).collect()
}

#[test]
fn a_transfer_takes_units_here_and_adds_them_there() {
    let mut sale = Sale::on_shards(settings(), &[10, 0]);
    assert_eq!(sale.ask(lend(1, 4, 0)), lent(4, 4));
    assert_eq!(available(&sale), [6, 0]);
    assert_eq!(sale.at(1).ask(credit(0, 4)), credited(4));
    assert_eq!(available(&sale), [6, 4]);
    // And back again: each direction has its own counters.
    assert_eq!(sale.ask(lend(0, 1, 0)), lent(1, 1));
    assert_eq!(sale.at(0).ask(credit(1, 1)), credited(1));
    assert_eq!(sale.ask(lend(1, 2, 4)), lent(6, 2));
    assert_eq!(sale.at(1).ask(credit(0, 6)), credited(6));
    assert_eq!(available(&sale), [5, 5]);
    // What is gained shows a look that stock came in.
    assert_eq!(sale.shard().header.counters.gained, 6);
    assert_eq!(sale.at(0).shard().header.counters.gained, 11);
}

/// ⚔ The answer to the first one may be lost: the second names the same units.
#[test]
fn a_repeated_lend_while_one_is_under_way_gives_nothing_more() {
    let mut sale = Sale::on_shards(settings(), &[10, 0, 0]);
    assert_eq!(sale.ask(lend(1, 4, 0)), lent(4, 4));
    let once = sale.stripe.clone();
    for wanted in [4, 1, 10] {
        assert_eq!(sale.ask(lend(1, wanted, 0)), lent(4, 0));
    }
    assert_eq!(sale.stripe, once);
    // Credited, but whoever asks does not know it yet.
    sale.at(1).ask(credit(0, 4));
    assert_eq!(sale.at(0).ask(lend(1, 4, 3)), lent(4, 0));
    assert_eq!(sale.ask(lend(1, 3, 4)), lent(7, 3));
    // Another pair's transfer is another matter.
    assert_eq!(sale.ask(lend(2, 2, 0)), lent(2, 2));
    assert_eq!(available(&sale), [1, 4, 0]);
}

/// ⚔ Any server may carry a transfer on at any time, also when it is done.
#[test]
fn a_repeated_or_stale_credit_adds_nothing() {
    let mut sale = Sale::on_shards(settings(), &[10, 0, 5]);
    sale.ask(lend(1, 4, 0));
    sale.at(1).ask(credit(0, 4));
    sale.at(0).ask(lend(1, 3, 4));
    assert_eq!(sale.at(1).ask(credit(0, 7)), credited(7));
    let once = sale.stripe.clone();
    for sent in [7, 4, 0] {
        assert_eq!(sale.ask(credit(0, sent)), credited(7));
    }
    assert_eq!(sale.stripe, once);
    assert_eq!(available(&sale), [3, 7, 5]);
    // Of another shard equal numbers are other units.
    sale.at(2).ask(lend(1, 4, 0));
    assert_eq!(sale.at(1).ask(credit(2, 4)), credited(4));
    assert_eq!(available(&sale), [3, 11, 1]);
}

/// Three transfers in one credit: only the last number counts.
#[test]
fn a_credit_brings_all_that_was_missed() {
    let mut sale = Sale::on_shards(settings(), &[10, 0]);
    sale.ask(lend(1, 4, 0));
    let before = sale.stripe.shards.clone();
    sale.at(1).ask(credit(0, 4));
    sale.at(0).ask(lend(1, 3, 4));
    // The receiver falls back to before the first credit.
    let receiver = sale.at(1).key.clone();
    sale.stripe
        .shards
        .insert(receiver.clone(), before[&receiver].clone());
    assert_eq!(sale.ask(credit(0, 7)), credited(7));
    assert_eq!(available(&sale), [3, 7]);
}

#[test]
fn a_loss_at_the_receiver_heals_by_the_next_credit() {
    let mut sale = Sale::on_shards(settings(), &[10, 0]);
    let receiver = sale.at(1).key.clone();
    let before = sale.shard().clone();
    sale.at(0).ask(lend(1, 4, 0));
    sale.at(1).ask(credit(0, 4));
    sale.stripe.shards.insert(receiver, before);
    assert_eq!(available(&sale), [6, 0]);
    // It has received 0 again; so the lender says what is under way.
    assert_eq!(sale.at(0).ask(lend(1, 2, 0)), lent(4, 0));
    assert_eq!(sale.at(1).ask(credit(0, 4)), credited(4));
    assert_eq!(available(&sale), [6, 4]);
}

#[test]
fn a_lend_gives_no_more_than_is_wanted_and_no_more_than_is_there() {
    let mut sale = Sale::on_shards(settings(), &[10, 0]);
    sale.grant(key(1, 1), 3);
    assert_eq!(sale.ask(lend(1, 0, 0)), lent(0, 0));
    assert!(sale.shard().header.counters.sent.is_empty());
    assert_eq!(sale.ask(lend(1, 2, 0)), lent(2, 2));
    sale.at(1).ask(credit(0, 2));
    assert_eq!(sale.at(0).ask(lend(1, u64::MAX, 2)), lent(7, 5));
    sale.at(1).ask(credit(0, 7));
    assert_eq!(sale.at(0).ask(lend(1, 1, 7)), lent(7, 0));
    assert_eq!(sale.stock(), (0, 3, 0));
}

/// ⚔ Beyond that JSON and Lua do not tell two numbers apart.
#[test]
fn all_that_is_ever_lent_stays_below_2_to_the_53() {
    let mut sale = Sale::on_shards(settings(), &[TOTAL_MAX - 1, 0]);
    let most = TOTAL_MAX - 1;
    assert_eq!(sale.ask(lend(1, most, 0)), lent(most, most));
    sale.at(1).ask(credit(0, most));
    sale.ask(lend(0, 5, 0));
    sale.at(0).ask(credit(1, 5));
    assert_eq!(sale.ask(lend(1, 5, most)), lent(TOTAL_MAX, 1));
    sale.at(1).ask(credit(0, TOTAL_MAX));
    assert_eq!(sale.at(0).ask(lend(1, 5, TOTAL_MAX)), lent(TOTAL_MAX, 0));
    assert_eq!(available(&sale), [4, TOTAL_MAX - 5]);
}

#[test]
fn a_lend_gives_back_lapsed_holds_first() {
    let mut sale = Sale::on_shards(settings(), &[10, 0]);
    sale.grant(key(1, 1), 4);
    sale.grant(key(1, 2), 6);
    sale.ask(confirm(key(1, 2)));
    assert_eq!(sale.ask(lend(1, 4, 0)), lent(0, 0));
    sale.wait(settings().hold_ttl_ms);
    assert_eq!(sale.ask(lend(1, 4, 0)), lent(4, 4));
}

/// ⚔ 300 holds are due, a batch gives 256 back: "nothing" would not be true,
/// and part of it would be carried around for nothing.
#[test]
fn a_lend_with_more_due_than_a_batch_can_give_back_is_again() {
    let mut sale = Sale::on_shards(settings(), &[300, 0]);
    sale.grant_each(1, 0..300);
    sale.wait(settings().hold_ttl_ms);
    assert_eq!(sale.ask(lend(1, 300, 0)), ShardReply::Again);
    assert_eq!(sale.ask(lend(1, 300, 0)), lent(300, 300));
    // What is under way is told at once, whatever is due.
    let mut sale = Sale::on_shards(settings(), &[301, 0]);
    sale.ask(lend(1, 1, 0));
    sale.grant_each(1, 0..300);
    sale.wait(settings().hold_ttl_ms);
    assert_eq!(sale.ask(lend(1, 300, 0)), lent(1, 0));
}

/// A nearly full store remembers nothing new, and lends and credits do not.
#[test]
fn a_nearly_full_store_moves_stock() {
    let mut sale = Sale::on_shards(settings(), &[10, 0]);
    sale.full = true;
    assert_eq!(sale.ask(lend(1, 4, 0)), lent(4, 4));
    assert_eq!(sale.at(1).ask(credit(0, 4)), credited(4));
}

/// Transfers change neither the total nor what operators have to say of it.
#[test]
fn units_sold_elsewhere_stay_in_the_total() {
    let mut sale = Sale::on_shards(settings(), &[6, 4]);
    sale.at(1).grant(key(1, 1), 3);
    sale.ask(confirm(key(1, 1)));
    sale.ask(give_back(key(1, 1), 1, 1));
    let short = ShardReply::Short {
        wanted: 7,
        available: 6,
        held: 0,
    };
    assert_eq!(sale.at(0).ask(adjust(1, -7)), short);
    sale.at(1).ask(lend(0, 2, 0));
    sale.at(0).ask(credit(1, 2));
    sale.ask(adjust(1, -7));
    assert_eq!(sale.shard().header.counters.supply, Some(3));
    assert_eq!(available(&sale), [1, 0]);
    let set = ShardOp::Change {
        request: super::fixture::request(2),
        change: StockChange::SetTotal {
            total: 5,
            expected: 3,
        },
        gathered: false,
        version: 0,
    };
    assert!(matches!(
        sale.ask(set),
        ShardReply::Changed { applied: 2, .. }
    ));
}

/// Pause, close and deletion stop grants, not transfers: what is under way
/// arrives, and a look comes to an end.
#[test]
fn stock_moves_whatever_operators_set() {
    for selling in [Selling::Paused, Selling::Closed, Selling::Deleting] {
        let mut sale = Sale::on_shards(settings(), &[10, 0]);
        sale.configure(|s| s.selling = selling);
        sale.at(1).configure(|s| s.selling = selling);
        assert_eq!(sale.at(0).ask(lend(1, 4, 0)), lent(4, 4));
        assert_eq!(sale.at(1).ask(credit(0, 4)), credited(4));
        assert!(matches!(
            sale.ask(reserve(key(1, 1), 1)),
            ShardReply::NotSelling(_)
        ));
    }
}

/// Lend and credit of one pair in one batch, by two servers.
#[test]
fn a_batch_carries_a_transfer_once() {
    let mut sale = Sale::on_shards(settings(), &[10, 0]);
    let (from, to) = (sale.key.clone(), sale.at(1).key.clone());
    let lend = Op::Shard(from.clone(), lend(1, 4, 0));
    let credit = Op::Shard(to, credit(0, 4));
    let (replies, _) = sale.run(&[lend.clone(), lend, credit.clone(), credit]);
    let expected = [lent(4, 4), lent(4, 0), credited(4), credited(4)];
    assert_eq!(replies, expected.map(Reply::Shard));
    assert_eq!(available(&sale), [6, 4]);
    let sent = &sale.stripe.shards[&from].header.counters.sent;
    assert_eq!(sent[&ShardNo(1)], 4);
}
