//! Visits every state that can be reached, the nearest first, so that what it
//! finds broken it finds by the shortest way.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use crate::apply::Log;
use crate::livelock::Graph;
use crate::model::Model;
use crate::print::print;
use crate::properties::{self, Broken};
use crate::scenario::Scenario;
use crate::steps::Step;
use crate::world::{Stage, World};

/// What a whole exploration has seen.
#[derive(Debug, Default)]
pub(crate) struct Explored {
    pub states: usize,
    pub edges: usize,
    /// Steps of the longest of the shortest ways.
    pub depth: u32,
    /// How the requests ended, and in how many states.
    pub ends: BTreeMap<String, usize>,
    pub took: Duration,
}

/// What is broken, and how one gets there.
#[derive(Debug)]
pub(crate) struct Failure {
    pub words: String,
    pub trace: Vec<String>,
    pub states: usize,
}

struct Explorer {
    model: Model,
    known: HashMap<u128, u32>,
    /// Of each state: the one it was found from, and by which step.
    parents: Vec<(u32, Option<Step>)>,
    depths: Vec<u32>,
    graph: Graph,
    queue: VecDeque<(u32, World)>,
    explored: Explored,
}

/// Explores a scenario.
pub(crate) fn explore(scenario: Scenario) -> Result<Explored, Failure> {
    let begun = read_clock();
    let mut explorer = Explorer {
        model: Model::new(scenario),
        known: HashMap::new(),
        parents: Vec::new(),
        depths: Vec::new(),
        graph: Graph {
            edges: Vec::new(),
            undecided: Vec::new(),
            time_helps: Vec::new(),
        },
        queue: VecDeque::new(),
        explored: Explored::default(),
    };
    let first = explorer.model.begin();
    explorer.meet(first, 0, None)?;
    while let Some((from, world)) = explorer.queue.pop_front() {
        explorer.visit(from, &world)?;
    }
    if let Some(circle) = explorer.graph.livelock() {
        let words = "livelock: all who wait go on, and nobody gets an answer".to_owned();
        let mut trace = explorer.way_to(circle[0].0);
        let mut failure = explorer.failure(words, Vec::new());
        trace.extend(circle.iter().map(|(_, to)| *to));
        failure.trace = explorer.tell(&trace, None);
        let round = failure.trace.len() - circle.len();
        failure
            .trace
            .insert(round, "from here on, for ever:".to_owned());
        return Err(failure);
    }
    let mut explored = explorer.explored;
    explored.states = explorer.parents.len();
    explored.edges = explorer.graph.edges.len();
    explored.depth = explorer.depths.iter().copied().max().unwrap_or(0);
    explored.took = read_clock().duration_since(begun);
    Ok(explored)
}

impl Explorer {
    fn visit(&mut self, from: u32, world: &World) -> Result<(), Failure> {
        let steps = self.model.steps(world);
        if steps.is_empty() && !world.is_decided() {
            return Err(self.failed(from, None, "nobody can go on".to_owned()));
        }
        for step in steps {
            // A counter below zero stops the machine: that is a finding, too.
            let applied = catch_unwind(AssertUnwindSafe(|| {
                self.model.apply(world, step, &mut Log::default())
            }));
            let next = match applied {
                Ok(Ok(next)) => next,
                Ok(Err(Broken(words))) => return Err(self.failed(from, Some(step), words)),
                Err(_) => {
                    return Err(self.failed(from, Some(step), "the machine stopped".to_owned()));
                }
            };
            let to = self.meet(next, from, Some(step))?;
            self.graph.edges.push((from, to, step.mover()));
        }
        Ok(())
    }

    /// The number of a state, which is a new one if it was not known.
    fn meet(&mut self, world: World, from: u32, step: Option<Step>) -> Result<u32, Failure> {
        let new = u32::try_from(self.parents.len()).unwrap();
        match self.known.entry(print(&self.model, &world)) {
            Entry::Occupied(known) => return Ok(*known.get()),
            Entry::Vacant(vacant) => vacant.insert(new),
        };
        self.parents.push((from, step));
        let depth = if new == 0 {
            0
        } else {
            self.depths[from as usize] + 1
        };
        self.depths.push(depth);
        let undecided = (0..).zip(&world.requests);
        let undecided = undecided.filter(|(_, request)| request.stage.is_undecided());
        self.graph
            .undecided
            .push(undecided.fold(0, |bits, (n, _)| bits | 1_u8 << n));
        self.graph
            .time_helps
            .push(self.model.time_would_help(&world));
        if world.is_decided() {
            *self.explored.ends.entry(ends(&world)).or_default() += 1;
            if let Err(Broken(words)) = properties::at_rest(&self.model, &world) {
                return Err(self.failed(new, None, words));
            }
        }
        // A mutant may go on for ever.
        let known = self.model.scenario.states;
        if known > 0 && self.parents.len() > 10 * known + 10_000 {
            return Err(self.failed(new, None, "far more states than there were".to_owned()));
        }
        self.queue.push_back((new, world));
        Ok(new)
    }

    fn failed(&self, at: u32, step: Option<Step>, words: String) -> Failure {
        let trace = self.tell(&self.way_to(at), step);
        self.failure(words, trace)
    }

    fn failure(&self, words: String, trace: Vec<String>) -> Failure {
        Failure {
            words,
            trace,
            states: self.parents.len(),
        }
    }

    /// The states on the way to one, from the beginning.
    fn way_to(&self, state: u32) -> Vec<u32> {
        let mut way = vec![state];
        while let (from, Some(_)) = self.parents[way[way.len() - 1] as usize] {
            way.push(from);
        }
        way.reverse();
        way
    }

    /// Walks a way again and says what happens on it, and in one step more.
    fn tell(&self, way: &[u32], last: Option<Step>) -> Vec<String> {
        let mut log = Log::kept();
        let mut lines = Vec::new();
        let mut world = self.model.begin();
        for to in &way[1..] {
            for step in self.model.steps(&world) {
                let Ok(next) = self.model.apply(&world, step, &mut log) else {
                    log.take();
                    continue;
                };
                let said = log.take().join("; ");
                if self.known.get(&print(&self.model, &next)) == Some(to) {
                    lines.push(said);
                    world = next;
                    break;
                }
            }
        }
        if let Some(step) = last {
            let told = catch_unwind(AssertUnwindSafe(|| {
                drop(self.model.apply(&world, step, &mut log));
                log.take().join("; ")
            }));
            lines.push(told.unwrap_or_else(|_| format!("{step:?}")));
        }
        lines
    }
}

fn ends(world: &World) -> String {
    let stages = world.requests.iter().map(|request| match &request.stage {
        Stage::Ended(outcome) => format!("{outcome:?}"),
        _ => "Abandoned".to_owned(),
    });
    stages.collect::<Vec<_>>().join(" ")
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{} (after {} states)", self.words, self.states)?;
        let mut lines = (1..).zip(&self.trace);
        lines.try_for_each(|(n, line)| writeln!(f, "{n:4}. {line}"))
    }
}

impl std::fmt::Display for Explored {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            states,
            edges,
            depth,
            ends,
            took,
        } = self;
        let mut all = String::new();
        for (end, states) in ends {
            write!(all, "\n    {states:7} x {end}")?;
        }
        write!(
            f,
            "{states} states, {edges} steps, depth {depth}, {took:.1?}{all}"
        )
    }
}

#[expect(clippy::disallowed_methods, reason = "how long a test took")]
fn read_clock() -> std::time::Instant {
    std::time::Instant::now()
}
