//! Notices against what is being found out: in every order, by hand.

use std::pin::Pin;

use super::*;

/// What a server says to one who asks for the first time, by whatever way.
async fn is_granted(server: &Server, n: u8) -> bool {
    matches!(server.first(n, 1).await.reserved, Reserved::Granted { .. })
}

/// Whoever asks looks: both readings of 4 shards are taken, and the answers of the
/// second are under way.
async fn look_up_to_its_end<T>(server: &Server, mut asked: Pin<&mut impl Future<Output = T>>) {
    for reading in ["first", "second"] {
        server.store.let_looks_arrive();
        server.store.hold_looks();
        until(|| {
            assert!(now(asked.as_mut()).is_none(), "{reading}");
            server.store.held_looks() == 4
        })
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_notice_ends_a_mark() {
    let server = Server::sold_out(4).await;
    let other = server.another();
    mark(&server).await;
    other.cancel(1).await;
    assert_eq!(
        server.refused_from_memory(2, 1),
        sold_out(),
        "it has not heard yet"
    );
    server.store.hear();
    assert!(is_granted(&server, 2).await);
}

#[tokio::test(start_paused = true)]
async fn without_notices_a_mark_ends_with_its_deadline() {
    let server = Server::sold_out(4).await;
    let other = server.another();
    mark(&server).await;
    other.cancel(1).await;
    clock::after(SECOND).await;
    assert!(is_granted(&server, 2).await);
}

/// ⚔ By the time it is answered, its own server knows of it.
#[tokio::test(start_paused = true)]
async fn what_a_server_freed_itself_it_sells_at_once() {
    let server = Server::sold_out(4).await;
    mark(&server).await;
    server.cancel(1).await;
    assert!(is_granted(&server, 2).await);
}

/// ⚔ Also where there was some before: then no other server is told.
#[tokio::test(start_paused = true)]
async fn what_a_server_added_itself_counts_at_once() {
    let server = Server::with_hats(1).await;
    receipt(server.first(1, 2).await);
    for _ in 0..2 {
        server.first(2, 4).await;
    }
    let three = Reserved::Short {
        available: 3,
        held: 2,
    };
    assert_eq!(server.refused_from_memory(2, 4), three);
    server.cancel(1).await;
    receipt(server.first(2, 4).await);
}

/// ⚔ The look saw nothing, then units came free, and then it is remembered.
#[tokio::test(start_paused = true)]
async fn a_notice_before_the_mark_keeps_it_from_being_set() {
    let server = Server::sold_out(4).await;
    let other = server.another();
    clock::after(SECOND).await;
    let mut asked = pin!(server.first(2, 1));
    look_up_to_its_end(&server, asked.as_mut()).await;
    other.cancel(1).await;
    server.store.hear();
    server.store.let_looks_arrive();
    asked.await;
    assert_eq!(server.tier1.marks.get(&hat()), None);
    assert!(is_granted(&server, 3).await);
}

/// A mark is renewed, units come free on another server once the look has seen
/// that there are none, and time goes on as `is_over` says. Whoever asks then is
/// not told what the look found. What is told to the one who looked.
async fn nobody_later_is_told(is_over: impl AsyncFnOnce(&Server)) -> Reserved {
    let server = Server::sold_out(4).await;
    let other = server.another();
    mark(&server).await;
    clock::after(SECOND * 2).await;
    let mut before = pin!(server.first(2, 1));
    look_up_to_its_end(&server, before.as_mut()).await;
    other.cancel(1).await;
    is_over(&server).await;
    let mut after = pin!(server.first(3, 1));
    assert!(now(after.as_mut()).is_none());
    go_on().await;
    server.store.let_looks_arrive();
    let told = before.await.reserved;
    let granted = after.await;
    assert!(matches!(granted.reserved, Reserved::Granted { .. }));
    told
}

/// ⚔ The same where a mark is renewed: whoever asks after the notice is not told
/// what a look found that began before it.
#[tokio::test(start_paused = true)]
async fn a_renewal_that_began_before_a_notice_is_nobodys_answer_after_it() {
    // Who asked before may be told what was true then.
    nobody_later_is_told(async |server| server.store.hear()).await;
}

/// ⚔ And without a notice, to whoever asks after the deadline of what was found.
#[tokio::test(start_paused = true)]
async fn a_look_that_takes_long_is_nobodys_answer_after_the_deadline() {
    let told = nobody_later_is_told(async |_| clock::after(SECOND).await).await;
    assert_eq!(told, sold_out());
}

/// ⚔ The node that carries the notices fails over: what it had to say is lost.
#[tokio::test(start_paused = true)]
async fn where_notices_were_lost_all_marks_end() {
    let server = Server::sold_out(4).await;
    let other = server.another();
    mark(&server).await;
    other.cancel(1).await;
    server.store.lose_notices();
    assert!(is_granted(&server, 2).await);
    // And one that was being found meanwhile is not set.
    let server = Server::sold_out(4).await;
    let other = server.another();
    clock::after(SECOND).await;
    let mut asked = pin!(server.first(2, 1));
    look_up_to_its_end(&server, asked.as_mut()).await;
    other.cancel(1).await;
    server.store.lose_notices();
    server.store.let_looks_arrive();
    asked.await;
    assert!(is_granted(&server, 3).await);
}
