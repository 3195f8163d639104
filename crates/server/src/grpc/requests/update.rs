//! Changing an item's settings: which ones, and to what.

use proto::v1;
use shards::ids::ItemId;
use shards::inventory::{Edit, Edits, Error};

use super::Fields;

/// Which settings of an item become what.
#[derive(Debug)]
pub(in crate::grpc) struct UpdateItem {
    pub(in crate::grpc) item: ItemId,
    pub(in crate::grpc) edits: Edits,
    pub(in crate::grpc) expected_version: Option<u64>,
    pub(in crate::grpc) reason: String,
}

pub(in crate::grpc) fn update_item(request: &v1::UpdateItemRequest) -> Result<UpdateItem, Error> {
    let mut fields = Fields::default();
    let expected = fields.expected_version(request.expected_version);
    let reason = fields.text("reason", &request.reason).map(str::to_owned);
    let paths = match &request.update_mask {
        Some(mask) if !mask.paths.is_empty() => &mask.paths[..],
        _ => {
            fields.breaks("update_mask", "must be set, and name at least one setting");
            &[]
        }
    };
    let Some(item) = &request.item else {
        fields.breaks("item", "must be set");
        return fields.finish(None);
    };
    let item_id = fields.within("item.", |fields| fields.item_id("item_id", &item.item_id));
    let mut edits = Edits::default();
    for (index, path) in paths.iter().enumerate() {
        if let Err(rule) = edit(&mut fields, &mut edits, item, path) {
            fields.breaks(&format!("update_mask.paths[{index}]"), rule);
        }
    }
    // The inventory checks them again; asked here, so that they are named
    // together with all else.
    fields.breaks_all(edits.broken_values());
    fields.finish((|| {
        Some(UpdateItem {
            item: item_id?,
            edits,
            expected_version: expected.filter(|version| *version > 0),
            reason: reason?,
        })
    })())
}

/// Takes the setting that a path names over from the item. What is set in the
/// item and not named is not even looked at.
fn edit(
    fields: &mut Fields,
    edits: &mut Edits,
    item: &v1::Item,
    path: &str,
) -> Result<(), &'static str> {
    fields.within("item.", |fields| {
        match path {
            "display_name" => edits.display_name = Edit::Set(item.display_name.clone()),
            "hold_ttl" => {
                edits.hold_ttl_ms = Edit::Set(fields.duration(path, item.hold_ttl.as_ref()));
            }
            "max_hold" => {
                edits.max_hold_ms = Edit::Set(fields.duration(path, item.max_hold.as_ref()));
            }
            "max_units_per_buyer" => {
                edits.max_units_per_buyer = Edit::Set(item.max_units_per_buyer);
            }
            "max_units_per_reservation" => {
                edits.max_units_per_reservation = Edit::Set(item.max_units_per_reservation);
            }
            "sale_start_time" => {
                let start = fields.timestamp(path, item.sale_start_time.as_ref());
                edits.sale_start = Edit::Set(start);
            }
            "sale_end_time" => {
                let end = fields.timestamp(path, item.sale_end_time.as_ref());
                edits.sale_end = Edit::Set(end);
            }
            "retention" => {
                edits.retention_ms = Edit::Set(fields.duration(path, item.retention.as_ref()));
            }
            "shard_count" | "sell_at_once" => return Err("is fixed when the item is created"),
            "state" => return Err("is changed by PauseItem, ResumeItem and CloseItem"),
            "stock" | "initial_stock" => return Err("is changed by AdjustStock and SetStock"),
            _ => {
                return Err("must be one of display_name, hold_ttl, max_hold, \
                            max_units_per_buyer, max_units_per_reservation, sale_start_time, \
                            sale_end_time and retention");
            }
        }
        Ok(())
    })
}
