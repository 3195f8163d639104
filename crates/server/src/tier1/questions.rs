//! What is asked of the store once for all who wait, and goes on when the one who
//! began it is gone.

use std::sync::Arc;

use cache::{Found, Loaded};
use shards::ids::ItemId;
use shards::inventory::Error;
use shards::rules::{Rule, holds};

use super::mark::Mark;
use super::view::View;
use super::{ASKING_TIME_MAX, FAILURE_AGE_MAX, Tier1, VIEW_AGE_MAX, in_time, keep_ms, no_answer};
use crate::{clock, tasks};

impl Tier1 {
    /// Makes sure that there is such an item: however many ask, the store is asked
    /// once.
    pub(super) async fn find_item(
        self: &Arc<Self>,
        item: &ItemId,
        first: bool,
    ) -> Result<(), Error> {
        let found = if first {
            self.view(item).await
        } else {
            self.load_view(item, false).await
        };
        match found {
            Found::Absent => Err(Error::ItemNotFound(item.clone())),
            // What failed for others is asked by this caller itself.
            Found::Known(_) | Found::Failed(_) => Ok(()),
        }
    }

    /// The settings as they were less than [`VIEW_AGE_MAX`] before this call.
    pub(super) async fn view(self: &Arc<Self>, item: &ItemId) -> Found<View, Error> {
        match self.views.get(item) {
            Some(found) => found,
            None => self.load_view(item, true).await,
        }
    }

    /// The same by a reading; unless this is a first attempt, by one that begins
    /// from now on: its caller may own units of an item made after the last one.
    ///
    /// However slow the store is, it is not asked by each caller: the reading goes
    /// on when the time of the one who began it is over.
    async fn load_view(self: &Arc<Self>, item: &ItemId, first: bool) -> Found<View, Error> {
        let (tier1, item) = (Arc::clone(self), item.clone());
        let reading = tasks::start(async move {
            let reading = tier1.read_view(&item);
            if first {
                let age_max_ms = shared_ms(keep_ms(VIEW_AGE_MAX));
                tier1.views.load(&item, age_max_ms, reading).await
            } else {
                tier1.views.load_later(&item, reading).await
            }
        });
        let cut_off = |tasks::CutOff| Found::Failed(no_answer());
        reading.await.unwrap_or_else(cut_off)
    }

    /// What was to be had less than the deadline of marks before this call; none
    /// if it could not be found out, or changed meanwhile.
    pub(super) async fn mark(self: &Arc<Self>, item: &ItemId) -> Option<Mark> {
        if let Some(mark) = self.believed_mark(item) {
            return Some(mark);
        }
        let (tier1, item) = (Arc::clone(self), item.clone());
        let look = tasks::start(async move {
            let look = tier1.look(&item);
            let age_max_ms = shared_ms(tier1.keep_marks_ms());
            tier1.marks.load(&item, age_max_ms, look).await
        });
        match look.await {
            Ok(Found::Known(mark)) => Some(mark),
            Ok(Found::Absent | Found::Failed(())) | Err(tasks::CutOff) => None,
        }
    }

    async fn read_view(&self, item: &ItemId) -> Loaded<View, Error> {
        let deadline = clock::later(ASKING_TIME_MAX);
        let reading = self.inventory.item(item, Some(deadline));
        match in_time(Some(deadline), reading).await.flatten() {
            Ok(entry) => {
                let now = self.inventory.store_time();
                let view = View::new(&entry, now, self.clock.now_ms());
                Loaded::keep(Found::Known(view), keep_ms(VIEW_AGE_MAX))
            }
            Err(Error::ItemNotFound(_)) => Loaded::keep(Found::Absent, self.keep_marks_ms()),
            Err(error) => Loaded::keep(Found::Failed(error), keep_ms(FAILURE_AGE_MAX)),
        }
    }

    async fn look(&self, item: &ItemId) -> Loaded<Mark, ()> {
        let deadline = clock::later(ASKING_TIME_MAX);
        let look = self.inventory.steady_stock(item, Some(deadline));
        match in_time(Some(deadline), look).await.flatten() {
            Ok(Some(stock)) => {
                self.hot.enter(item);
                Loaded::keep(Found::Known(Mark::from(stock)), self.keep_marks_ms())
            }
            // Told to those who wait; whoever comes next looks anew.
            Ok(None) => Loaded::keep(Found::Failed(()), 0),
            Err(_) => Loaded::keep(Found::Failed(()), keep_ms(FAILURE_AGE_MAX)),
        }
    }
}

/// ⚔ How old a question under way may be for whoever joins it: what it finds is
/// as old, however late it comes.
fn shared_ms(keep_ms: u64) -> u64 {
    if holds(Rule::SharedAnswersAreYoung) {
        keep_ms
    } else {
        u64::MAX
    }
}
