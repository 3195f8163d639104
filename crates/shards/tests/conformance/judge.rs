//! Judges a sale by what its callers were told, and by nothing else.

use std::sync::atomic::{AtomicU64, Ordering};

/// Orders the begins and ends of calls.
#[derive(Default)]
pub(crate) struct Ticks(AtomicU64);

impl Ticks {
    pub(crate) fn next(&self) -> u64 {
        self.0.fetch_add(1, Ordering::SeqCst)
    }
}

/// Units that somebody was given.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Grant {
    /// When the call that got them began.
    pub begin: u64,
    pub units: u64,
    /// From when on they were surely free again; `None`: never.
    pub back: Option<u64>,
}

/// A call that was told that fewer units than these are left.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Refusal {
    pub begin: u64,
    pub end: u64,
    pub wanted: u64,
}

/// Refusals that were not true: as many units as were asked for, plus all that
/// others were granted meanwhile, were free during the whole call.
///
/// A unit counts as free only if nobody who had asked before the call could
/// have had it: so no true refusal is called false, whatever happened within
/// overlapping calls.
pub(crate) fn false_refusals(stock: u64, grants: &[Grant], refusals: &[Refusal]) -> Vec<String> {
    let mut found = Vec::new();
    for refusal in refusals {
        let Refusal { begin, end, wanted } = *refusal;
        let sum = |counts: &dyn Fn(&&Grant) -> bool| -> u64 {
            grants.iter().filter(counts).map(|grant| grant.units).sum()
        };
        let taken = sum(&|g| g.begin < begin && g.back.is_none_or(|back| back > begin));
        let meanwhile = sum(&|g| (begin..=end).contains(&g.begin));
        if stock.saturating_sub(taken) >= wanted + meanwhile {
            found.push(format!(
                "{refusal:?}: of {stock} units at most {taken} were taken, and {meanwhile} meanwhile"
            ));
        }
    }
    found
}

#[test]
fn a_refusal_while_units_were_free_is_found() {
    let grant = |begin, units, back| Grant { begin, units, back };
    let refusal = |begin, wanted| Refusal {
        begin,
        end: begin + 2,
        wanted,
    };
    let grants = [grant(0, 6, None), grant(1, 2, Some(20)), grant(11, 1, None)];
    let judge = |refusal| false_refusals(10, &grants, &[refusal]).len();
    assert_eq!(
        judge(refusal(10, 3)),
        0,
        "2 free, 1 of them given meanwhile"
    );
    assert_eq!(judge(refusal(10, 1)), 1);
    assert_eq!(judge(refusal(13, 1)), 1);
    assert_eq!(judge(refusal(13, 2)), 0);
    assert_eq!(judge(refusal(20, 3)), 1, "two came back");
    assert_eq!(judge(refusal(20, 4)), 0);
}
