//! What a cache costs one thread: `cargo bench -p cache --bench costs`. On a
//! machine with other work, the column "fastest" is what it costs.

mod common;

use std::future::ready;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Waker};
use std::time::Instant;

use cache::{Found, Loaded};
use common::{ABSENT, Copied, Counted, ENTRIES, KEEP_MS, KNOWN, Key, MISSING, half_full, key};
use divan::Bencher;

fn main() {
    divan::main();
}

/// Numbered keys that are not in the cache.
fn new_keys() -> impl Fn() -> Key + Sync {
    let next = AtomicU64::new(1_000_000);
    move || key(next.fetch_add(1, Ordering::Relaxed))
}

#[divan::bench(sample_size = 10_000)]
fn hit(bencher: Bencher<'_, '_>) {
    let cache = half_full(&Copied::default());
    bencher.bench(|| cache.get(KNOWN));
}

#[divan::bench(sample_size = 10_000)]
fn hit_of_an_arc(bencher: Bencher<'_, '_>) {
    let cache = half_full(&Counted::default());
    bencher.bench(|| cache.get(KNOWN));
}

/// Looked up among the known ones first.
#[divan::bench(sample_size = 10_000)]
fn hit_of_an_absent_key(bencher: Bencher<'_, '_>) {
    let cache = half_full(&Copied::default());
    bencher.bench(|| cache.get(ABSENT));
}

#[divan::bench(sample_size = 10_000)]
fn miss(bencher: Bencher<'_, '_>) {
    let cache = half_full(&Copied::default());
    bencher.bench(|| cache.get(MISSING));
}

/// A miss with a load that ends at once and is not kept: what it costs to be
/// the only caller.
#[divan::bench(sample_size = 1_000)]
fn load(bencher: Bencher<'_, '_>) {
    let cache = half_full(&Copied::default());
    bencher.with_inputs(new_keys()).bench_refs(|key| {
        let load = ready(Loaded::keep(Found::Absent, 0));
        let mut load = pin!(cache.get_or_load(key, KEEP_MS, load));
        load.as_mut().poll(&mut Context::from_waker(Waker::noop()))
    });
}

/// In the place of another entry of the same key.
#[divan::bench(sample_size = 1_000)]
fn insert_again(bencher: Bencher<'_, '_>) {
    let cache = half_full(&Copied::default());
    let next = AtomicU64::new(0);
    bencher
        .with_inputs(|| key(next.fetch_add(1, Ordering::Relaxed) % ENTRIES))
        .bench_refs(|key| {
            let found = Found::Known(Copied::default());
            cache.put(key, cache.clock().ticket(), found, KEEP_MS)
        });
}

/// New keys, soon more than fit: then each insertion evicts.
#[divan::bench(sample_size = 1_000)]
fn insert_and_evict(bencher: Bencher<'_, '_>) {
    let cache = half_full(&Copied::default());
    bencher.with_inputs(new_keys()).bench_refs(|key| {
        let found = Found::Known(Copied::default());
        cache.put(key, cache.clock().ticket(), found, KEEP_MS)
    });
}

#[divan::bench(sample_size = 10_000)]
fn invalidate(bencher: Bencher<'_, '_>) {
    let cache = half_full(&Copied::default());
    bencher.bench(|| cache.invalidate(KNOWN));
}

#[divan::bench(sample_size = 10_000)]
fn invalidate_all(bencher: Bencher<'_, '_>) {
    let cache = half_full(&Copied::default());
    bencher.bench(|| cache.invalidate_all());
}

/// For comparison: what a deadline by a real clock would add to each hit.
#[divan::bench(sample_size = 10_000)]
fn real_clock() -> Instant {
    #[expect(clippy::disallowed_methods, reason = "this is what it costs")]
    Instant::now()
}
