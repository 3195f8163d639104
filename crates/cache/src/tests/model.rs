//! Random histories against a model that forgets nothing and compares
//! everything. A failure prints the seed that repeats it:
//! `HOLDFAST_TEST_SEED=… cargo test -p cache model`.

use std::collections::HashMap;

use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};

use super::{AGE_MAX_MS, Answer, Call, Numbers, roomy};
use crate::invalidations::Slot;
use crate::{Found, Loaded, Ticket};

const HISTORIES: u64 = 400;
const STEPS: u32 = 300;
const KEYS: [u32; 4] = [0, 1, 2, 3];
/// Callers at a time.
const CALLS_MAX: usize = 6;
/// Tickets that are held at a time.
const TICKETS_MAX: usize = 5;

#[test]
fn random_histories_are_as_in_the_model() {
    let given = std::env::var("HOLDFAST_TEST_SEED").ok();
    let first: u64 = given.map_or_else(rand::random, |text| text.parse().unwrap());
    for history in 0..HISTORIES {
        let seed = first.wrapping_add(history);
        println!("HOLDFAST_TEST_SEED={seed}");
        let cache = roomy();
        History::new(&cache, seed).run();
        assert_eq!(cache.flights(), 0, "somebody is still on a flight");
    }
}

struct History<'a> {
    cache: &'a Numbers,
    rng: SmallRng,
    model: Model,
    tickets: Vec<Ticket>,
    calls: Vec<Caller<'a>>,
    /// Answers are numbered, so that no two are alike.
    answers: u64,
}

/// Somebody who waits.
struct Caller<'a> {
    call: Call<'a>,
    key: u32,
    is_later: bool,
    came: u64,
    came_ms: u64,
    invalidated: u64,
    /// When its own load began, in the order of the clock.
    began: Option<Ticket>,
}

/// What was ever put and invalidated.
#[derive(Default)]
struct Model {
    puts: HashMap<u32, Vec<Put>>,
    invalidated: HashMap<Slot, u64>,
    forgotten: u64,
}

#[derive(Clone, Copy)]
struct Put {
    began: u64,
    deadline_ms: u64,
    found: Answer,
}

impl Model {
    fn last_invalidation(&self, slot: Slot) -> u64 {
        let of_slot = self.invalidated.get(&slot).copied().unwrap_or(0);
        of_slot.max(self.forgotten)
    }

    /// What a key's puts come to, from the first to the last.
    fn on_shelf(&self, key: u32) -> (Option<Put>, Option<Put>) {
        let (mut value, mut other) = (None, None);
        for put in self.puts.get(&key).into_iter().flatten() {
            match put.found {
                Found::Known(_) => (value, other) = (Some(*put), None),
                Found::Absent => (value, other) = (None, Some(*put)),
                Found::Failed(_) => other = Some(*put),
            }
        }
        (value, other)
    }

    fn get(&self, key: u32, slot: Slot, now_ms: u64) -> Option<Answer> {
        let last = self.last_invalidation(slot);
        let believed = |put: &Put| put.deadline_ms > now_ms && put.began > last;
        let (value, other) = self.on_shelf(key);
        let put = value.filter(believed).or(other.filter(believed))?;
        Some(put.found)
    }

    /// The last value, unless its key was invalidated since.
    fn undisputed(&self, key: u32, slot: Slot) -> Option<Answer> {
        let last = self.invalidated.get(&slot).copied().unwrap_or(0);
        let value = self.on_shelf(key).0.filter(|put| put.began > last)?;
        Some(value.found)
    }

    fn failure(&self, key: u32, slot: Slot, now_ms: u64) -> Option<Answer> {
        let found = self.on_shelf(key).1?;
        let last = self.last_invalidation(slot);
        let is_believed = found.deadline_ms > now_ms && found.began > last;
        (is_believed && matches!(found.found, Found::Failed(_))).then_some(found.found)
    }

    /// Whether it lands.
    fn put(&mut self, key: u32, slot: Slot, put: Put, keep_ms: u64) -> bool {
        let (value, other) = self.on_shelf(key);
        let is_older = |than: Option<Put>| than.is_some_and(|than| than.began > put.began);
        if keep_ms == 0
            || put.began <= self.last_invalidation(slot)
            || is_older(value)
            || is_older(other)
        {
            return false;
        }
        self.puts.entry(key).or_default().push(put);
        true
    }
}

impl<'a> History<'a> {
    fn new(cache: &'a Numbers, seed: u64) -> Self {
        Self {
            cache,
            rng: SmallRng::seed_from_u64(seed),
            model: Model::default(),
            tickets: Vec::new(),
            calls: Vec::new(),
            answers: 0,
        }
    }

    fn run(mut self) {
        for _ in 0..STEPS {
            self.step();
            self.compare();
        }
        while !self.calls.is_empty() {
            self.leave();
            self.compare();
        }
    }

    fn step(&mut self) {
        match self.rng.random_range(0..12) {
            0 => {
                let key = self.any_key();
                self.cache.invalidate(&key);
                let last = self.cache.clock().last_number();
                self.model.invalidated.insert(self.cache.slot(&key), last);
            }
            1 if self.rng.random_ratio(1, 4) => {
                self.cache.invalidate_all();
                self.model.forgotten = self.cache.clock().last_number();
            }
            1 | 2 => {
                let now_ms = self.cache.clock().now_ms();
                let by_ms = self.rng.random_range(0..40);
                self.cache.clock().advance_to(now_ms + by_ms);
            }
            3 if self.tickets.len() < TICKETS_MAX => {
                self.tickets.push(self.cache.clock().ticket());
            }
            3..6 => self.put(),
            6 => self.leave(),
            7..9 => self.end_load(),
            _ => self.come(),
        }
    }

    fn any_key(&mut self) -> u32 {
        KEYS[self.rng.random_range(0..KEYS.len())]
    }

    fn any_answer(&mut self) -> (Answer, u64) {
        self.answers += 1;
        let found = match self.rng.random_range(0..4) {
            0 => Found::Absent,
            1 => Found::Failed("away"),
            _ => Found::Known(self.answers),
        };
        (found, self.rng.random_range(0..3) * 50)
    }

    /// Puts with a ticket that may be old, and notes it in the model.
    fn put(&mut self) {
        if self.tickets.is_empty() {
            return;
        }
        let chosen = self.rng.random_range(0..self.tickets.len());
        let ticket = self.tickets.swap_remove(chosen);
        let key = self.any_key();
        let (found, keep_ms) = self.any_answer();
        let landed = self.cache.put(&key, ticket, found, keep_ms);
        assert_eq!(landed, self.note(key, ticket, found, keep_ms));
    }

    fn note(&mut self, key: u32, ticket: Ticket, found: Answer, keep_ms: u64) -> bool {
        let from_ms = match found {
            Found::Failed(_) => self.cache.clock().now_ms(),
            _ => ticket.at_ms,
        };
        let put = Put {
            began: ticket.number,
            deadline_ms: from_ms + keep_ms,
            found,
        };
        let slot = self.cache.slot(&key);
        self.model.put(key, slot, put, keep_ms)
    }

    /// Somebody calls, if memory has no answer.
    fn come(&mut self) {
        let chosen = self.rng.random_range(0..KEYS.len());
        let key: &'static u32 = &KEYS[chosen];
        let is_later = self.rng.random();
        let slot = self.cache.slot(key);
        let now_ms = self.cache.clock().now_ms();
        let is_answered = if is_later {
            self.model.failure(*key, slot, now_ms).is_some()
        } else {
            self.model.get(*key, slot, now_ms).is_some()
        };
        if is_answered || self.calls.len() == CALLS_MAX {
            return;
        }
        let came = self.cache.clock().last_number();
        let call = if is_later {
            Call::later(self.cache, key)
        } else {
            Call::get(self.cache, key)
        };
        let invalidated = self.model.last_invalidation(slot);
        let mut caller = Caller {
            call,
            key: *key,
            is_later,
            came,
            came_ms: now_ms,
            invalidated,
            began: None,
        };
        caller.note_begin(self.cache);
        self.calls.push(caller);
    }

    /// Somebody goes away.
    fn leave(&mut self) {
        if self.calls.is_empty() {
            return;
        }
        let chosen = self.rng.random_range(0..self.calls.len());
        self.calls.swap_remove(chosen).call.cancel();
        self.poll_all(None);
    }

    /// A load ends; those who wait are told, if they may be.
    fn end_load(&mut self) {
        let loading = |caller: &Caller<'_>| caller.began.is_some();
        let Some(chosen) = self.calls.iter().position(loading) else {
            return;
        };
        let caller = self.calls.swap_remove(chosen);
        let ticket = caller.began.unwrap();
        let (found, keep_ms) = self.any_answer();
        let own = self.rng.random_ratio(1, 8);
        let (found, keep_ms, loaded) = if own {
            let found = Found::Failed("mine");
            (found, 0, Loaded::failed_for_me("mine"))
        } else {
            (found, keep_ms, Loaded::keep(found, keep_ms))
        };
        let key = caller.key;
        assert_eq!(caller.call.end(loaded), found);
        let landed = self.note(key, ticket, found, keep_ms);
        let told = Told {
            key,
            began: ticket,
            found,
            is_lasting_failure: landed && matches!(found, Found::Failed(_)),
        };
        self.poll_all((!own).then_some(&told));
    }

    /// Polls all until nothing moves: who had a turn and needed none leaves it
    /// to somebody who may have been polled before.
    fn poll_all(&mut self, told: Option<&Told>) {
        loop {
            let waiting = self.calls.len();
            self.poll_each(told);
            if self.calls.len() == waiting {
                return;
            }
        }
    }

    /// Whoever gets an answer must be allowed to, and whoever is allowed to
    /// must get it.
    fn poll_each(&mut self, told: Option<&Told>) {
        for mut caller in std::mem::take(&mut self.calls) {
            let told = told.filter(|told| caller.may_have(told));
            match (caller.call.poll(), told) {
                (Some(found), Some(told)) => assert_eq!(found, told.found),
                (Some(found), None) => {
                    // It had its turn, and found that something had landed.
                    assert!(!caller.is_later, "it may have only a later load");
                    let slot = self.cache.slot(&caller.key);
                    let now_ms = self.cache.clock().now_ms();
                    assert_eq!(Some(found), self.model.get(caller.key, slot, now_ms));
                }
                (None, Some(_)) => panic!("it was not told"),
                (None, None) => {
                    caller.note_begin(self.cache);
                    self.calls.push(caller);
                }
            }
        }
    }

    /// Memory and model say the same of every key, and one loads each key
    /// that is waited for.
    fn compare(&self) {
        for key in KEYS {
            let now_ms = self.cache.clock().now_ms();
            let model = self.model.get(key, self.cache.slot(&key), now_ms);
            assert_eq!(self.cache.get(&key), model, "key {key} at {now_ms} ms");
            let value = self.model.on_shelf(key).0.map(|put| put.found);
            assert_eq!(self.cache.last_known(&key).map(Found::Known), value);
            let undisputed = self.model.undisputed(key, self.cache.slot(&key));
            assert_eq!(
                self.cache.last_undisputed(&key).map(Found::Known),
                undisputed
            );
            let mine = self.calls.iter().filter(|caller| caller.key == key);
            let loading = mine.clone().filter(|caller| caller.began.is_some());
            assert_eq!(loading.count(), mine.count().min(1), "loads of key {key}");
        }
    }
}

/// What a load told.
struct Told {
    key: u32,
    began: Ticket,
    found: Answer,
    is_lasting_failure: bool,
}

impl Caller<'_> {
    fn note_begin(&mut self, cache: &Numbers) {
        if self.began.is_none() && self.call.began.get() {
            // Nothing else happens at the same time, so it is the last one.
            self.began = Some(Ticket {
                number: cache.clock().last_number(),
                at_ms: cache.clock().now_ms(),
            });
        }
    }

    fn may_have(&self, told: &Told) -> bool {
        if self.key != told.key {
            return false;
        }
        let is_allowed = if self.is_later {
            told.began.number > self.came
        } else {
            self.came_ms < told.began.at_ms + AGE_MAX_MS
        };
        told.began.number > self.invalidated && (is_allowed || told.is_lasting_failure)
    }
}
