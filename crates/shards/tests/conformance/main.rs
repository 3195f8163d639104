//! What every store has to do, and what the inventory does over any of them.
//! One body of tests: a store joins by a [`Fixture`] of its own and a line at
//! the end of this file. No test knows which store it runs on.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    reason = "tests; clippy's own exemption covers functions marked as tests only"
)]

mod fixture;
mod items;
mod reservations;
mod store;

use fixture::{Embedded, Fixture};

/// Instantiates every behaviour for one store.
macro_rules! conformance {
    ($store:ident, $fixture:ty: $($module:ident { $($test:ident),* $(,)? })*) => {
        mod $store {
            $(mod $module {
                $(#[tokio::test]
                async fn $test() {
                    let fixture = <$fixture as crate::Fixture>::start();
                    crate::$module::$test(fixture).await;
                })*
            })*
        }
    };
}

/// The list of behaviours, in one place, for every store.
macro_rules! all_behaviours {
    ($store:ident, $fixture:ty) => {
        conformance! { $store, $fixture:
            store {
                operations_of_one_stripe_run_in_the_order_in_which_they_were_queued,
                one_batch_gives_the_answers_of_one_by_one,
                an_operation_runs_though_nobody_waits_for_it,
                an_overdue_operation_is_not_sent,
                only_create_makes_a_shard,
                everything_acknowledged_survives_reopening,
            }
            items {
                a_repeated_create_finds_its_item,
                a_create_left_behind_is_finished_by_whoever_meets_it,
                a_change_left_behind_binds_at_once_and_is_finished_by_the_sweep,
                a_procedure_cut_short_is_an_unknown_outcome,
                another_servers_change_is_obeyed_at_once,
                closing_is_final,
                every_item_is_listed_once,
                a_lost_shard_is_a_loss_and_never_an_empty_one,
                stock_changes_happen_once,
                a_total_is_compared_and_set,
            }
            reservations {
                the_same_ids_get_the_same_reservation,
                ids_of_another_buyer_are_another_request,
                an_id_of_an_earlier_life_is_not_found,
                a_lapsed_hold_is_free_at_once,
                a_cancel_that_comes_first_forbids_its_reserve,
                a_late_confirm_takes_units_anew_or_loses_for_good,
                sold_units_come_back_once,
                a_purged_reservations_ids_are_new,
                a_sale_sells_exactly_what_it_has,
            }
        }
    };
}

all_behaviours!(embedded, crate::Embedded);
