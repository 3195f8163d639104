//! The cleaner: whatever it does, and wherever it is cut short, the file reads
//! back as what was in memory.

use rand::RngExt as _;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;

use super::writer::{Batch, TINY_FILE, Writer, comparable, seeded, times};
use super::*;
use crate::embedded::cleaner::Limits;
use crate::embedded::journal::FileLimits;
use crate::machine::shard::UNARRIVED_RETENTION_MS;
use crate::machine::{CatalogOp, Changes, ItemSpec, NewEntry, Stamp, StockChange, Stripe, Terms};

/// Each takes a while: a quarter of what `tests/run --long` asks for.
fn cases() -> u32 {
    12 * times().div_ceil(4)
}

/// Cleans all the time, a few values at a time.
fn tiny(random: &mut StdRng) -> Limits {
    Limits {
        live_16ths: random.random_range(0..28),
        small_bytes: 0,
        step_values: random.random_range(4..16),
        side_values: random.random_range(1..12),
        seen_len_max: random.random_range(4..9),
        rest: Duration::ZERO,
    }
}

/// An operation on one of a few shards, records and buyers, so that they meet.
fn any_op(random: &mut StdRng) -> (StripeNo, Op) {
    let item = ItemId::parse(["a", "b"].choose(random).unwrap()).unwrap();
    let generation = Generation([random.random_range(0..2); 8]);
    if random.random_ratio(1, 12) {
        return (
            catalog_stripe(&item),
            Op::Catalog(catalog_op(random, item, generation)),
        );
    }
    let shard = ShardKey {
        item,
        generation,
        shard: ShardNo(random.random_range(0..2)),
    };
    // Two shards of an item on one stripe, others on others.
    let stripe = StripeNo(shard.item.as_str().as_bytes()[0] % 8 + generation.0[0]);
    (stripe, Op::Shard(shard, shard_op(random)))
}

fn shard_op(random: &mut StdRng) -> ShardOp {
    let n = random.random_range(0..8);
    let key = RecordKey {
        buyer: Fingerprint([u8::try_from(n % 6).unwrap(); 8]),
        ..key(n)
    };
    let request = RequestId([random.random_range(1..8); 16]);
    match random.random_range(0..40) {
        0..4 => create(1_000),
        4 => ShardOp::Delete,
        5 => ShardOp::Configure {
            settings: settings(),
            version: random.random_range(1..5),
        },
        6..8 => ShardOp::Change {
            gathered: true,
            version: 0,
            request,
            change: StockChange::Adjust {
                delta: 5,
                allow_partial: false,
            },
        },
        8..14 => ShardOp::Return {
            key,
            request,
            quantity: Quantity::new(1).unwrap(),
            discard: random.random(),
        },
        14..16 => ShardOp::Extend {
            key,
            hold_for_ms: 90_000,
        },
        16..18 => ShardOp::Cancel {
            key,
            forbid_unknown: random.random(),
        },
        18..24 => ShardOp::Confirm {
            key,
            late: LateConfirm::Retake,
            version: 0,
        },
        24..26 => ShardOp::Expire { limit: 5 },
        26..28 => ShardOp::Purge { limit: 5 },
        28 => ShardOp::Look,
        _ => ShardOp::Reserve {
            key,
            quantity: Quantity::new(random.random_range(1..3)).unwrap(),
            version: 1,
        },
    }
}

fn catalog_op(random: &mut StdRng, item: ItemId, generation: Generation) -> CatalogOp {
    let terms = Terms {
        settings: settings(),
        display_name: "n".repeat(random.random_range(0..200)),
        state_reason: String::new(),
    };
    match random.random_range(0..3) {
        0 => CatalogOp::BeginCreate(Box::new(NewEntry {
            item,
            generation,
            terms,
            placement: vec![StripeNo(0)],
            create_request: RequestId([1; 16]),
            spec: ItemSpec {
                display_name: String::new(),
                shard_count: 0,
                hold_ttl_ms: None,
                max_hold_ms: None,
                sell_at_once: false,
                max_units_per_buyer: 0,
                max_units_per_reservation: 0,
                sale_start: None,
                sale_end: None,
                retention_ms: None,
                initial_stock: 0,
            },
        })),
        1 => CatalogOp::FinishCreate { item, generation },
        _ => CatalogOp::Update {
            item,
            generation,
            expected: random.random_range(1..4),
            terms: Box::new(terms),
        },
    }
}

fn any_batch(random: &mut StdRng) -> Batch {
    let len = random.random_range(0..6);
    (0..len).map(|_| any_op(random)).collect()
}

fn let_time_pass(random: &mut StdRng, writer: &Writer) {
    let ms = *[0, 0, 0, 0, 0, 1, 1_000, 30_000, 300_000]
        .choose(random)
        .unwrap();
    writer.clock.0.fetch_add(ms, Ordering::SeqCst);
}

/// The state that a batch leads to, by the state machine alone.
fn after(before: &[Stripe], writer: &Writer, batch: &Batch) -> Vec<Stripe> {
    let mut stripes = before.to_vec();
    let stamp = Stamp {
        freeze_id: 7,
        now: Millis(writer.clock.0.load(Ordering::SeqCst)),
        full: false,
    };
    for (number, stripe) in StripeNo::all().zip(&mut stripes) {
        let ops = batch.iter().filter(|(at, _)| *at == number);
        stripe.run(stamp, ops.map(|(_, op)| op), &mut Changes::default());
    }
    comparable(&stripes)
}

/// Random histories, with commits that fail before or after the disk has them,
/// and the cleaner at work beside every one.
#[test]
fn any_history_reads_back_as_it_was() {
    let (seed, mut random) = seeded();
    let mut removed = 0;
    for case in 0..cases() {
        let mut writer = Writer::new(tiny(&mut random), TINY_FILE);
        // Each failure makes the cleaner anew, so there must be cases without.
        let fails = random.random::<bool>();
        for step in 0..150 {
            let_time_pass(&mut random, &writer);
            let batch = any_batch(&mut random);
            let stripes = writer.serving.opened.stripes.clone();
            let (before, after) = (comparable(&stripes), after(&stripes, &writer, &batch));
            let fault = (fails && random.random_ratio(1, 8))
                .then(|| *[Fault::Before, Fault::After].choose(&mut random).unwrap());
            if let Some(fault) = fault {
                writer.faults.arm(fault);
            }
            let at = format!("seed {seed}, case {case}, step {step}");
            if writer.run(batch).is_err() {
                writer.reopen();
                let expected = match fault.unwrap() {
                    Fault::Before => before,
                    Fault::After => after,
                };
                assert!(writer.state() == expected, "{at}: after {fault:?}");
            } else {
                assert!(writer.state() == after, "{at}: in memory");
                if random.random_ratio(1, 4) {
                    assert!(writer.state_on_disk() == after, "{at}: on disk");
                }
            }
            writer.faults.disarm();
        }
        writer.tidy_up();
        assert!(
            writer.state_on_disk() == writer.state(),
            "seed {seed}, case {case}"
        );
        removed += writer.serving.opened.oldest - 1;
    }
    assert!(removed > 500, "only {removed} rows were removed: no bite");
}

/// A power loss within a commit: of the row that is added, the rows that are
/// removed and the pages that are given back, all are there or none.
#[test]
fn a_commit_cut_short_anywhere_is_there_or_not() {
    const PAGE: u64 = 4_096;
    const FRAME: u64 = PAGE + 24;
    let (seed, mut random) = seeded();
    let mut removing = 0;
    for case in 0..cases() {
        let limits = Limits {
            side_values: 100,
            ..tiny(&mut random)
        };
        let file_limits = FileLimits {
            log_pages: 10_000,
            ..TINY_FILE
        };
        let never = Limits {
            small_bytes: u64::MAX >> 1,
            ..limits
        };
        let mut writer = Writer::new(never, file_limits);
        for _ in 0..150 {
            let_time_pass(&mut random, &writer);
            writer.run(any_batch(&mut random)).unwrap();
        }
        // Empties the log.
        writer.set_limits(limits);
        writer.reopen();
        let (before, oldest) = (writer.state(), writer.serving.opened.oldest);
        let batch = (0..50).map(|_| any_op(&mut random)).collect();
        writer.run(batch).unwrap();
        let (after, copy) = (writer.state(), writer.copy());
        removing += u32::from(writer.serving.opened.oldest > oldest);

        let log = copy.path().join("holdfast.db-wal");
        let (file, whole) = (copy.path().join("holdfast.db"), fs::read(&log).unwrap());
        let kept = fs::read(&file).unwrap();
        let frames = (whole.len() as u64 - 32) / FRAME;
        for cut in (0..=frames).flat_map(|n| [32 + n * FRAME, 32 + n * FRAME + 2_000]) {
            let cut = whole.len().min(usize::try_from(cut).unwrap());
            fs::write(&file, &kept).unwrap();
            fs::write(&log, &whole[..cut]).unwrap();
            let opened = disk_of(copy.path()).open();
            let found = comparable(&opened.unwrap().stripes);
            let expected = if cut < whole.len() { &before } else { &after };
            assert!(found == *expected, "seed {seed}, case {case}, cut at {cut}");
        }
    }
    assert!(
        removing > 5,
        "only {removing} commits removed rows: no bite"
    );
}

/// What was purged, cancelled out or deleted is gone for ever, though the rows
/// that say so are gone too.
#[test]
fn what_is_gone_stays_gone_without_its_tombstones() {
    let (_, mut random) = seeded();
    let mut writer = Writer::new(tiny(&mut random), TINY_FILE);
    let other = ShardKey {
        generation: Generation([2; 8]),
        ..shard()
    };
    let at = |shard: &ShardKey, op| (stripe(), Op::Shard(shard.clone(), op));
    let purge = ShardOp::Purge { limit: 10 };
    let cancel = ShardOp::Cancel {
        key: key(2),
        forbid_unknown: true,
    };
    for op in [
        at(&shard(), create(100)),
        at(&shard(), reserve(1)),
        at(&other, create(100)),
        at(&other, reserve(2)),
        at(&other, reserve(3)),
        at(&other, cancel),
        at(&shard(), ShardOp::Delete),
    ] {
        writer.run(vec![op]).unwrap();
    }
    let retention = settings().retention_ms.max(UNARRIVED_RETENTION_MS);
    let later = settings().hold_ttl_ms + retention;
    writer
        .clock
        .0
        .fetch_add(i64::try_from(later).unwrap(), Ordering::SeqCst);
    writer
        .run(vec![at(&other, ShardOp::Expire { limit: 10 })])
        .unwrap();
    writer.run(vec![at(&other, purge)]).unwrap();
    let last_tombstone = writer.serving.opened.next;
    while writer.serving.opened.oldest <= last_tombstone {
        let change = StockChange::Adjust {
            delta: 1,
            allow_partial: false,
        };
        let request = key(writer.serving.opened.next).request;
        let op = at(
            &other,
            ShardOp::Change {
                request,
                change,
                gathered: true,
                version: 0,
            },
        );
        writer.run(vec![op]).unwrap();
    }
    let opened = disk_of(writer.copy().path()).open().unwrap();
    let found = &opened.stripes[usize::from(stripe().0)];
    assert!(!found.shards.contains_key(&shard()));
    let left = &found.shards[&other];
    assert!(
        left.records.is_empty() && left.buyers.is_empty(),
        "{left:?}"
    );
}
