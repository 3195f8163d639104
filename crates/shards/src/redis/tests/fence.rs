//! The fence in a small model, explored exhaustively: servers that work and are
//! acknowledged or not, and processes that take the stripe over with any shorter
//! history, the same process also a second time. No acknowledged operation may
//! be missing without some server noticing, once each has visited.

use std::collections::{BTreeSet, HashSet};

use crate::redis::fence::Memory;
use crate::redis::script::{Adoption, Incarnation, Seen};
use crate::rules::{Rule, holds};

const LOG_LEN_MAX: usize = 16;

/// A stripe as far as the fence goes: its guard, and which operations it has.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Stripe {
    number: u64,
    incarnation: [u8; 2],
    seq: u64,
    log: Vec<(u64, [u8; 2], u64)>,
    has: BTreeSet<u8>,
}

#[derive(Clone)]
struct World {
    /// All that the stripe ever was on this line of history; the last one is.
    line: Vec<Stripe>,
    /// Who runs it: run id and replication id.
    process: [u8; 2],
    memories: Vec<Memory>,
    acknowledged: BTreeSet<u8>,
    operations: u8,
    takeovers: u8,
    noticed: bool,
}

struct Bounds {
    servers: usize,
    operations: u8,
    takeovers: u8,
}

fn incarnation(process: [u8; 2]) -> Incarnation {
    let [run, replication] = process;
    let mut bytes = [run; 40];
    if holds(Rule::IncarnationIsBothIds) {
        bytes[20..].fill(replication);
    }
    Incarnation(bytes)
}

impl World {
    fn new(servers: usize) -> Self {
        let process = [0, 0];
        Self {
            line: vec![Stripe {
                number: 1,
                incarnation: process,
                seq: 0,
                log: vec![(1, process, 0)],
                has: BTreeSet::new(),
            }],
            process,
            memories: vec![Memory::default(); servers],
            acknowledged: BTreeSet::new(),
            operations: 0,
            takeovers: 0,
            noticed: false,
        }
    }

    fn now(&self) -> Stripe {
        self.line.last().unwrap().clone()
    }

    /// What a server does at every contact: it takes the stripe over for the
    /// process that it finds, works, and compares.
    fn run(&mut self, server: usize, operation: Option<u8>, acknowledged: bool) {
        let mut stripe = self.now();
        if incarnation(stripe.incarnation) != incarnation(self.process) {
            stripe.number += 1;
            stripe.incarnation = self.process;
            stripe.log.push((stripe.number, self.process, stripe.seq));
            if stripe.log.len() > LOG_LEN_MAX {
                stripe.log.remove(0);
            }
            stripe.seq += 1;
            self.line.push(stripe.clone());
        }
        stripe.seq += 1;
        stripe.has.extend(operation);
        self.line.push(stripe.clone());
        let seen = Seen {
            number: stripe.number,
            incarnation: incarnation(stripe.incarnation),
            seq: stripe.seq,
            releases: 0,
            log: stripe
                .log
                .iter()
                .map(|(number, process, seq)| Adoption {
                    number: *number,
                    incarnation: incarnation(*process),
                    seq: *seq,
                })
                .collect(),
        };
        let memory = &mut self.memories[server];
        if memory.judge(&seen).is_err() {
            self.noticed = true;
        } else if acknowledged {
            memory.acknowledged(&seen);
            self.acknowledged.extend(operation);
        }
    }

    fn takes_over(&mut self, run: u8, history: usize) {
        self.takeovers += 1;
        self.line.truncate(history);
        self.process = [run, self.takeovers];
    }

    /// Whether something acknowledged is gone and nobody will ever know.
    fn is_silent(&self) -> bool {
        let mut end = self.clone();
        for server in 0..end.memories.len() {
            end.run(server, None, true);
        }
        !end.noticed && !end.acknowledged.is_subset(&end.now().has)
    }

    fn next(&self, bounds: &Bounds) -> Vec<Self> {
        let mut all = Vec::new();
        let mut with = |step: &dyn Fn(&mut Self)| {
            let mut next = self.clone();
            step(&mut next);
            all.push(next);
        };
        if self.operations < bounds.operations {
            for server in 0..bounds.servers {
                for acknowledged in [true, false] {
                    with(&|next| {
                        next.operations += 1;
                        next.run(server, Some(next.operations), acknowledged);
                    });
                }
            }
        }
        if self.takeovers < bounds.takeovers {
            for run in 0..2 {
                for history in 1..=self.line.len() {
                    with(&|next| next.takes_over(run, history));
                }
            }
        }
        all
    }

    fn key(&self) -> impl Eq + std::hash::Hash + use<> {
        let memories = format!("{:?}", self.memories);
        (
            self.line.clone(),
            self.process,
            memories,
            self.acknowledged.clone(),
        )
    }
}

/// States seen, and how many of them lost something in silence.
fn explore(bounds: &Bounds) -> (usize, usize) {
    let mut seen = HashSet::new();
    let mut open = vec![World::new(bounds.servers)];
    let mut silent = 0;
    while let Some(world) = open.pop() {
        if world.noticed || !seen.insert(world.key()) {
            continue;
        }
        silent += usize::from(world.is_silent());
        open.extend(world.next(bounds));
    }
    (seen.len(), silent)
}

#[test]
fn no_acknowledged_operation_goes_missing_unnoticed() {
    for (servers, operations, takeovers) in [(1, 3, 3), (2, 3, 2), (2, 2, 3), (3, 2, 2)] {
        let bounds = Bounds {
            servers,
            operations,
            takeovers,
        };
        let (states, silent) = explore(&bounds);
        assert!(states > 100, "{states} states are no exploration");
        assert_eq!(
            silent, 0,
            "of {states} states with {servers} servers, {operations} operations, {takeovers} takeovers"
        );
        println!(
            "{servers} servers, {operations} operations, {takeovers} takeovers: {states} states"
        );
    }
}

#[test]
fn a_release_is_the_end_of_what_was_remembered() {
    let seen = |releases, number, seq| Seen {
        number,
        incarnation: incarnation([0, 0]),
        seq,
        releases,
        log: Vec::new(),
    };
    let mut memory = Memory::default();
    memory.acknowledged(&seen(0, 1, 9));
    assert!(memory.judge(&seen(0, 1, 8)).is_err());
    assert_eq!(memory.judge(&seen(1, 1, 8)), Ok(()));
    memory.acknowledged(&seen(1, 1, 8));
    assert!(memory.judge(&seen(1, 1, 7)).is_err());
    // And a release that is gone is a loss, too.
    assert!(memory.judge(&seen(0, 1, 20)).is_err());
}
