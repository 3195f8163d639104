//! Changing an item's settings: on every shard, once, and by whom.

use std::sync::Arc;

use shards::inventory::{Edit, Edits, Error, Inventory, Reserved};
use shards::machine::ItemSpec;

use crate::fixture::{
    Fixture, ask, buyer_at, by_key, create, granted, item, reserve, sharded, state,
};
use crate::procedures::stop_after_each_step;
use crate::wrapped::Refusing;

const SHARDS: u32 = 3;

fn limit(max: u32) -> Edits {
    Edits {
        max_units_per_buyer: Edit::Set(max),
        ..Edits::default()
    }
}

fn limited(max: u32) -> ItemSpec {
    ItemSpec {
        max_units_per_buyer: max,
        ..sharded(SHARDS, 30)
    }
}

async fn update(
    server: &Inventory,
    edits: &Edits,
    expected: Option<u64>,
) -> Result<(u64, u64), Error> {
    let id = item("sneaker");
    let entry = server.update_item(&id, edits, expected, None).await?;
    Ok((entry.version, entry.spread))
}

pub(crate) async fn a_change_binds_on_every_shard(fixture: impl Fixture) {
    let (server, other) = (fixture.server(), fixture.server());
    let store = fixture.store();
    create(&server, limited(1)).await;
    let buyers: Vec<_> = (0..3).map(|shard| buyer_at(&*store, shard, 3, 0)).collect();
    for buyer in &buyers {
        granted(&other, buyer, 1, 1).await;
        let outcome = reserve(&other, buyer, 2, 1).await;
        assert_eq!(outcome, Reserved::OverLimit { units: 1, max: 1 });
    }
    let edits = Edits {
        hold_ttl_ms: Edit::Set(Some(30_000)),
        ..limit(2)
    };
    assert_eq!(update(&server, &edits, Some(1)).await, Ok((2, 2)));
    for buyer in &buyers {
        // Whoever asks, knowing of it or not.
        let receipt = granted(&other, buyer, 2, 1).await;
        let record = receipt.reservation.record;
        assert_eq!(record.granted.ms_until(record.until), 30_000);
    }
    // A limit below what a buyer has takes nothing away, and grants no more.
    assert_eq!(update(&server, &limit(1), None).await, Ok((3, 3)));
    for buyer in &buyers {
        let outcome = reserve(&other, buyer, 3, 1).await;
        assert_eq!(outcome, Reserved::OverLimit { units: 2, max: 1 });
        let kept = other.confirm(&by_key(buyer, 1), false, None).await.unwrap();
        assert_eq!(state(&kept), shards::machine::State::Confirmed);
    }
}

pub(crate) async fn a_repeat_of_an_applied_change_finds_the_item(fixture: impl Fixture) {
    let server = fixture.server();
    create(&server, limited(1)).await;
    for _ in 0..2 {
        assert_eq!(update(&server, &limit(2), Some(1)).await, Ok((2, 2)));
    }
    let mismatch = Err(Error::VersionMismatch {
        item: item("sneaker"),
        version: 2,
    });
    assert_eq!(update(&server, &limit(3), Some(1)).await, mismatch);
    assert_eq!(update(&server, &limit(2), Some(3)).await, mismatch);
    // By somebody else, and back: not what this change has made.
    assert_eq!(update(&server, &limit(5), None).await, Ok((3, 3)));
    assert_eq!(update(&server, &limit(2), None).await, Ok((4, 4)));
    assert!(matches!(
        update(&server, &limit(2), Some(1)).await,
        Err(Error::VersionMismatch { version: 4, .. })
    ));
}

pub(crate) async fn a_shard_that_is_away_obeys_before_it_sells(fixture: impl Fixture) {
    let whole = fixture.server();
    create(&whole, limited(1)).await;
    // get, update, then one question for each shard: the last one fails.
    let refusing = Arc::new(Refusing::at(fixture.store(), 4));
    let server = Inventory::new(refusing);
    let told = update(&server, &limit(2), Some(1)).await;
    let Err(Error::NotSpread {
        version: 2,
        shards_done: 2,
        shards_total: 3,
        ..
    }) = told
    else {
        panic!("{told:?}");
    };
    let buyer = buyer_at(&*fixture.store(), 2, 3, 0);
    let outcome = fixture.server().reserve(&ask(&buyer, 1, 2), None).await;
    assert!(
        matches!(outcome, Ok(Reserved::Granted { .. })),
        "{outcome:?}"
    );
    // The same again carries it to its end.
    assert_eq!(update(&server, &limit(2), Some(1)).await, Ok((2, 2)));
}

pub(crate) async fn buyers_are_counted_from_creation_on_or_never(fixture: impl Fixture) {
    let server = fixture.server();
    create(&server, limited(0)).await;
    let refused = update(&server, &limit(1), None).await;
    assert_eq!(refused, Err(Error::LimitNotTracked(item("sneaker"))));
    assert_eq!(update(&server, &limit(0), None).await, Ok((1, 1)));
}

/// Servers that stop after any step of a change.
pub(crate) async fn updating(fixture: impl Fixture) {
    let prepare = async |server: &Inventory| create(server, limited(1)).await;
    let run = async |server: &Inventory| update(server, &limit(2), Some(1)).await.map(drop);
    let check = async |server: &Inventory| {
        let entry = server.item(&item("sneaker"), None).await.unwrap();
        assert_eq!(entry.spread, entry.version);
        entry.terms.settings.max_units_per_buyer == 2
    };
    stop_after_each_step(&fixture, prepare, run, check).await;
}
