//! The demo: a small one, for it is the same sale with fewer buyers.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "helpers of tests, which may fail them"
)]

use e2e::tools::python;
use e2e::{Store, holdfast, seed};
use serde_json::json;

const SMALL: [&str; 5] = ["demo", "--units", "100", "--buyers", "500"];

/// The demo takes its seed from this run's.
fn small(seed: &str) -> Vec<&str> {
    [&SMALL[..], &["--seed", seed]].concat()
}

fn seed_text() -> String {
    (seed() % 1_000_000).to_string()
}

#[tokio::test]
async fn ends_with_a_verdict_that_programs_can_read() {
    let seed = seed_text();
    let args = [&small(&seed)[..], &["--output", "json"]].concat();
    let ended = holdfast!().run(&args).await;
    assert_eq!(ended.code, Some(0), "{ended:#?}");
    let verdict = ended.json();
    assert_eq!(verdict["sound"], true, "{verdict}");
    assert_eq!(
        (verdict["stocked"].as_u64(), verdict["sold"].as_u64()),
        (Some(100), Some(100))
    );
    for none in ["oversold", "stranded", "acknowledged_and_lost"] {
        assert_eq!(verdict[none], 0, "{verdict}");
    }
    assert!(
        verdict["duplicates_replayed"].as_u64() > Some(0),
        "{verdict}"
    );
    assert_eq!(verdict["audit"], "SOUND");
    assert!(ended.stderr.contains("kill -9"), "{}", ended.stderr);
}

/// Two servers sell from a store that is there before and after.
async fn assert_sells_from(url: &str) {
    let seed = seed_text();
    let more = ["--output", "json", "--store", url];
    let ended = holdfast!().run(&[&small(&seed)[..], &more].concat()).await;
    assert_eq!(ended.code, Some(0), "{ended:#?}");
    let verdict = ended.json();
    assert_eq!(verdict["sound"], true, "{verdict}");
    assert_eq!(
        (&verdict["store"], &verdict["audit"]),
        (&json!(url), &json!("SOUND"))
    );
    assert_eq!(
        (verdict["stocked"].as_u64(), verdict["sold"].as_u64()),
        (Some(100), Some(100))
    );
    assert!(
        verdict["duplicates_replayed"].as_u64() > Some(0),
        "{verdict}"
    );
    assert_eq!(verdict["item_left"], false, "{verdict}");
    for part in ["kill -9", "the other server sells on"] {
        assert!(ended.stderr.contains(part), "{}", ended.stderr);
    }
}

#[tokio::test]
async fn sells_from_redis_and_again_from_the_same_one() {
    let store = Store::redis();
    let url = store.url().unwrap();
    for _ in 0..2 {
        assert_sells_from(&url).await;
    }
    // Of its item nothing is left.
    let left = store.nodes()[0].ask(&["KEYS", "holdfast:*:h"]);
    assert_eq!(left.items(), []);
}

#[tokio::test]
async fn sells_from_a_cluster() {
    assert_sells_from(&Store::cluster().url().unwrap()).await;
}

#[tokio::test]
async fn writes_plain_lines_without_a_terminal() {
    let seed = seed_text();
    let ended = holdfast!().run(&small(&seed)).await;
    assert_eq!(ended.code, Some(0), "{ended:#?}");
    assert!(
        ended.stdout.contains("Verdict: the sale was sound"),
        "{}",
        ended.stdout
    );
    let escapes = [&ended.stdout, &ended.stderr].map(|text| text.contains('\x1b'));
    assert_eq!(escapes, [false, false], "{ended:#?}");
}

#[tokio::test]
async fn draws_a_bar_on_a_terminal() {
    let seed = seed_text();
    let command = [&[holdfast!().path()][..], &small(&seed)].concat();
    let ended = python("on_terminal.py", &command).await;
    assert_eq!(ended.code, Some(0), "{ended:#?}");
    assert!(
        ended.stdout.contains("Verdict: the sale was sound"),
        "{}",
        ended.stdout
    );
    assert!(ended.stdout.contains('\x1b'), "no bar: {}", ended.stdout);
}

#[tokio::test]
async fn says_in_one_sentence_why_a_store_cannot_be_used() {
    // Nobody listens there, but whoever may do so is no Redis.
    let unheard = "redis://127.0.0.1:1";
    let ended = holdfast!().run(&["demo", "--store", unheard]).await;
    assert_eq!(ended.code, Some(3), "{ended:#?}");
    let sentence = ended.sentence();
    for part in [unheard, "--store"] {
        assert!(sentence.contains(part), "{sentence}");
    }
    let wrong = holdfast!().run(&["demo", "--store", "rdis://h"]).await;
    assert_eq!(wrong.code, Some(2), "{wrong:#?}");
    assert!(wrong.sentence().contains("redis://?"), "{wrong:#?}");
}
