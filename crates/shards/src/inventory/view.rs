//! What this process remembers of catalog entries, so that a Reserve need not
//! read the catalog first. A remembered entry is at most a second old; shards
//! refuse older settings than their own by themselves, so being late costs a
//! question, never a wrong answer.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::ids::ItemId;
use crate::machine::Entry;

/// How long an entry is believed.
const VIEW_AGE_MAX: Duration = Duration::from_secs(1);
/// Most entries remembered.
const VIEWS_MAX: usize = 16_384;

/// The entries of items in use.
#[derive(Debug, Default)]
pub(super) struct Views {
    by_item: Mutex<HashMap<ItemId, View>>,
}

#[derive(Debug)]
struct View {
    entry: Arc<Entry>,
    read: Instant,
}

impl Views {
    /// The entry, if it was read within the last second.
    pub(super) fn get(&self, item: &ItemId) -> Option<Arc<Entry>> {
        let by_item = self.by_item.lock().unwrap_or_else(PoisonError::into_inner);
        let view = by_item.get(item)?;
        (read_clock().duration_since(view.read) < VIEW_AGE_MAX).then(|| Arc::clone(&view.entry))
    }

    /// Remembers what was read by a question that was asked at `asked`.
    pub(super) fn put(&self, entry: Entry, asked: Instant) -> Arc<Entry> {
        let entry = Arc::new(entry);
        let mut by_item = self.by_item.lock().unwrap_or_else(PoisonError::into_inner);
        if by_item.len() >= VIEWS_MAX {
            by_item.retain(|_, view| asked.saturating_duration_since(view.read) < VIEW_AGE_MAX);
            if by_item.len() >= VIEWS_MAX {
                by_item.clear();
            }
        }
        // What was read earlier, or is an earlier version, tells nothing new.
        let older = by_item.get(&entry.item).is_some_and(|known| {
            if known.entry.generation == entry.generation {
                known.entry.version > entry.version
            } else {
                known.read > asked
            }
        });
        if !older {
            let view = View {
                entry: Arc::clone(&entry),
                read: asked,
            };
            by_item.insert(entry.item.clone(), view);
        }
        entry
    }

    /// Forgets an item that is not there.
    pub(super) fn forget(&self, item: &ItemId) {
        self.by_item
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(item);
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "ages of what this process remembers"
)]
pub(super) fn read_clock() -> Instant {
    Instant::now()
}
