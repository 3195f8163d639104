//! Changing an item's settings.

use std::sync::Arc;

use super::spec::{self, Edit, Edits};
use super::{Error, Inventory};
use crate::ids::ItemId;
use crate::machine::{Entry, Terms};
use crate::store::Deadline;

impl Inventory {
    /// Changes settings; returns when every shard works by the new ones. What
    /// changes nothing makes no new version. With `expected` only that version
    /// is changed; a repeat of a change that was applied to it finds the item.
    ///
    /// # Errors
    /// [`Error::Invalid`], [`Error::LimitNotTracked`],
    /// [`Error::VersionMismatch`], [`Error::ItemNotFound`],
    /// [`Error::ItemDeleting`], [`Error::NotSpread`], and what the store says.
    pub async fn update_item(
        &self,
        item: &ItemId,
        edits: &Edits,
        expected: Option<u64>,
        deadline: Deadline,
    ) -> Result<Arc<Entry>, Error> {
        // Told also where the item is not there, or is another version.
        let broken = edits.broken_values();
        if !broken.is_empty() {
            return Err(Error::Invalid(broken));
        }
        self.change_terms(item, deadline, |entry| {
            if entry.life.is_ending() {
                return Err(Error::ItemDeleting(entry.item.clone()));
            }
            if let Some(expected) = expected
                && expected != entry.version
            {
                let was_applied = expected.checked_add(1) == Some(entry.version)
                    && edited(entry, edits).is_ok_and(|terms| terms == entry.terms);
                if was_applied {
                    return Ok(None);
                }
                return Err(Error::VersionMismatch {
                    item: entry.item.clone(),
                    version: entry.version,
                });
            }
            let terms = edited(entry, edits)?;
            Ok((terms != entry.terms).then_some(terms))
        })
        .await
    }
}

fn edited(entry: &Entry, edits: &Edits) -> Result<Terms, Error> {
    // ⚔ Counted from creation on or never: a count begun later would not know
    // of what buyers have by then.
    let limits = matches!(edits.max_units_per_buyer, Edit::Set(max) if max > 0);
    if limits && !entry.terms.settings.counts_buyers {
        return Err(Error::LimitNotTracked(entry.item.clone()));
    }
    spec::edited(&entry.terms, edits).map_err(Error::Invalid)
}
