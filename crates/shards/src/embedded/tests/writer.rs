//! The writer without its thread: each batch is one call, so that a test can
//! look at what is in memory and in the file between any two.

use std::collections::BTreeSet;

use rand::SeedableRng as _;
use rand::rngs::StdRng;

use super::*;
use crate::embedded::Space;
use crate::embedded::cleaner::Limits;
use crate::embedded::engine::{Engine, Serving};
use crate::embedded::figures::Commits;
use crate::embedded::journal::FileLimits;
use crate::embedded::queue::Shared;
use crate::embedded::row::{Row, StripePart};
use crate::machine::{Changes, Gain, ShardChanges, Stripe};
use crate::waiting::Waiting;

pub(super) type Batch = Vec<(StripeNo, Op)>;

/// So small that everything about them happens all the time.
pub(super) const TINY_FILE: FileLimits = FileLimits {
    log_pages: 8,
    unused_pages: 2,
    step_pages: 2,
};

pub(super) struct Writer {
    pub(super) clock: HandClock,
    pub(super) faults: Arc<Faults>,
    pub(super) serving: Serving,
    engine: Engine,
    dir: tempfile::TempDir,
}

impl Writer {
    pub(super) fn new(limits: Limits, file_limits: FileLimits) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let clock = HandClock::new();
        let faults = Arc::new(Faults::default());
        let mut disk = disk_of(dir.path());
        disk.limits = file_limits;
        let mut engine = Engine {
            commits: Commits::of_this_recorder(),
            shared: Arc::new(Shared::new(1)),
            disk: Box::new(FaultyDisk {
                disk,
                faults: Arc::clone(&faults),
            }),
            clock: Box::new(clock.clone()),
            space: Space {
                free_bytes: Box::new(|| None),
                reserve_bytes: 0,
                checked: None,
            },
            limits,
            rests_until: None,
        };
        let serving = engine.open().unwrap();
        Self {
            clock,
            faults,
            serving,
            engine,
            dir,
        }
    }

    /// One group commit, with the answers; an empty one tidies.
    pub(super) fn run(&mut self, ops: Batch) -> Result<Vec<Reply>, String> {
        let (mut batch, mut answers) = (Vec::new(), Vec::new());
        for (stripe, op) in ops {
            let (answer, answered) = tokio::sync::oneshot::channel();
            answers.push(answered);
            batch.push(Waiting {
                stripe,
                op,
                deadline: None,
                answer,
            });
        }
        self.engine.serve(&mut self.serving, &mut batch)?;
        let answers = answers.iter_mut().map(|one| one.try_recv().unwrap());
        Ok(answers.collect::<Result<_, _>>().unwrap())
    }

    /// Tidies until there is nothing to tidy.
    pub(super) fn tidy_up(&mut self) {
        for _ in 0..50_000 {
            if !self.engine.can_tidy(&self.serving) {
                return;
            }
            self.run(Vec::new()).unwrap();
        }
        panic!("it never rests");
    }

    /// From the next opening on.
    pub(super) fn set_limits(&mut self, limits: Limits) {
        self.engine.limits = limits;
    }

    pub(super) fn reopen(&mut self) {
        self.serving = self.engine.open().unwrap();
    }

    /// What is in memory, and what a later reader would find in the file.
    pub(super) fn state(&self) -> Vec<Stripe> {
        comparable(&self.serving.opened.stripes)
    }

    pub(super) fn state_on_disk(&self) -> Vec<Stripe> {
        let copy = self.copy();
        let opened = disk_of(copy.path()).open().unwrap();
        comparable(&opened.stripes)
    }

    /// The files as they are now, as a killed process would leave them.
    pub(super) fn copy(&self) -> tempfile::TempDir {
        let copy = tempfile::tempdir().unwrap();
        for name in ["holdfast.db", "holdfast.db-wal"] {
            fs::copy(self.dir.path().join(name), copy.path().join(name)).unwrap();
        }
        copy
    }

    /// Bytes of the file and of its log.
    pub(super) fn sizes(&self) -> [u64; 2] {
        ["holdfast.db", "holdfast.db-wal"]
            .map(|name| fs::metadata(self.dir.path().join(name)).unwrap().len())
    }

    /// Bytes of a file into which nothing was written but what is live.
    pub(super) fn fresh_bytes(&self) -> u64 {
        let dir = tempfile::tempdir().unwrap();
        let mut opened = disk_of(dir.path()).open().unwrap();
        let stripes = &self.serving.opened.stripes;
        let parts = StripeNo::all()
            .zip(stripes)
            .filter_map(|(number, stripe)| StripePart::of(number, stripe, &everything(stripe)));
        let row = Row {
            oldest: opened.oldest,
            stripes: parts.collect(),
        };
        opened
            .journal
            .commit(Commit {
                number: opened.next,
                body: &row.encode(opened.next).unwrap(),
                oldest: opened.oldest,
            })
            .unwrap();
        drop(opened);
        fs::metadata(dir.path().join("holdfast.db")).unwrap().len()
    }
}

/// The stripes without what a file does not have: the time of mere readings, and
/// queue entries that count for nothing any more.
pub(super) fn comparable(stripes: &[Stripe]) -> Vec<Stripe> {
    let mut stripes = stripes.to_vec();
    for stripe in &mut stripes {
        stripe.guard.time = Millis(0);
        for shard in stripe.shards.values_mut() {
            shard.rebuild_queues();
        }
    }
    stripes
}

fn everything(stripe: &Stripe) -> Changes {
    let of_shards = stripe.shards.iter().map(|(key, shard)| {
        let all = ShardChanges {
            header: true,
            records: shard.records.keys().copied().collect(),
            returns: shard.returns.keys().copied().collect(),
            adjustments: shard.adjustments.keys().copied().collect(),
            buyers: shard.buyers.keys().copied().collect(),
            gain: Gain::Nothing,
        };
        (key.clone(), all)
    });
    Changes {
        guard: true,
        catalog: stripe.catalog.keys().cloned().collect(),
        shards: of_shards.collect(),
        deleted: BTreeSet::new(),
    }
}

/// A generator from this run's seed, which is printed.
pub(super) fn seeded() -> (u64, StdRng) {
    let seed = std::env::var("HOLDFAST_TEST_SEED")
        .ok()
        .and_then(|s| s.parse().ok())
        .unwrap_or_else(rand::random);
    println!("HOLDFAST_TEST_SEED={seed}");
    (seed, StdRng::seed_from_u64(seed))
}

/// How many times the usual number of cases: `tests/run --long` asks for more.
pub(super) fn times() -> u32 {
    std::env::var("HOLDFAST_TEST_CASES").map_or(1, |times| times.parse().unwrap())
}
