//! What memory did, read when somebody asks.

use std::fmt::Write as _;
use std::sync::Arc;

use cache::Figures;
use metrics::{Counter, Gauge, Unit};

use crate::tier1::Tier1;

const HITS: &str = "holdfast_tier1_hits_total";
const MISSES: &str = "holdfast_tier1_misses_total";
const LOADS: &str = "holdfast_tier1_loads_total";
const SHARED: &str = "holdfast_tier1_shared_loads_total";
const STALE: &str = "holdfast_tier1_stale_loads_total";
const EVICTIONS: &str = "holdfast_tier1_evictions_total";
const FORGETS: &str = "holdfast_tier1_forgets_total";
const ENTRIES: &str = "holdfast_tier1_entries";
const BYTES: &str = "holdfast_tier1_bytes";
const NOTICES: &str = "holdfast_notices_total";
const ITEM_REFUSALS: &str = "holdfast_tier1_item_refusals_total";

/// The figures of tier 1.
pub(super) struct Memories {
    tier1: Arc<Tier1>,
    views: Memory,
    marks: Memory,
    stock: Memory,
    notices: [Counter; 3],
}

/// Those of one memory.
struct Memory {
    hits: Counter,
    misses: Counter,
    loads: Counter,
    shared: Counter,
    stale: Counter,
    evictions: Counter,
    forgets: Counter,
    known: [Gauge; 2],
    unknown: [Gauge; 2],
}

impl Memories {
    /// Must be made within the figures that they belong to.
    pub(super) fn new(tier1: Arc<Tier1>) -> Self {
        describe();
        let notices =
            ["units", "changed", "missed"].map(|kind| metrics::counter!(NOTICES, "kind" => kind));
        Self {
            tier1,
            views: Memory::new("views"),
            marks: Memory::new("marks"),
            stock: Memory::new("stock"),
            notices,
        }
    }

    /// Sets them to what is true now.
    pub(super) fn read(&self) {
        let now = self.tier1.figures();
        self.views.set(now.views);
        self.marks.set(now.marks);
        self.stock.set(now.stock);
        let heard = [now.heard.units, now.heard.changed, now.heard.missed];
        for (counter, value) in self.notices.iter().zip(heard) {
            counter.absolute(value);
        }
    }

    /// The items that are refused most, as lines of their own: who is among them
    /// changes, and the recorder would keep each for ever.
    pub(super) fn write_hot_items(&self, text: &mut String) {
        let hot = self.tier1.hot_items();
        if hot.is_empty() {
            return;
        }
        // Writing to a string cannot fail; an id of an item needs no escapes.
        let _ = writeln!(
            text,
            "# HELP {ITEM_REFUSALS} Requests that memory refused, of the few items that were \
             marked lately.\n# TYPE {ITEM_REFUSALS} counter"
        );
        for hot in hot {
            let (item, refusals) = (hot.item, hot.refusals);
            let _ = writeln!(text, "{ITEM_REFUSALS}{{item=\"{item}\"}} {refusals}");
        }
    }
}

impl Memory {
    fn new(name: &'static str) -> Self {
        let counter = |metric: &'static str| metrics::counter!(metric, "memory" => name);
        let gauges = |of: &'static str| {
            [ENTRIES, BYTES].map(|metric| metrics::gauge!(metric, "memory" => name, "of" => of))
        };
        Self {
            hits: counter(HITS),
            misses: counter(MISSES),
            loads: counter(LOADS),
            shared: counter(SHARED),
            stale: counter(STALE),
            evictions: counter(EVICTIONS),
            forgets: counter(FORGETS),
            known: gauges("known"),
            unknown: gauges("unknown"),
        }
    }

    fn set(&self, now: Figures) {
        self.hits.absolute(now.hits);
        self.misses.absolute(now.misses);
        self.loads.absolute(now.loads);
        self.shared.absolute(now.shared);
        self.stale.absolute(now.stale);
        self.evictions.absolute(now.evictions);
        self.forgets.absolute(now.invalidations + now.forgets);
        let known = [now.known_entries, now.known_bytes];
        let unknown = [now.unknown_entries, now.unknown_bytes];
        for (gauges, values) in [(&self.known, known), (&self.unknown, unknown)] {
            for (gauge, value) in gauges.iter().zip(values) {
                gauge.set(value as f64);
            }
        }
    }
}

fn describe() {
    let counters = [
        (HITS, "Questions that a memory of tier 1 answered."),
        (MISSES, "Questions that a memory could not answer."),
        (LOADS, "Times that the store was asked for a memory's sake."),
        (
            SHARED,
            "Questions answered by what another asked the store.",
        ),
        (
            STALE,
            "Answers of the store that were not remembered, since something newer was known.",
        ),
        (EVICTIONS, "Entries that made room for others."),
        (
            FORGETS,
            "Times that an entry, or all of them, were given up because of a notice.",
        ),
        (
            NOTICES,
            "Notices of the store: that units came free, that an item changed, or that some \
             notices may have been missed.",
        ),
    ];
    for (name, help) in counters {
        metrics::describe_counter!(name, Unit::Count, help);
    }
    metrics::describe_gauge!(
        ENTRIES,
        Unit::Count,
        "Entries of a memory: known, or unknown (no such item, or not found out)."
    );
    metrics::describe_gauge!(BYTES, Unit::Bytes, "What the entries of a memory weigh.");
}
