//! What this server remembers of the store, so that most requests of a sale need
//! none of it: nearly all Reserves come after an item is sold out, and most page
//! views only ask for the stock.
//!
//! Three memories, each bounded, of what the store said about items:
//!
//! - *marks*: there was too little to sell, or the item was not for sale. A mark
//!   lives for the deadline that an operator may set, and refuses; it never
//!   grants anything.
//! - *views*: the settings. No mark refuses without a view that was younger than
//!   a quarter of a second when the caller came, so that an operator's change is
//!   obeyed here by the time the operator is told that it is done.
//! - *stock*: what product pages show, at most a second old.
//!
//! ⚔ A mark refuses only whoever says that these ids were never sent before. Who
//! may have sent them may own units: the home shard is asked, one operation, and
//! the mark only spares the look at all others.
//!
//! ⚔ A mark is a look at the store at which nothing came free; it carries what
//! was found, and refuses larger quantities only. Whatever makes it untrue is a
//! notice ([`shards::store::Notice`]), which takes away what is remembered, and
//! what is being found out: [`cache`] compares numbers for that. A notice that
//! is lost costs at most the deadline.

mod hot;
mod mark;
mod news;
mod questions;
mod stock;
mod view;

use std::sync::Arc;
use std::time::{Duration, Instant};

use cache::{Bound, Cache, Clock, Found, Limits, Sizes};
use shards::ids::ItemId;
use shards::inventory::{Error, Inventory, Reserve, Reserved, Stock};
use shards::rules::{Rule, holds};
use shards::store::{Deadline, StoreError};

use crate::clock;
use hot::HotItems;
use mark::Mark;
use view::{Judgement, View};

pub(crate) use hot::HotItem;
use news::{Heard, HeardSoFar};

/// How often the clock of these memories moves.
pub(crate) const TICK: Duration = Duration::from_millis(5);
/// What that clock is slow by, at most: a tick, the millisecond that is cut off,
/// and what its task is late on a busy machine. Taken off each deadline.
const LAG_MS: u64 = 20;
/// How long settings are believed. Whoever changed them waits for so long before
/// saying that all servers obey.
const VIEW_AGE_MAX: Duration = Duration::from_millis(250);
/// How long a failure is the answer, so that an outage does not make refusals the
/// dearest answers of all.
const FAILURE_AGE_MAX: Duration = Duration::from_millis(200);
/// Longest wait for the store where many wait for one answer.
const ASKING_TIME_MAX: Duration = Duration::from_secs(2);
/// What is kept of a caller's time to be told something.
const TELLING: Duration = Duration::from_millis(5);
/// Longest deadline of marks.
pub const MARK_DEADLINE_MAX: Duration = Duration::from_secs(2);

/// Items that are remembered in each memory.
const KNOWN: Bound = Bound {
    entries_max: 16_384,
    bytes_max: 16 << 20,
};
/// Ids that are remembered to be no item's, in each memory. Whoever invents more
/// has the store asked again.
const UNKNOWN: Bound = Bound {
    entries_max: 16_384,
    bytes_max: 8 << 20,
};
const LIMITS: Limits = Limits {
    known: KNOWN,
    unknown: UNKNOWN,
};

/// How much may be answered from memory.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// How long a mark refuses without the store being asked; at most
    /// [`MARK_DEADLINE_MAX`]. Zero: no Reserve is refused from memory.
    pub mark_deadline: Duration,
    /// Take no caller's word that it never sent a request before.
    pub ignore_first_attempt: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            mark_deadline: Duration::from_secs(1),
            ignore_first_attempt: false,
        }
    }
}

/// Whether a request may have been sent before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Attempt {
    /// Its caller says that it never was.
    First,
    /// Its caller may own units by it.
    PerhapsRepeated,
}

/// A decision, and where it came from.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) reserved: Reserved,
    /// Memory decided: this says nothing of earlier attempts.
    pub(crate) from_memory: bool,
}

/// What a [`Tier1`] did since it was made.
#[derive(Debug)]
pub(crate) struct Figures {
    pub(crate) views: cache::Figures,
    pub(crate) marks: cache::Figures,
    pub(crate) stock: cache::Figures,
    pub(crate) heard: HeardSoFar,
}

/// See the module's manual.
#[derive(Debug)]
pub(crate) struct Tier1 {
    inventory: Arc<Inventory>,
    settings: Settings,
    born: Instant,
    clock: Arc<Clock>,
    views: Cache<ItemId, View, Error>,
    marks: Cache<ItemId, Mark, ()>,
    stock: Cache<ItemId, Arc<Stock>, Error>,
    heard: Heard,
    hot: HotItems,
}

impl Tier1 {
    /// An empty one over this inventory, whose store it listens to.
    pub(crate) fn new(inventory: Arc<Inventory>, settings: Settings) -> Arc<Self> {
        let clock = Arc::new(Clock::default());
        let key = |item: &ItemId| item.as_str().len();
        let views = Sizes {
            key,
            ..Sizes::INLINE
        };
        let marks = Sizes {
            key,
            ..Sizes::INLINE
        };
        let stock = Sizes {
            key,
            value: |_: &Arc<Stock>| size_of::<Stock>(),
            ..Sizes::INLINE
        };
        let tier1 = Arc::new(Self {
            settings,
            views: Cache::new(LIMITS, views, Arc::clone(&clock)),
            marks: Cache::new(LIMITS, marks, Arc::clone(&clock)),
            stock: Cache::new(LIMITS, stock, Arc::clone(&clock)),
            born: clock::now(),
            clock,
            heard: Heard::default(),
            hot: HotItems::default(),
            inventory,
        });
        tier1.listen();
        tier1
    }

    /// Moves its clock, for ever.
    pub(crate) async fn keep_time(self: Arc<Self>) {
        self.clock.tick_every(TICK).await;
    }

    /// What its memories did so far.
    pub(crate) fn figures(&self) -> Figures {
        Figures {
            views: self.views.figures(),
            marks: self.marks.figures(),
            stock: self.stock.figures(),
            heard: self.heard.so_far(),
        }
    }

    /// The items that are refused most.
    pub(crate) fn hot_items(&self) -> Vec<HotItem> {
        self.hot.so_far()
    }

    /// Ends when every server works by what this one changed just now: those that
    /// were not told of it ask again by then.
    pub(crate) async fn obeyed_everywhere(&self) {
        if self.inventory.is_shared() {
            clock::after(VIEW_AGE_MAX).await;
        }
    }

    /// Moves the clock of its memories on to now. ⚔ On a machine that is busy the
    /// task that keeps time may be late, and what is too old would be believed.
    fn be_in_time(&self) {
        if !holds(Rule::MemoryReadsTheClock) {
            return;
        }
        let passed = clock::now().duration_since(self.born).as_millis();
        let now_ms = u64::try_from(passed).unwrap_or(u64::MAX);
        self.clock.advance_to(now_ms);
    }

    /// Decides a Reserve: from memory where that may be, else in the store.
    pub(crate) async fn reserve(
        self: &Arc<Self>,
        ask: &Reserve,
        attempt: Attempt,
        deadline: Deadline,
    ) -> Result<Answer, Error> {
        let first = attempt == Attempt::First && !self.settings.ignore_first_attempt
            || !holds(Rule::MarksRefuseFirstAttempts);
        self.be_in_time();
        if first && let Some(reserved) = self.refused_by_now(ask) {
            return Ok(Answer::of_memory(reserved));
        }
        // Apart from that, since it is large, and would be copied about for
        // nothing by all who are refused: a sixth of what a refusal costs.
        Box::pin(self.find_out(ask, first, deadline)).await
    }

    /// Decides a Reserve that memory does not refuse as it is.
    async fn find_out(
        self: &Arc<Self>,
        ask: &Reserve,
        first: bool,
        deadline: Deadline,
    ) -> Result<Answer, Error> {
        if self.keep_marks_ms() == 0 {
            let reserved = self.inventory.reserve(ask, deadline).await?;
            return Ok(Answer::of_the_store(reserved));
        }
        if first {
            if let Some(expected) = self.expected_refusal(ask) {
                let refusal = in_time(deadline, self.remembered_refusal(ask, expected));
                if let Some(reserved) = Box::pin(refusal).await? {
                    return Ok(Answer::of_memory(reserved));
                }
            }
        } else if let Some(decided) = self.decided_at_home(ask, deadline).await {
            return decided.map(Answer::of_the_store);
        }
        if !self.inventory.remembers(&ask.item) {
            let found = in_time(deadline, self.find_item(&ask.item, first));
            Box::pin(found).await??;
        }
        let ticket = self.clock.ticket();
        let noted = self.inventory.reserve_and_note(ask, deadline).await?;
        if let Some(mark) = Mark::of(&noted) {
            self.remember(&ask.item, ticket, mark);
        }
        Ok(Answer::of_the_store(noted.reserved))
    }

    /// What a mark says to whoever asks for the first time, where all that is
    /// needed for it is known.
    fn refused_by_now(&self, ask: &Reserve) -> Option<Reserved> {
        let item = &ask.item;
        let mark = self.believed_mark(item)?;
        if !mark.refuses(ask.quantity) {
            return None;
        }
        let Some(Found::Known(view)) = self.views.get(item) else {
            return None;
        };
        let reserved = match view.judge(self.clock.now_ms()) {
            Judgement::Refused(reserved) => reserved,
            Judgement::OnSale if view.permits(ask.quantity) => mark.refusal(ask.quantity)?,
            Judgement::OnSale | Judgement::Unsure => return None,
        };
        self.hot.count(item);
        Some(reserved)
    }

    fn believed_mark(&self, item: &ItemId) -> Option<Mark> {
        match self.marks.get(item)? {
            Found::Known(mark) => Some(mark),
            Found::Absent | Found::Failed(()) => None,
        }
    }

    /// Why it would be refused, where that is over, or nobody knows whether it
    /// still holds. Not where news of the item ended it: there are units, or were
    /// a moment ago, and whoever wants them does not wait for a look on top.
    fn expected_refusal(&self, ask: &Reserve) -> Option<Mark> {
        let expected = self.marks.last_undisputed(&ask.item)?;
        expected.refuses(ask.quantity).then_some(expected)
    }

    /// Whether it is refused: of those who expect it one asks the store for all.
    async fn remembered_refusal(
        self: &Arc<Self>,
        ask: &Reserve,
        expected: Mark,
    ) -> Option<Reserved> {
        let item = &ask.item;
        let begun = self.clock.ticket();
        let mark = async {
            match expected {
                Mark::Short { .. } => self.mark(item).await,
                Mark::NotForSale | Mark::ForSale => None,
            }
        };
        // Together: each may take as long as the store does.
        let (view, mark) = tokio::join!(self.view(item), mark);
        let Found::Known(view) = view else {
            return None;
        };
        let reserved = match view.judge(self.clock.now_ms()) {
            Judgement::Refused(reserved) => reserved,
            Judgement::Unsure => return None,
            Judgement::OnSale if !view.permits(ask.quantity) => return None,
            Judgement::OnSale if expected == Mark::NotForSale => {
                self.remember(item, begun, Mark::ForSale);
                return None;
            }
            Judgement::OnSale => mark?.refusal(ask.quantity)?,
        };
        self.hot.count(item);
        Some(reserved)
    }

    /// What the home shard says to whoever may own units, where a mark says that
    /// the others have too little. `None`: the whole way has to be gone.
    async fn decided_at_home(
        &self,
        ask: &Reserve,
        deadline: Deadline,
    ) -> Option<Result<Reserved, Error>> {
        self.believed_mark(&ask.item)?.refusal(ask.quantity)?;
        match self.inventory.reserve_at_home(ask, deadline).await {
            Ok(Reserved::Short {
                available: at_home, ..
            }) => {
                // There may have been news since.
                let mark = self.believed_mark(&ask.item)?;
                let refusal = mark.refusal(ask.quantity)?;
                mark.allows_for(at_home).then_some(Ok(refusal))
            }
            decided => Some(decided),
        }
    }

    fn remember(&self, item: &ItemId, ticket: cache::Ticket, mark: Mark) {
        self.hot.enter(item);
        let found = Found::Known(mark);
        self.marks.put(item, ticket, found, self.keep_marks_ms());
    }

    fn keep_marks_ms(&self) -> u64 {
        keep_ms(self.settings.mark_deadline.min(MARK_DEADLINE_MAX))
    }
}

impl Answer {
    fn of_memory(reserved: Reserved) -> Self {
        Self {
            reserved,
            from_memory: true,
        }
    }

    fn of_the_store(reserved: Reserved) -> Self {
        Self {
            reserved,
            from_memory: false,
        }
    }
}

/// For how long something is kept that must not be older than this.
fn keep_ms(age_max: Duration) -> u64 {
    let ms = u64::try_from(age_max.as_millis()).unwrap_or(u64::MAX);
    ms.saturating_sub(LAG_MS)
}

/// Waits, but not longer than the caller does.
async fn in_time<T>(deadline: Deadline, wait: impl Future<Output = T>) -> Result<T, Error> {
    let Some(deadline) = deadline else {
        return Ok(wait.await);
    };
    let end = deadline.checked_sub(TELLING).unwrap_or(deadline);
    let waited = tokio::time::timeout_at(end.into(), wait).await;
    waited.map_err(|_| no_answer())
}

fn no_answer() -> Error {
    StoreError::Unavailable("it does not answer in time".into()).into()
}

#[cfg(test)]
mod tests;
