//! What every store has to do, and what the inventory does over any of them.
//! One body of tests: a store joins by a [`Fixture`] of its own and a line at
//! the end of this file. No test knows which store it runs on.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    reason = "tests; clippy's own exemption covers functions marked as tests only"
)]

mod deletion;
mod explaining;
mod fixture;
mod items;
mod judge;
mod listing;
mod many_shards;
mod notices;
mod procedures;
mod redis;
mod release;
mod reservations;
mod sale;
#[path = "../../../../tests/src/redis/mod.rs"]
mod servers;
mod store;
mod updates;
mod wrapped;

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
            notices {
                units_that_come_on_sale_are_heard_of_before_the_answer,
                nobody_is_answered_while_one_has_yet_to_hear,
                units_that_go_or_do_not_come_are_not_heard_of,
                changes_of_an_item_are_heard_of_before_the_answer,
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
            many_shards {
                new_stock_is_dealt_out,
                more_than_any_shard_has_but_not_more_than_all_have,
                a_hopeless_request_moves_nothing_and_costs_others_nothing,
                refusals_share_their_looks,
                stock_at_home_costs_one_operation_and_one_shard_costs_no_look,
                of_two_who_want_each_others_units_one_gets_them,
                a_late_confirm_finds_units_on_other_shards,
                what_is_taken_away_is_gathered_first,
                what_is_under_way_is_carried_on_by_whoever_meets_it,
                a_look_is_shared_only_with_those_who_came_before_it_began,
                a_shard_that_is_away_is_no_refusal_and_is_not_asked_again_at_once,
                a_lender_that_lost_its_tail_freezes_its_stripe_alone,
                one_shard_by_default_where_there_is_one_master,
            }
            procedures {
                creating,
                pausing,
                adding_and_dealing,
                gathering_and_taking,
                reserving_what_lies_elsewhere,
                deleting,
                failing_to_delete,
            }
            sale {
                over_1_shard,
                over_2_shards,
                over_8_shards,
                over_64_shards,
                with_stock_taken_away_in_the_middle,
            }
            deletion {
                a_deleted_item_is_gone_and_its_name_can_be_used_again,
                held_units_keep_an_item_unless_forced,
                while_a_deletion_is_under_way_nothing_is_granted,
                several_who_delete_at_once_all_hear_that_it_is_gone,
                an_item_that_lost_a_shard_can_be_deleted,
                a_slow_server_does_not_delete_what_was_granted_since,
            }
            updates {
                a_change_binds_on_every_shard,
                a_repeat_of_an_applied_change_finds_the_item,
                a_shard_that_is_away_obeys_before_it_sells,
                buyers_are_counted_from_creation_on_or_never,
                updating,
            }
            listing {
                every_reservation_is_listed_as_it_is_now,
                a_buyers_list_reads_one_shard,
                a_token_from_elsewhere_is_refused,
            }
            explaining {
                what_is_explained_is_what_happens,
                a_sale_that_has_not_begun_or_is_over,
                an_explanation_shows_what_it_is_made_of,
                a_shard_that_is_away_is_part_of_the_explanation,
            }
            release {
                stripes_are_listed_with_how_they_do,
                a_released_stripe_is_consistent_with_the_others,
                a_release_needs_every_peer_and_waits_for_none_that_is_frozen,
            }
        }
    };
}

all_behaviours!(embedded, crate::Embedded);
all_behaviours!(redis_single, crate::redis::Single);
all_behaviours!(redis_cluster, crate::redis::Clustered);
