//! Random cases that can be drawn again, and shortened when they fail.

use std::any::Any;
use std::fmt::Debug;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Draws the same numbers for the same seed, for ever (`SplitMix64`, Steele and
/// others, 2014): a seed noted in an issue is still good after any update.
pub(crate) struct Rng(u64);

impl Rng {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Below `bound`, which is small: the bias of the remainder does not matter.
    pub(crate) fn below(&mut self, bound: u32) -> u32 {
        u32::try_from(self.next() % u64::from(bound)).unwrap()
    }

    pub(crate) fn between(&mut self, low: u32, high: u32) -> u32 {
        low + self.below(high - low + 1)
    }

    pub(crate) fn chance(&mut self, percent: u32) -> bool {
        self.below(100) < percent
    }

    pub(crate) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(u32::try_from(from.len()).unwrap()) as usize]
    }
}

/// A case made of steps that can be left out.
pub(crate) trait Case: Clone + Debug {
    type Step: Clone;
    fn steps(&mut self) -> &mut Vec<Self::Step>;
}

/// Runs `check` on as many random cases. A failing one is shortened, and told
/// with the seed that makes it the first case of the next run.
pub(crate) fn for_cases<C: Case>(
    name: &str,
    cases: u32,
    draw: impl Fn(&mut Rng) -> C,
    check: impl Fn(&C) -> Result<(), String>,
) {
    let first = number("HOLDFAST_TEST_SEED").unwrap_or(0x5eed);
    let factor = number("HOLDFAST_TEST_CASES").unwrap_or(1);
    for case_no in 0..u64::from(cases) * factor {
        let seed = first.wrapping_add(case_no.wrapping_mul(0xd134_2543_de82_ef95));
        let mut case = draw(&mut Rng::new(seed));
        let Err(why) = attempt(&check, &case) else {
            continue;
        };
        let why = shorten(&mut case, &check).unwrap_or(why);
        panic!("{name}: case {case_no} fails, HOLDFAST_TEST_SEED={seed}\n{case:?}\n{why}");
    }
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{variable} must be a number, not {text:?}")),
    )
}

/// The machine's own panics (a counter below zero) are failures like any other.
fn attempt<C>(check: &impl Fn(&C) -> Result<(), String>, case: &C) -> Result<(), String> {
    catch_unwind(AssertUnwindSafe(|| check(case)))
        .unwrap_or_else(|panic| Err(format!("panic: {}", message(&*panic))))
}

fn message(panic: &(dyn Any + Send)) -> String {
    panic
        .downcast_ref::<String>()
        .cloned()
        .or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string))
        .unwrap_or_default()
}

/// Leaves out ever smaller runs of steps as long as the case still fails;
/// returns why the shortest one does.
fn shorten<C: Case>(case: &mut C, check: &impl Fn(&C) -> Result<(), String>) -> Option<String> {
    // What panics on the way would drown the report.
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let mut last = None;
    let mut chunk = case.steps().len().div_ceil(2);
    while chunk > 0 {
        let mut at = 0;
        let mut shorter = false;
        while at < case.steps().len() {
            let mut candidate = case.clone();
            let end = (at + chunk).min(candidate.steps().len());
            candidate.steps().drain(at..end);
            match attempt(check, &candidate) {
                Err(why) => {
                    *case = candidate;
                    last = Some(why);
                    shorter = true;
                }
                Ok(()) => at += chunk,
            }
        }
        if !shorter || chunk > 1 {
            chunk /= 2;
        }
    }
    std::panic::set_hook(hook);
    last
}
