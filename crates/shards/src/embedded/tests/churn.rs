//! The file's size, over days of sales.

use rand::RngExt as _;

use super::writer::{Batch, Writer, seeded};
use super::*;
use crate::embedded::cleaner::Limits;
use crate::embedded::journal::{FILE_LIMITS, FileLimits};

/// As in use, but that small files are cleaned too: days of the size of minutes.
const LIMITS_HERE: Limits = Limits {
    small_bytes: 64 << 10,
    ..LIMITS
};
const FILE_LIMITS_HERE: FileLimits = FileLimits {
    log_pages: 100,
    ..FILE_LIMITS
};
/// What the file may have beside twice what is live: rows that are left alone,
/// and pages.
const BESIDE: u64 = LIMITS_HERE.small_bytes + FILE_LIMITS_HERE.unused_pages as u64 * 4_096;
/// The log: the pages after which it is copied, and the commit that comes last.
const LOG: u64 = (FILE_LIMITS_HERE.log_pages as u64 + 100) * 4_120;

const HOUR_MS: i64 = 3_600_000;
const BATCH_LEN: usize = 200;

fn shard_of(day: u64) -> ShardKey {
    ShardKey {
        item: ItemId::parse(&format!("sneaker-of-day-{day}")).unwrap(),
        ..shard()
    }
}

fn of_day(day: u64, op: ShardOp) -> (StripeNo, Op) {
    let shard = shard_of(day);
    (catalog_stripe(&shard.item), Op::Shard(shard, op))
}

fn run_all(writer: &mut Writer, ops: &[(StripeNo, Op)]) {
    for batch in ops.chunks(BATCH_LEN) {
        writer.run(batch.to_vec()).unwrap();
    }
}

/// As the sweeper does.
fn sweep(writer: &mut Writer, days: std::ops::Range<u64>) {
    for day in days {
        for op in [ShardOp::Expire { limit: 64 }, ShardOp::Purge { limit: 64 }] {
            let more = |replies: &[Reply]| match replies {
                [Reply::Shard(ShardReply::Swept { more, .. })] => *more,
                other => panic!("{other:?}"),
            };
            while more(&writer.run(vec![of_day(day, op.clone())]).unwrap()) {}
        }
    }
}

/// A sale of a part of a day: most holds are confirmed or cancelled.
fn sale(random: &mut rand::rngs::StdRng, writer: &mut Writer, day: u64, first: u64, len: u64) {
    let reserves: Batch = (first..first + len)
        .map(|n| of_day(day, reserve(n)))
        .collect();
    run_all(writer, &reserves);
    let ends = (first..first + len).filter_map(|n| {
        let key = key(n);
        let op = match random.random_range(0..10) {
            0..6 => ShardOp::Confirm {
                key,
                late: LateConfirm::Refuse,
                version: 0,
            },
            6..8 => ShardOp::Cancel {
                key,
                forbid_unknown: true,
            },
            _ => return None,
        };
        Some(of_day(day, op))
    });
    let ends: Batch = ends.collect();
    run_all(writer, &ends);
}

#[test]
fn a_weeks_churn_stays_within_twice_what_is_live() {
    const SALES_A_DAY: u64 = 4;
    const SALE: u64 = 2_000;
    const DAYS_ON_SALE: u64 = 3;
    let (seed, mut random) = seeded();
    let mut writer = Writer::new(LIMITS_HERE, FILE_LIMITS_HERE);
    let mut sold = 0;
    for day in 0..7_u64 {
        let open = day.saturating_sub(DAYS_ON_SALE)..day + 1;
        if day > DAYS_ON_SALE {
            writer
                .run(vec![of_day(open.start - 1, ShardOp::Delete)])
                .unwrap();
        }
        let mut settings = settings();
        settings.retention_ms = 24 * HOUR_MS.cast_unsigned();
        let create = ShardOp::Create {
            settings,
            version: 1,
            supply: Some(1_000_000),
        };
        writer.run(vec![of_day(day, create)]).unwrap();
        for part in 0..SALES_A_DAY {
            sale(&mut random, &mut writer, day, sold, SALE);
            sold += SALE;
            writer.clock.0.fetch_add(24 / 4 * HOUR_MS, Ordering::SeqCst);
            sweep(&mut writer, open.clone());

            let ([file, log], fresh) = (writer.sizes(), writer.fresh_bytes());
            println!("day {day}.{part}: file {file}, log {log}, fresh {fresh}");
            let what = format!("seed {seed}, day {day}, sale {part}: {fresh} bytes are live");
            // About twice: between 1.88 and 2.03 times over eight seeds, since
            // it is measured with a sale's last rows still to be cleaned.
            assert!(
                4 * (file - BESIDE.min(file)) <= 9 * fresh,
                "{what}, and the file has {file}"
            );
            assert!(log <= LOG, "{what}, and the log has {log}");
        }
    }
    assert!(writer.state_on_disk() == writer.state());

    // When all is over, the disk has its room again.
    for day in 3..7 {
        writer.run(vec![of_day(day, ShardOp::Delete)]).unwrap();
    }
    writer.tidy_up();
    let [file, log] = writer.sizes();
    assert!(
        file <= BESIDE + 64 * 1_024,
        "nothing is live, and the file has {file}"
    );
    assert!(log <= LOG, "the log has {log}");
    assert!(writer.state_on_disk() == writer.state());
}

/// Counts that come back to what they were look live in every row that has them.
/// More buyers than a pass remembers, a few of them in each row.
#[test]
fn buyers_who_come_and_go_do_not_pile_up() {
    const BUYERS: u64 = 300;
    const AT_A_TIME: u64 = 10;
    const UNUSED_PAGES: u32 = 2;
    let limits = Limits {
        small_bytes: 4 << 10,
        // Too few for copies to meet in one step.
        step_values: 64,
        seen_len_max: 60,
        ..LIMITS
    };
    let file_limits = FileLimits {
        unused_pages: UNUSED_PAGES,
        ..FILE_LIMITS_HERE
    };
    let never = Limits {
        small_bytes: u64::MAX >> 1,
        ..limits
    };
    let mut writer = Writer::new(never, file_limits);
    let of = |buyer: u64, turn: u64| RecordKey {
        buyer: Fingerprint(buyer.to_be_bytes()),
        ..key(turn * BUYERS + buyer)
    };
    let reserve = |key| ShardOp::Reserve {
        key,
        quantity: Quantity::new(1).unwrap(),
        version: 1,
    };
    let confirm = |key| ShardOp::Confirm {
        key,
        late: LateConfirm::Refuse,
        version: 0,
    };
    let cancel = |key| ShardOp::Cancel {
        key,
        forbid_unknown: true,
    };
    let mut settings = settings();
    settings.retention_ms = 1;
    let create = ShardOp::Create {
        settings,
        version: 1,
        supply: Some(1_000_000),
    };
    writer.run(vec![of_day(0, create)]).unwrap();
    for turn in 0..30 {
        for first in (0..BUYERS).step_by(usize::try_from(AT_A_TIME).unwrap()) {
            let keys = (first..first + AT_A_TIME).map(|buyer| of(buyer, turn));
            let all = |op: &dyn Fn(RecordKey) -> ShardOp| {
                keys.clone()
                    .map(|key| of_day(0, op(key)))
                    .collect::<Batch>()
            };
            writer.run(all(&reserve)).unwrap();
            // Everybody has one for good, and comes back for another.
            let end: &dyn Fn(RecordKey) -> ShardOp = if turn == 0 { &confirm } else { &cancel };
            writer.run(all(end)).unwrap();
        }
        writer.clock.0.fetch_add(1_000, Ordering::SeqCst);
        sweep(&mut writer, 0..1);
    }
    writer.set_limits(limits);
    writer.reopen();
    let before = writer.sizes()[0];
    writer.tidy_up();
    let ([file, _], fresh) = (writer.sizes(), writer.fresh_bytes());
    let beside = limits.small_bytes + u64::from(UNUSED_PAGES) * 4_096;
    println!("file {before}, then {file}, fresh {fresh}");
    assert!(
        file <= 2 * fresh + beside,
        "{fresh} bytes are live, and the file has {file}"
    );
    // Nobody was lost with the copies.
    assert!(writer.state_on_disk() == writer.state());
}

/// Where even a file without anything dead is above twice the estimate, one turn
/// over it is enough to know.
#[test]
fn a_cleaner_that_can_do_no_more_rests() {
    const ITEMS: u64 = 500;
    let mut writer = Writer::new(LIMITS_HERE, FILE_LIMITS_HERE);
    let on = |n: u64, op: ShardOp| {
        let item = ItemId::parse(&format!("{n:0128}")).unwrap();
        let shard = ShardKey { item, ..shard() };
        (catalog_stripe(&shard.item), Op::Shard(shard, op))
    };
    for n in 0..ITEMS {
        writer.run(vec![on(n, create(100))]).unwrap();
    }
    // One at a time and in another order: each stands beside others' later.
    for round in 0..6 {
        for n in 0..ITEMS {
            let n = (n * 7 + round * 31) % ITEMS;
            writer.run(vec![on(n, reserve(round))]).unwrap();
        }
    }
    writer.tidy_up();
    let ([file, _], fresh) = (writer.sizes(), writer.fresh_bytes());
    assert!(
        file <= 4 * fresh + BESIDE,
        "{fresh} bytes are live, and the file has {file}"
    );
}

/// Readings, too, give it time: they keep the writer from being idle, and write
/// nothing.
#[tokio::test]
async fn it_goes_on_beside_readings_and_while_nobody_comes() {
    let mut writer = Writer::new(
        Limits {
            small_bytes: u64::MAX >> 1,
            ..LIMITS_HERE
        },
        FILE_LIMITS_HERE,
    );
    writer.run(vec![of_day(0, create(100))]).unwrap();
    for n in 0..2_000 {
        let delta = if n % 2 == 0 { 1 } else { -1 };
        let change = crate::machine::StockChange::Adjust {
            delta,
            allow_partial: false,
        };
        let request = key(n % 2).request;
        writer
            .run(vec![
                of_day(
                    0,
                    ShardOp::Change {
                        request,
                        change,
                        gathered: true,
                        version: 0,
                    },
                ),
                of_day(0, reserve(n % 7)),
            ])
            .unwrap();
        let key = key(n % 7);
        writer
            .run(vec![of_day(
                0,
                ShardOp::Extend {
                    key,
                    hold_for_ms: 60_000 + n,
                },
            )])
            .unwrap();
    }
    assert_eq!(writer.serving.opened.oldest, 1);
    let copy = writer.copy();

    writer.set_limits(LIMITS_HERE);
    writer.reopen();
    let before = writer.sizes()[0];
    for _ in 0..1_000 {
        writer.run(vec![of_day(0, ShardOp::Look)]).unwrap();
    }
    let after = writer.sizes()[0];
    assert!(after < before / 2, "{before} bytes, now {after}");

    let store = Embedded::open_on(
        options(copy.path(), &HandClock::new()),
        Box::new(disk_of(copy.path())),
        LIMITS_HERE,
    );
    let _store = store.unwrap();
    #[expect(clippy::disallowed_methods, reason = "a test's deadline")]
    let end = Instant::now() + Duration::from_secs(20);
    let file = || fs::metadata(copy.path().join("holdfast.db")).unwrap().len();
    while file() >= before / 2 {
        #[expect(clippy::disallowed_methods, reason = "a test's deadline")]
        let now = Instant::now();
        assert!(now < end, "{before} bytes, still {}", file());
        std::thread::yield_now();
    }
}
