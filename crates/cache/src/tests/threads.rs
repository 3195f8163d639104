//! Real threads: nobody is ever told what had been invalidated before it asked.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::thread;

use super::{AGE_MAX_MS, KEEP_MS, Numbers, known, limits, roomy};
use crate::{Cache, Found, Loaded, Sizes};

const READERS: u32 = 3;
/// Questions of each.
const ROUNDS: u64 = 5_000;

/// A source whose only value grows.
#[derive(Default)]
struct Source {
    value: AtomicU64,
    /// The value that was there when an invalidation had returned.
    told: AtomicU64,
    /// Readers who asked their questions, or died.
    done: AtomicU32,
}

#[test]
fn nobody_gets_what_was_invalidated_before_it_asked() {
    let cache = roomy();
    let source = Source::default();
    thread::scope(|scope| {
        for reader in 0..READERS {
            let (cache, source) = (&cache, &source);
            scope.spawn(move || read(cache, source, reader));
        }
        let mut change = 0;
        while source.done.load(Ordering::SeqCst) < READERS {
            change += 1;
            source.value.store(change, Ordering::SeqCst);
            if change % 16 == 0 {
                cache.invalidate_all();
            } else {
                cache.invalidate(&1);
            }
            source.told.store(change, Ordering::SeqCst);
            if change % 64 == 0 {
                thread::yield_now();
            }
        }
    });
    assert_eq!(cache.flights(), 0);
}

fn read(cache: &Numbers, source: &Source, reader: u32) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let load = || async {
        let value = source.value.load(Ordering::SeqCst);
        // Somebody else may come, change or invalidate now.
        thread::yield_now();
        tokio::task::yield_now().await;
        known(value)
    };
    let _done = Done(&source.done);
    for round in 0..ROUNDS {
        let told = source.told.load(Ordering::SeqCst);
        let (at_least, found) = match round % 4 {
            0 => {
                // One's own question, without a load.
                let ticket = cache.clock().ticket();
                let value = source.value.load(Ordering::SeqCst);
                cache.put(&1, ticket, Found::Known(value), KEEP_MS);
                (told, cache.get(&1).unwrap_or(Found::Known(u64::MAX)))
            }
            1 if reader == 0 => {
                // A later load is as new as the source itself.
                let now = source.value.load(Ordering::SeqCst);
                (now, runtime.block_on(cache.load_later(&1, load())))
            }
            _ => (
                told,
                runtime.block_on(cache.get_or_load(&1, AGE_MAX_MS, load())),
            ),
        };
        let Found::Known(value) = found else {
            panic!("{found:?}");
        };
        assert!(value >= at_least, "{value}, after {at_least} was told");
    }
}

/// Counts a reader who ends, also by a panic: the test would go on for ever.
struct Done<'a>(&'a AtomicU32);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn a_newer_answer_is_never_overwritten_by_an_older_one() {
    // Between a put's comparison and its insertion, others have their turn.
    let sizes = Sizes {
        value: |_: &u64| {
            thread::yield_now();
            0
        },
        ..Sizes::INLINE
    };
    let cache: Numbers = Cache::new(limits(16), sizes, Arc::default());
    let newest = AtomicU64::new(0);
    thread::scope(|scope| {
        for _ in 0..READERS {
            scope.spawn(|| {
                for _ in 0..ROUNDS {
                    let ticket = cache.clock().ticket();
                    if cache.put(&1, ticket, Found::Known(ticket.number), KEEP_MS) {
                        newest.fetch_max(ticket.number, Ordering::SeqCst);
                    }
                    let newest = newest.load(Ordering::SeqCst);
                    let last = cache.last_known(&1).unwrap();
                    assert!(last >= newest, "{last}, after {newest} had landed");
                }
            });
        }
    });
}

#[test]
fn no_caller_is_stuck_while_others_come_and_go() {
    let cache = Arc::new(roomy());
    let mut callers = Vec::new();
    for caller in 0..4_u64 {
        let cache = Arc::clone(&cache);
        callers.push(thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .build()
                .unwrap();
            for round in 0..3_000_u64 {
                let load = async {
                    tokio::task::yield_now().await;
                    Loaded::keep(Found::Known(round), 0)
                };
                // Each third one goes away at its second turn of the executor.
                let patience = async {
                    for _ in 0..2 {
                        tokio::task::yield_now().await;
                    }
                    if !(round + caller).is_multiple_of(3) {
                        std::future::pending::<()>().await;
                    }
                };
                runtime.block_on(async {
                    tokio::select! {
                        _ = cache.load_later(&1, load) => {}
                        () = patience => {}
                    }
                });
            }
        }));
    }
    for caller in callers {
        caller.join().unwrap();
    }
    assert_eq!(cache.flights(), 0);
}
