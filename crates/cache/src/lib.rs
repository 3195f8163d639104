//! Tier 1: what a process remembers of a source that is dear to ask. Knows
//! neither the source nor what is asked; keys, values and errors are anything.
//!
//! A [`Cache`] holds the answers to one kind of question about a key. Whoever
//! asks several kinds (an item's settings; its stock; that it is sold out) has a
//! cache for each, since they are invalidated by different news and live for
//! different times. Caches share a [`Clock`], so that one look at the source may
//! fill them all with one [`Ticket`].
//!
//! ```
//! use std::sync::Arc;
//! use cache::{Bound, Cache, Clock, Found, Limits, Loaded, Sizes};
//!
//! # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
//! let clock = Arc::new(Clock::default()); // a task runs clock.tick_every(5 ms)
//! let bound = Bound { entries_max: 16_384, bytes_max: 16 << 20 };
//! let sizes = Sizes { key: |key: &Arc<str>| key.len(), ..Sizes::INLINE };
//! let stock: Cache<Arc<str>, u64, &'static str> =
//!     Cache::new(Limits { known: bound, unknown: bound }, sizes, Arc::clone(&clock));
//!
//! // A miss: one caller asks the source, all others wait for its answer.
//! let sneaker: Arc<str> = "sneaker".into();
//! let ask = async { Loaded::keep(Found::Known(3), 1_000) };
//! assert_eq!(stock.get_or_load(&sneaker, 1_000, ask).await, Found::Known(3));
//!
//! // A hit, without a load, an allocation or a look at a real clock.
//! assert_eq!(stock.get("sneaker"), Some(Found::Known(3)));
//!
//! // News: nothing that was asked before it is believed any more.
//! let ticket = clock.ticket();
//! stock.invalidate("sneaker");
//! assert_eq!(stock.get("sneaker"), None);
//! assert!(!stock.put(&sneaker, ticket, Found::Known(3), 1_000));
//! # });
//! ```
//!
//! # Deadlines
//!
//! A value, or that there is none, is believed for `keep_ms` from the moment its
//! question was asked (its load began, its ticket was taken): its age is that of
//! the answer, not of the entry. A failure counts from its end, since asking may
//! have taken longer than it shall be remembered.
//!
//! Time is the clock's, which is slow by some `lag`: a tick, plus a millisecond
//! that is cut off, plus what the task that moves it is late. What was asked at
//! the real time `t` is stamped between `t - lag` and `t`, and believed until a
//! clock that is slow reaches the deadline. So it is never answered at or after
//! `t + keep_ms + lag`, and always before `t + keep_ms - lag`. Whoever must not be
//! older than D asks for D − lag. If all that move the clock stand still, so do
//! deadlines.
//!
//! # Invalidation
//!
//! Whatever begins (a load, a ticket, an invalidation) takes the next number of
//! the clock. An entry has the number of its load, each key the number of its
//! last invalidation, all keys together another one; an entry is believed if its
//! own is above both. It is compared when the entry is put, and again whenever it
//! is read, so there is no instant at which an invalidation is missed: once
//! [`Cache::invalidate`] has returned, nothing that began before it was called
//! is answered to whoever asks, from memory or from a load under way. Who asked
//! before may still get it.
//!
//! [`Cache::invalidate_all`] raises one number, whatever there is. Keys' numbers
//! lie in a fixed array by hash, two for each known entry: what is not remembered
//! costs nothing, and two keys that meet invalidate each other.
//!
//! An entry gives way to later ones only: [`Cache::put`] refuses what began
//! before what is there (but not before what was there and was evicted: the
//! deadline bounds that). [`Cache::last_known`] still has a value that is not
//! believed any more, for answers that say how old they are;
//! [`Cache::last_undisputed`] has it where nothing was said of that key alone.
//!
//! # Single flight
//!
//! Of concurrent misses on one key one loads. [`Cache::get_or_load`] (and
//! [`Cache::load`], for whoever missed already) shares a load under way that is
//! not too old; [`Cache::load_later`] only one that begins after the call, for
//! when an answer must take in all that happened before it. Whoever may not share
//! the load under way waits for its end, and for another one.
//!
//! A caller whose future is dropped (or whose load panics) while it loads leaves
//! the load to the next in line, which runs its own. What is told to those who
//! wait is told once: a failure that is not to be remembered is the answer to
//! those who shared the load, and the next caller asks anew.
//! [`Loaded::failed_for_me`] is not told to others at all.
//!
//! A load runs on the runtime of its caller; so others wait for that runtime, and
//! set their own deadlines around the call. A load must not ask the same cache
//! for the same key: it would wait for itself.
//!
//! # Bounds
//!
//! Values have [`Limits::known`]; what is absent or failed has
//! [`Limits::unknown`] and lies elsewhere: a flood of invented keys pushes out
//! only its like. An entry weighs what `size_of` says of key and entry, plus
//! [`Sizes`], plus 21 bytes, but at least `bytes_max / entries_max`, so that
//! either bound holds. When it is full, what is used least makes room; what is
//! not believed any more takes room until then.
//!
//! `quick_cache` cuts a map into parts with equal shares of the bound: here one
//! for each 512 entries, rounded down to a power of two, 64 at most. Keys spread
//! over the parts by chance, so evictions may begin before the map is full, but not
//! before four fifths. A single entry above 97% of a part's share is never
//! remembered. Rounding may add a byte for each part.
//!
//! The tables of a map take, beside what keys and values own, at most
//! `size of (key + entry + 21 bytes) × (1.5 × entries)`, rounded up to a power of
//! two; invalidations 16 bytes for each known entry, at least 8 KiB and at most 8
//! MiB. Flights are as many as callers that wait.
//!
//! # Costs
//!
//! Values are cloned out: small `Copy` types, else behind an `Arc`. Keys are
//! hashed once for a hit, twice for a miss or an absent key, and once more for
//! all else. Neither may use the cache when it is dropped.
//!
//! On 2 cores of an AMD EPYC at 2.6 GHz that had other work: for one thread the
//! fastest sample of `cargo bench -p cache --bench costs`; for each of two that
//! do nothing else, on the same key, `cargo bench -p cache --bench contention`
//! (where two runs differ, both).
//!
//! | | 1 thread | 2 threads |
//! |---|---|---|
//! | hit of a value that is copied | 24 ns | 27 ns |
//! | hit of an `Arc` | 26 ns | 58 to 101 ns |
//! | hit of an absent key | 30 ns | 31 ns |
//! | miss (`get`) | 24 ns | 25 to 29 ns |
//! | miss with a load that ends at once | 550 ns | |
//! | put in the place of an entry (two threads: of different keys) | 260 ns | 420 to 630 ns |
//! | put that evicts | 300 ns | |
//! | `invalidate` | 17 ns | 79 to 175 ns |
//! | `invalidate_all` | 6 ns | 66 to 138 ns |
//! | a real clock, for comparison | 23 ns | |
//!
//! So what is asked most is best copied: the count of an `Arc` is one place that
//! all threads write to. A hit allocates nothing, a load a flight and its place
//! in the table.

mod answer;
mod cache;
mod clock;
mod figures;
mod flights;
mod invalidations;
mod limits;
mod memory;
mod shelf;

pub use answer::{Found, Loaded};
pub use cache::Cache;
pub use clock::{Clock, Ticket};
pub use figures::Figures;
pub use limits::{Bound, Limits, Sizes};

#[cfg(test)]
mod tests;
