//! Which items are refused most, for operators: a bounded number of them, since
//! items are as many as anybody likes.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock};
use std::time::{Duration, Instant};

use shards::ids::ItemId;

use crate::clock;

/// Items that are counted one by one.
const PLACES: usize = 16;
/// Who was not marked for so long makes room for another.
const COLD_AFTER: Duration = Duration::from_mins(5);

/// The items that were marked lately, first come first counted.
#[derive(Debug, Default)]
pub(super) struct HotItems(RwLock<Vec<Place>>);

#[derive(Debug)]
struct Place {
    item: ItemId,
    refusals: AtomicU64,
    marked: Instant,
}

/// An item, and how many requests for it memory has refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HotItem {
    pub(crate) item: ItemId,
    pub(crate) refusals: u64,
}

impl HotItems {
    /// An item gets a mark.
    pub(super) fn enter(&self, item: &ItemId) {
        let now = clock::now();
        let mut places = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(place) = places.iter_mut().find(|place| place.item == *item) {
            place.marked = now;
            return;
        }
        let place = Place {
            item: item.clone(),
            refusals: AtomicU64::new(0),
            marked: now,
        };
        if places.len() < PLACES {
            places.push(place);
            return;
        }
        let coldest = places.iter_mut().min_by_key(|place| place.marked);
        if let Some(coldest) = coldest
            && now.saturating_duration_since(coldest.marked) > COLD_AFTER
        {
            *coldest = place;
        }
    }

    /// Memory refuses a request for it.
    pub(super) fn count(&self, item: &ItemId) {
        let places = self.0.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(place) = places.iter().find(|place| place.item == *item) {
            place.refusals.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn so_far(&self) -> Vec<HotItem> {
        let places = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let read = |place: &Place| HotItem {
            item: place.item.clone(),
            refusals: place.refusals.load(Ordering::Relaxed),
        };
        places.iter().map(read).collect()
    }
}
