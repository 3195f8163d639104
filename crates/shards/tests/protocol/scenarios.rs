//! The worlds that are explored, each with the number of its states as it was
//! counted last.

use crate::explorer::explore;
use crate::scenario::{Environment, HOLD_MS, Hold, Job, Scenario, reserve};

const CALM: Environment = Environment::CALM;

/// A scenario with nothing special about it.
const PLAIN: Scenario = Scenario {
    name: "",
    stock: &[],
    holds: &[],
    jobs: &[],
    buyer_limit: 0,
    environment: CALM,
    states: 0,
};

const TWO_FIVES: &[Job] = &[reserve(1, 5, 0), reserve(2, 5, 1)];

macro_rules! scenarios {
    ($($(#[doc = $words:literal])+ $name:ident $(($long:ident))? { $($field:ident: $value:expr),* $(,)? })*) => {
        $(
            $(#[doc = $words])+
            #[test]
            fn $name() {
                const SCENARIO: Scenario = Scenario {
                    name: stringify!($name),
                    $($field: $value,)*
                    ..PLAIN
                };
                run(scenarios![@long $($long)?], SCENARIO);
            }
        )*
    };
    // Whether it is left to the long run.
    (@long) => { false };
    (@long long) => { true };
}

fn run(long: bool, scenario: Scenario) {
    if long && std::env::var_os("HOLDFAST_TEST_LONG").is_none_or(|value| value.is_empty()) {
        println!("{}: left to HOLDFAST_TEST_LONG=1", scenario.name);
        return;
    }
    match explore(scenario) {
        Ok(explored) => {
            println!("{}: {explored}", scenario.name);
            assert!(
                explored.states * 2 > scenario.states,
                "the model has lost a part: it had {} states once",
                scenario.states
            );
        }
        Err(failure) => panic!("{}: {failure}", scenario.name),
    }
}

scenarios! {
    /// Two who want all there is, and each has a part of it at home.
    two_fives_over_three_and_two {
        stock: &[3, 2],
        jobs: TWO_FIVES,
        states: 672,
    }

    /// The same, and servers vanish.
    two_fives_and_crashes {
        stock: &[3, 2],
        jobs: TWO_FIVES,
        environment: Environment { crashes: 1, abandons: true, ..CALM },
        states: 6_148,
    }

    /// The same, and messages are lost.
    two_fives_and_lost_messages {
        stock: &[3, 2],
        jobs: TWO_FIVES,
        environment: Environment { losses: 2, ..CALM },
        states: 9_553,
    }

    /// The same, and a message is repeated.
    two_fives_and_a_repeated_message {
        stock: &[3, 2],
        jobs: TWO_FIVES,
        environment: Environment { copies: 1, ..CALM },
        states: 7_156,
    }

    /// The same, and time goes on: claims of different age, and claims that end.
    two_fives_and_time {
        stock: &[3, 2],
        jobs: TWO_FIVES,
        environment: Environment { ticks: &[1, 500], ..CALM },
        states: 6_002,
    }

    /// All of that.
    two_fives_and_all_that (long) {
        stock: &[3, 2],
        jobs: TWO_FIVES,
        environment: Environment {
            crashes: 1, abandons: true, losses: 1, copies: 1, ticks: &[1], ..CALM
        },
        states: 1_564_559,
    }

    /// Messages are repeated and late, and servers vanish.
    two_fives_and_a_bad_network (long) {
        stock: &[3, 2],
        jobs: TWO_FIVES,
        environment: Environment { crashes: 2, losses: 1, copies: 1, ..CALM },
        states: 726_552,
    }

    /// Two that fit beside each other, and one too many.
    three_of_whom_two_fit {
        stock: &[2, 2],
        jobs: &[reserve(1, 2, 0), reserve(2, 1, 1), reserve(3, 3, 1)],
        states: 1_587,
    }

    /// The same, and a server vanishes.
    three_of_whom_two_fit_and_a_crash (long) {
        stock: &[2, 2],
        jobs: &[reserve(1, 2, 0), reserve(2, 1, 1), reserve(3, 3, 1)],
        environment: Environment { crashes: 1, losses: 1, ..CALM },
        states: 47_951,
    }

    /// Three who all have to fetch.
    three_who_fetch (long) {
        stock: &[3, 3],
        jobs: &[reserve(1, 4, 0), reserve(2, 4, 1), reserve(3, 5, 0)],
        states: 148_509,
    }

    /// One that can never be served, beside others: nothing moves for it.
    a_hopeless_one_beside_others {
        stock: &[3, 2],
        jobs: &[reserve(1, 3, 1), reserve(2, 2, 0), reserve(3, 6, 0)],
        environment: Environment { crashes: 1, ..CALM },
        states: 2_121,
    }

    /// Two attempts of one request at the same time.
    two_attempts_of_one_request {
        stock: &[3, 2],
        jobs: &[reserve(1, 5, 0), reserve(1, 5, 0)],
        environment: Environment { crashes: 1, ..CALM },
        states: 1_331,
    }

    /// The same, beside another buyer's.
    two_attempts_beside_another (long) {
        stock: &[3, 2],
        jobs: &[reserve(1, 5, 0), reserve(1, 5, 0), reserve(2, 4, 1)],
        states: 102_960,
    }

    /// One buyer with two requests and a limit for one of them.
    a_buyer_at_the_limit {
        stock: &[1, 3],
        jobs: &[
            Job::Reserve { id: 1, buyer: 1, units: 2, home: 0 },
            Job::Reserve { id: 2, buyer: 1, units: 2, home: 0 },
            reserve(3, 2, 1),
        ],
        buyer_limit: 3,
        states: 769,
    }

    /// Units come back while others look for them.
    units_come_back {
        stock: &[1, 2],
        holds: &[Hold { shard: 1, units: 2, lapsed: false }],
        jobs: &[reserve(1, 3, 0), reserve(2, 4, 1), Job::Cancel { hold: 0 }],
        environment: Environment { crashes: 1, ..CALM },
        states: 4_815,
    }

    /// Units come back by a cancel, and others by time.
    units_come_back_by_time {
        stock: &[1, 1],
        holds: &[
            Hold { shard: 0, units: 2, lapsed: false },
            Hold { shard: 1, units: 1, lapsed: false },
        ],
        jobs: &[reserve(1, 3, 1), reserve(2, 3, 0), Job::Cancel { hold: 1 }],
        environment: Environment { ticks: &[HOLD_MS], ..CALM },
        states: 10_380,
    }

    /// A late Confirm competes with a Reserve.
    a_late_confirm_and_a_reserve {
        stock: &[1, 2],
        holds: &[Hold { shard: 1, units: 3, lapsed: true }],
        jobs: &[Job::Reacquire { hold: 0 }, reserve(2, 4, 0)],
        environment: Environment { crashes: 1, losses: 1, ..CALM },
        states: 2_591,
    }

    /// Two late Confirms that want each other's units, and one of them twice.
    two_late_confirms {
        stock: &[0, 0],
        holds: &[
            Hold { shard: 0, units: 2, lapsed: true },
            Hold { shard: 1, units: 3, lapsed: true },
        ],
        jobs: &[Job::Reacquire { hold: 0 }, Job::Reacquire { hold: 1 }, reserve(1, 4, 0)],
        states: 842,
    }

    /// An operator takes units that a buyer wants.
    an_operator_takes_units {
        stock: &[2, 3],
        jobs: &[Job::Take { units: 4, partial: false }, reserve(2, 3, 1)],
        environment: Environment { crashes: 1, copies: 1, ..CALM },
        states: 8_116,
    }

    /// An operator takes what there is.
    an_operator_takes_what_there_is {
        stock: &[1, 3],
        jobs: &[Job::Take { units: 6, partial: true }, reserve(2, 2, 0), reserve(3, 3, 1)],
        states: 12_245,
    }

    /// The same, in a bad world.
    an_operator_takes_what_there_is_and_a_crash {
        stock: &[1, 3],
        jobs: &[Job::Take { units: 6, partial: true }, reserve(2, 2, 1)],
        environment: Environment { crashes: 1, losses: 1, ..CALM },
        states: 2_619,
    }

    /// Answers wait for the disk, and what did not reach it is gone.
    restarts_lose_what_nobody_was_told {
        stock: &[2, 1],
        jobs: &[reserve(1, 3, 0), reserve(2, 2, 1)],
        environment: Environment { restarts: 1, ..CALM },
        states: 15_556,
    }

    /// The same with more that is under way, and a server that vanishes.
    restarts_and_a_crash (long) {
        stock: &[2, 1],
        jobs: &[reserve(1, 3, 0), reserve(2, 3, 1)],
        environment: Environment { restarts: 2, crashes: 1, ..CALM },
        states: 139_702,
    }

    /// More is lost than the store promises.
    losses_beyond_the_promise_are_noticed {
        stock: &[2, 1],
        jobs: &[reserve(1, 3, 0), reserve(2, 2, 1)],
        environment: Environment { forgets: 1, ..CALM },
        states: 28_386,
    }
    /// Three shards: two who want all there is.
    three_shards_two_fives (long) {
        stock: &[2, 2, 1],
        jobs: &[reserve(1, 5, 0), reserve(2, 5, 2)],
        states: 8_397,
    }

    /// Three shards: two who fit beside each other.
    three_shards_two_who_fit (long) {
        stock: &[1, 1, 2],
        jobs: &[reserve(1, 2, 0), reserve(2, 2, 1)],
        environment: Environment { crashes: 1, ..CALM },
        states: 8_861,
    }

    /// Three shards, and a server vanishes.
    three_shards_two_fives_and_a_crash (long) {
        stock: &[2, 2, 1],
        jobs: &[reserve(1, 5, 0), reserve(2, 5, 2)],
        environment: Environment { crashes: 1, abandons: true, ..CALM },
        states: 126_382,
    }

    /// Three shards, and a message is lost.
    three_shards_two_fives_and_a_lost_message (long) {
        stock: &[2, 2, 1],
        jobs: &[reserve(1, 5, 0), reserve(2, 5, 2)],
        environment: Environment { losses: 1, ..CALM },
        states: 95_564,
    }

    /// Three shards, and a message is repeated.
    three_shards_two_fives_and_a_repeated_message (long) {
        stock: &[2, 2, 1],
        jobs: &[reserve(1, 5, 0), reserve(2, 5, 2)],
        environment: Environment { copies: 1, ..CALM },
        states: 120_251,
    }

    /// Three shards, units that come back, and a hopeless request.
    three_shards_units_come_back (long) {
        stock: &[1, 0, 1],
        holds: &[Hold { shard: 1, units: 2, lapsed: false }],
        jobs: &[reserve(1, 3, 0), reserve(2, 5, 2), Job::Cancel { hold: 0 }],
        states: 1_227,
    }

    /// Three shards, a request at each.
    three_shards_three_requests (long) {
        stock: &[1, 1, 1],
        jobs: &[reserve(1, 2, 0), reserve(2, 2, 1), reserve(3, 1, 2)],
        states: 4_413,
    }

    /// Three shards: two who have to fetch from all, beside one who has enough.
    three_shards_three_of_whom_two_fetch (long) {
        stock: &[2, 1, 1],
        jobs: &[reserve(1, 3, 0), reserve(2, 3, 1), reserve(3, 1, 2)],
        states: 4_743,
    }

    /// Three shards, and what was not durable is lost.
    three_shards_and_a_restart (long) {
        stock: &[1, 1, 1],
        jobs: &[reserve(1, 3, 0), reserve(2, 2, 1)],
        environment: Environment { restarts: 1, ..CALM },
        states: 216_957,
    }

    /// Three shards, and more is lost than the store promises.
    three_shards_and_a_loss_beyond_the_promise (long) {
        stock: &[1, 1, 1],
        jobs: &[reserve(1, 3, 0), reserve(2, 2, 1)],
        environment: Environment { forgets: 1, ..CALM },
        states: 401_765,
    }
}
