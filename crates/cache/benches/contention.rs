//! What a cache costs each of two threads that do nothing else, on the same
//! key: `cargo bench -p cache --bench contention`.
//!
//! On a machine with other work, two threads rarely run at the same time, and
//! their mean tells nothing. So they count short stretches of calls, and only
//! those during which the other one advanced about as far.

mod common;

use std::hint::black_box;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use cache::Found;
use common::{ABSENT, Copied, Counted, ENTRIES, KEEP_MS, KNOWN, MISSING, half_full, key};

/// Calls of a stretch, some 20 microseconds.
const CALLS: u64 = 1_000;
/// How far the other thread may have come meanwhile.
const TOGETHER: std::ops::Range<u64> = 700..1_400;
/// A thread tells of its advance so many times in a stretch, which costs little.
const CALLS_UNTOLD: u64 = 50;
const TIME: Duration = Duration::from_secs(4);

/// A thread's calls; on cache lines of its own.
#[derive(Default)]
#[repr(align(128))]
struct Advance(AtomicU64);

fn main() {
    let copied = half_full(&Copied::default());
    let counted = half_full(&Counted::default());
    let keys: Vec<_> = (0..ENTRIES).map(key).collect();
    measure("hit", |_| {
        black_box(copied.get(black_box(KNOWN)));
    });
    measure("hit_of_an_arc", |_| {
        black_box(counted.get(black_box(KNOWN)));
    });
    measure("hit_of_an_absent_key", |_| {
        black_box(copied.get(black_box(ABSENT)));
    });
    measure("miss", |_| {
        black_box(copied.get(black_box(MISSING)));
    });
    measure("insert_again", |call| {
        // Other keys than the other thread's, most of the time.
        let key = &keys[usize::try_from(call % ENTRIES).unwrap_or(0)];
        let found = Found::Known(Copied::default());
        copied.put(key, copied.clock().ticket(), found, KEEP_MS);
    });
    measure("invalidate", |_| copied.invalidate(KNOWN));
    measure("invalidate_all", |_| copied.invalidate_all());
}

/// Prints the median of the stretches in which two threads ran together.
#[expect(clippy::print_stdout, reason = "for whoever runs it")]
fn measure(name: &str, call: impl Fn(u64) + Sync) {
    let advances = <[Advance; 2]>::default();
    let is_over = AtomicBool::new(false);
    let mut stretches_ns: Vec<u128> = thread::scope(|scope| {
        let [one, other] = &advances;
        let (call, is_over) = (&call, &is_over);
        let threads = [(0, one, other), (ENTRIES / 2, other, one)].map(|(first, mine, theirs)| {
            scope.spawn(move || stretches(first, mine, theirs, is_over, call))
        });
        let began = now();
        while let Some(left) = TIME.checked_sub(began.elapsed()) {
            // May return early: threads that end wake this one.
            thread::park_timeout(left);
        }
        is_over.store(true, Ordering::Relaxed);
        threads
            .into_iter()
            .flat_map(|thread| thread.join().unwrap_or_default())
            .collect()
    });
    stretches_ns.sort_unstable();
    match stretches_ns.get(stretches_ns.len() / 2) {
        Some(median) => println!(
            "{name:<22} {:>6.1} ns, median of {} stretches",
            *median as f64 / CALLS as f64,
            stretches_ns.len(),
        ),
        None => println!("{name:<22} the threads never ran together: one core?"),
    }
}

fn stretches(
    first: u64,
    mine: &Advance,
    theirs: &Advance,
    is_over: &AtomicBool,
    call: &impl Fn(u64),
) -> Vec<u128> {
    let mut together_ns = Vec::new();
    let mut called = first;
    while !is_over.load(Ordering::Relaxed) {
        let before = theirs.0.load(Ordering::Relaxed);
        let began = now();
        for n in 0..CALLS {
            if n % CALLS_UNTOLD == 0 {
                mine.0.fetch_add(CALLS_UNTOLD, Ordering::Relaxed);
            }
            call(called);
            called += 1;
        }
        let elapsed_ns = began.elapsed().as_nanos();
        if TOGETHER.contains(&(theirs.0.load(Ordering::Relaxed) - before)) {
            together_ns.push(elapsed_ns);
        }
    }
    together_ns
}

#[expect(clippy::disallowed_methods, reason = "it measures")]
fn now() -> Instant {
    Instant::now()
}
