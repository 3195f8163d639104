//! What a mark refuses, and whom.

use futures_util::future::join_all;

use super::*;

#[tokio::test(start_paused = true)]
async fn what_is_sold_out_is_refused_without_the_store_until_the_deadline() {
    for shards in [1, 4] {
        let server = Server::sold_out(shards).await;
        server.store.take_looks();
        let answer = server.first(2, 1).await;
        assert_eq!(answer.reserved, sold_out());
        assert!(!answer.from_memory, "nothing was known yet");
        // The settings are read once.
        server.first(3, 1).await;
        for n in 4..100 {
            assert_eq!(server.refused_from_memory(n, 1), sold_out());
        }
        // For a second the store is asked for settings only.
        server.store.take_calls();
        let begin = clock::now();
        while clock::now() - begin < Duration::from_millis(950) {
            assert!(server.first(4, 1).await.from_memory);
            clock::after(TICK).await;
        }
        assert!(server.store.take_calls() <= 5);
        assert_eq!(server.store.take_looks(), if shards == 1 { 0 } else { 8 });
    }
}

#[tokio::test(start_paused = true)]
async fn of_all_who_come_when_the_mark_is_over_one_looks() {
    let server = Server::sold_out(4).await;
    server.first(2, 1).await;
    for _ in 0..3 {
        clock::after(SECOND * 2).await;
        server.store.take_looks();
        let all = (0..200).map(|n| server.first(n, 6));
        for answer in join_all(all).await {
            assert_eq!(answer.reserved, sold_out());
        }
        assert_eq!(server.store.take_looks(), 8, "4 shards, each read twice");
    }
}

/// A store that is slow is not asked by everybody on top.
#[tokio::test(start_paused = true)]
async fn however_slow_the_store_is_one_asks_for_all() {
    let server = Server::sold_out(4).await;
    mark(&server).await;
    // Longer than settings are believed.
    server.store.set_latency(Duration::from_millis(400));
    server.store.take_calls();
    let begin = clock::now();
    let come = async |n: u32| {
        clock::after(TICK * n).await;
        server.first(2, 1).await
    };
    for answer in join_all((0..500).map(come)).await {
        assert_eq!(answer.reserved, sold_out());
        assert!(answer.from_memory);
    }
    // Settings follow one another, and each second 4 shards are read twice.
    let seconds = (clock::now() - begin).as_secs_f64().ceil();
    let calls = server.store.take_calls();
    assert!(calls as f64 <= seconds * (2.5 + 8.0), "{calls}");
}

/// Nor by callers who give up before it answers; and settings and stock are
/// found out together.
#[tokio::test(start_paused = true)]
async fn a_question_goes_on_when_its_caller_gives_up() {
    for (patience_ms, is_answered) in [(300, false), (900, true)] {
        let server = Server::sold_out(1).await;
        mark(&server).await;
        clock::after(SECOND * 2).await;
        server.store.set_latency(Duration::from_millis(400));
        server.store.take_calls();
        let come = async |n: u32| {
            clock::after(TICK * n).await;
            let time = Duration::from_millis(patience_ms);
            server
                .reserve_within(time, &ask(2, 1), Attempt::First)
                .await
        };
        for answer in join_all((0..500).map(come)).await {
            assert!(answer.is_ok() || !is_answered, "{answer:?}");
        }
        // Settings, and the shard twice, for three seconds and a half.
        let calls = server.store.take_calls();
        assert!(calls <= 4 * (3 + 2), "{calls}");
    }
}

/// Nor where news were lost: that nothing is known is no reason to buy.
#[tokio::test(start_paused = true)]
async fn where_notices_were_lost_one_looks_for_all() {
    let server = Server::sold_out(4).await;
    mark(&server).await;
    server.store.take_calls();
    server.store.lose_notices();
    let all = (0..200).map(|_| server.first(2, 1));
    for answer in join_all(all).await {
        assert_eq!(answer.reserved, sold_out());
    }
    assert_eq!(server.store.take_calls(), 1 + 8);
}

#[tokio::test(start_paused = true)]
async fn a_mark_refuses_larger_quantities_only() {
    for shards in [1, 4] {
        let server = Server::with_hats(shards).await;
        let short = Reserved::Short {
            available: 5,
            held: 0,
        };
        assert_eq!(server.first(1, 1_000).await.reserved, short);
        server.first(1, 1_000).await;
        assert_eq!(server.refused_from_memory(2, 1_000), short);
        assert_eq!(server.refused_from_memory(2, 6), short);
        receipt(server.first(3, 3).await);
        if shards == 1 {
            // It is older than that, and still says what it saw.
            assert_eq!(server.refused_from_memory(4, 6), short);
        }
        receipt(server.first(5, 2).await);
    }
}

/// ⚔ Whoever may own units is never told that there are none.
#[tokio::test(start_paused = true)]
async fn who_may_have_asked_before_is_looked_up_at_home() {
    for shards in [1, 4] {
        let server = Server::with_hats(shards).await;
        let other = server.another();
        // Its reply was lost.
        let granted = receipt(server.first(1, 2).await);
        receipt(server.first(2, 3).await);
        for server in [&server, &other] {
            server.first(3, 1).await;
            server.first(3, 1).await;
            assert_eq!(server.refused_from_memory(3, 1), sold_out());
            let again = server.again(1, 2).await;
            assert!(!again.from_memory);
            assert_eq!(receipt(again).id, granted.id);
            // Who has none costs one operation, and no look.
            server.store.take_calls();
            let refused = server.again(4, 1).await;
            assert_eq!(refused.reserved, sold_out());
            assert!(!refused.from_memory);
            assert_eq!(server.store.take_calls(), 1);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn nobodys_word_is_taken_where_an_operator_says_so() {
    let settings = Settings {
        ignore_first_attempt: true,
        ..Settings::default()
    };
    let server = Server::of(Memory::new(), settings);
    create(&server.inventory, spec(1)).await;
    let granted = receipt(server.first(1, 5).await);
    server.first(2, 1).await;
    for _ in 0..3 {
        let answer = server.first(2, 1).await;
        assert_eq!(answer.reserved, sold_out());
        assert!(!answer.from_memory);
        assert_eq!(receipt(server.first(1, 5).await).id, granted.id);
    }
}

#[tokio::test(start_paused = true)]
async fn without_a_deadline_the_store_is_asked_each_time() {
    let settings = Settings {
        mark_deadline: Duration::ZERO,
        ..Settings::default()
    };
    let server = Server::of(Memory::new(), settings);
    create(&server.inventory, spec(1)).await;
    server.first(1, 5).await;
    for _ in 0..10 {
        server.store.take_calls();
        let answer = server.first(2, 1).await;
        assert!(!answer.from_memory);
        assert_eq!(server.store.take_calls(), 1);
    }
    assert_eq!(server.tier1.figures().marks.hits, 0);
}

/// Where units keep coming back, what a look found is not remembered.
#[tokio::test(start_paused = true)]
async fn a_look_during_which_units_came_free_is_no_mark() {
    let server = Server::with_hats(4).await;
    let other = server.another();
    receipt(server.first(1, 5).await);
    clock::after(SECOND).await;
    server.store.hold_looks();
    let mut asked = pin!(server.first(2, 1));
    assert!(now(asked.as_mut()).is_none());
    until(|| server.store.held_looks() == 4).await;
    // They come back and are bought again while it looks a first time; the
    // notices of that do not arrive.
    other.cancel(1).await;
    let again = Reserve {
        request: RequestId([3; 16]),
        ..ask(1, 5)
    };
    let again = other.inventory.reserve(&again, None).await.unwrap();
    assert!(matches!(again, Reserved::Granted { .. }));
    server.store.let_looks_arrive();
    assert_eq!(asked.await.reserved, sold_out());
    assert_eq!(server.tier1.marks.get(&hat()), None);
    // The next look finds the same, and nothing that moves.
    assert_eq!(server.first(2, 1).await.reserved, sold_out());
    server.first(2, 1).await;
    assert_eq!(server.refused_from_memory(2, 1), sold_out());
}

#[tokio::test(start_paused = true)]
async fn the_items_that_are_refused_most_are_counted() {
    let server = Server::sold_out(1).await;
    server.first(2, 1).await;
    for n in 0..10 {
        server.first(n, 1).await;
    }
    let hot = server.tier1.hot_items();
    assert_eq!(
        hot,
        [HotItem {
            item: hat(),
            refusals: 10
        }]
    );
}
