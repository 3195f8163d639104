//! Acknowledged work that is gone does not go unnoticed, whichever way it went:
//! over a replica that lagged, or over an old file.

use std::cell::RefCell;

use shards::inventory::{Error, Reserved};
use shards::redis::Acknowledge;
use shards::store::{Store, StoreError};

use crate::hand::{Brake, durable, guard, hears, notices, seq, single, stripe_of};
use crate::server::{Server, eventually, options};
use crate::servers::{Node, Plan, Settings, poll};

const ITEM: &str = "shoe";

/// Grants these requests, each one acknowledged.
async fn grant(server: &Server, requests: std::ops::Range<u32>) {
    for n in requests {
        let decided = server.reserve_until_decided(ITEM, n).await;
        assert!(matches!(decided, Reserved::Granted { .. }), "{decided:?}");
    }
}

/// Grants new requests until the stripe has had more runs than that.
async fn work_beyond(server: &Server, run: u64) {
    for n in 1_000.. {
        grant(server, n..n + 1).await;
        if seq(server, stripe_of(ITEM)).await > run {
            break;
        }
    }
}

/// What everybody is told of a frozen stripe.
async fn is_refused(server: &Server) {
    eventually("a refusal", async || {
        match server.reserve(ITEM, 9_999).await {
            Err(Error::Store(StoreError::Frozen { .. })) => Ok(()),
            // Told before anything else for a second after a takeover.
            Err(Error::Store(StoreError::Unavailable(why))) => Err(why),
            other => panic!("not frozen: {other:?}"),
        }
    })
    .await;
    assert!(server.store.status().frozen_stripes > 0);
}

/// ⚔ Between two visits of the first server the stripe goes to a replica that
/// has not heard of its work, and back; another one works there meanwhile.
#[tokio::test]
async fn failing_over_and_back_between_two_visits_is_noticed() {
    let cluster = Plan::new(1, 1).splittable().start();
    let (master, replica) = (0, 1);
    let brake = Brake::default();
    let first = brake.server(options(&cluster, Acknowledge::Local));
    first.create(ITEM, 1_000_000, 1).await;
    grant(&first, 1..3).await;
    cluster.cut(master, replica);
    grant(&first, 3..20).await;
    let halted = brake.halt();

    cluster.failover_by(replica, &["TAKEOVER"]);
    cluster.heal();
    cluster.wait_until_ok();
    let second = Server::open(options(&cluster, Acknowledge::Local));
    grant(&second, 100..140).await;
    cluster.failover(master);
    cluster.wait_until_ok();
    grant(&second, 140..142).await;

    drop(halted);
    let freeze = notices(&first, stripe_of(ITEM)).await;
    assert_eq!(hears(&second, stripe_of(ITEM)).await, freeze, "for all");
    is_refused(&first).await;
    is_refused(&second).await;
}

/// ⚔ The same process, with a history that it copied from another one
/// meanwhile: nobody took the stripe over elsewhere, and it has come further
/// than what was acknowledged.
#[tokio::test]
async fn a_process_that_copied_another_is_not_what_it_was() {
    let (node, other) = (Node::start(), Node::start());
    let copy = |from: &Node, to: &Node| {
        to.ask(&["REPLICAOF", from.host(), &from.port().to_string()]);
        poll("a copy", || {
            let (link, offset) = (
                to.info("master_link_status")?,
                to.info("slave_repl_offset")?,
            );
            let there = link == "up" && offset == from.info("master_repl_offset")?;
            there.then_some(()).ok_or(offset)
        });
        to.ask(&["REPLICAOF", "NO", "ONE"]);
    };
    let brake = Brake::default();
    let first = brake.server(single(&node));
    first.create(ITEM, 1_000_000, 1).await;
    grant(&first, 1..3).await;
    {
        let _still = brake.halt();
        copy(&node, &other);
    }
    grant(&first, 3..20).await;
    let run = seq(&first, stripe_of(ITEM)).await;
    let halted = brake.halt();

    copy(&other, &node);
    let second = Server::open(single(&node));
    work_beyond(&second, run + 100).await;

    drop(halted);
    notices(&first, stripe_of(ITEM)).await;
    hears(&second, stripe_of(ITEM)).await;
}

/// ⚔ An old file comes back in which the second adoption never was; another
/// server makes a second one, and a third.
#[tokio::test]
async fn an_adoption_of_the_same_number_is_another_one() {
    let node = durable(Settings::default()).start();
    let restart = |files: Option<&tempfile::TempDir>| {
        node.kill_9();
        if let Some(files) = files {
            node.replace_files(files.path());
        }
        node.restart();
    };
    let brake = Brake::default();
    let first = brake.server(single(&node));
    first.create(ITEM, 1_000_000, 1).await;
    let old = node.copy_files();
    restart(None);
    grant(&first, 1..20).await;
    let run = seq(&first, stripe_of(ITEM)).await;
    let halted = brake.halt();

    restart(Some(&old));
    let second = Server::open(single(&node));
    work_beyond(&second, run + 100).await;
    restart(None);
    grant(&second, 500..502).await;
    assert_eq!(guard(&node, stripe_of(ITEM), "n"), "3");

    drop(halted);
    notices(&first, stripe_of(ITEM)).await;
    hears(&second, stripe_of(ITEM)).await;
}

/// ⚔ Who never used a stripe, but visited it, knows what others were promised.
#[tokio::test]
async fn an_idle_server_notices_that_an_old_file_came_back() {
    let node = durable(Settings::default()).start();
    let idle = Server::open(single(&node));
    let busy = Server::open(single(&node));
    busy.create(ITEM, 1_000_000, 1).await;
    let old = node.copy_files();
    grant(&busy, 1..20).await;
    drop(busy);
    let stripe = stripe_of(ITEM);
    // Two visits: with the second one the first one's answer was heard.
    for _ in 0..2 {
        let run = guard(&node, stripe, "seq");
        eventually("a visit of the one that is left", async || {
            let now = guard(&node, stripe, "seq");
            (now != run).then_some(()).ok_or(now)
        })
        .await;
    }

    node.kill_9();
    node.replace_files(old.path());
    node.restart();
    eventually("a loss that is noticed", async || {
        let frozen = idle.store.status().frozen_stripes;
        (frozen == 64).then_some(()).ok_or(frozen)
    })
    .await;
    hears(&Server::open(single(&node)), stripe).await;
    is_refused(&idle).await;
}

/// ⚔ Whoever knows more about what was acknowledged has a second to say so.
#[tokio::test]
async fn a_stripe_that_was_taken_over_serves_a_second_later() {
    let node = durable(Settings::default()).start();
    let server = Server::open(single(&node));
    server.create(ITEM, 1_000_000, 1).await;
    grant(&server, 1..2).await;
    node.kill_9();
    node.restart();
    let told = RefCell::new(Vec::new());
    eventually("a stripe that serves again", async || {
        let answer = server.reserve(ITEM, 2).await;
        let why = answer.as_ref().err().map(ToString::to_string);
        told.borrow_mut().extend(why);
        answer
    })
    .await;
    let settles = |why: &String| why.contains("taken over a moment ago");
    assert!(told.borrow().iter().any(settles), "{told:?}");
    let time = |field| guard(&node, stripe_of(ITEM), field).parse::<u64>().unwrap();
    assert!(time("time") >= time("from"));
}

/// ⚔ What a caller hears is acknowledged as well, if it was another's work: a
/// run that only reads must not count replicas that have not heard of it.
#[tokio::test]
async fn what_no_replica_has_is_not_told_either() {
    let cluster = Plan::new(1, 1).start();
    let first = Server::start(&cluster);
    first.create(ITEM, 1_000_000, 1).await;
    grant(&first, 1..2).await;
    let replica = cluster.node(1);
    replica.stop();
    let is_unknown = |answer: &Result<Reserved, Error>| {
        let unknown = matches!(answer, Err(Error::Store(StoreError::OutcomeUnknown(_))));
        assert!(answer.is_err(), "nobody has it but the master: {answer:?}");
        unknown.then_some(()).ok_or(format!("{answer:?}"))
    };
    eventually("a grant that is not acknowledged", async || {
        is_unknown(&first.reserve(ITEM, 2).await)
    })
    .await;
    let second = Server::start(&cluster);
    eventually("a replay that is not acknowledged", async || {
        is_unknown(&second.reserve(ITEM, 2).await)
    })
    .await;
    replica.cont();
    let decided = second.reserve_until_decided(ITEM, 2).await;
    assert!(
        matches!(decided, Reserved::Granted { replayed: true, .. }),
        "{decided:?}"
    );
}
