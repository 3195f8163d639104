//! Items.

use proto::v1::{Item, ItemState};

use super::{limit, moment, name, span};
use crate::document::Doc;

/// An item's settings.
pub(crate) fn item(item: &Item) -> Doc {
    Doc::new()
        .with("item_id", &item.item_id)
        .with("state", name::<ItemState>(item.state))
        .with("state_reason", &item.state_reason)
        .with("version", item.version)
        .with("display_name", &item.display_name)
        .with("shard_count", item.shard_count)
        .with_set("hold_ttl", span(item.hold_ttl.as_ref()))
        .with_set("max_hold", span(item.max_hold.as_ref()))
        .with("sell_at_once", item.sell_at_once)
        .with("max_units_per_buyer", limit(item.max_units_per_buyer))
        .with(
            "max_units_per_reservation",
            limit(item.max_units_per_reservation),
        )
        .with_set("sale_start_time", moment(item.sale_start_time.as_ref()))
        .with_set("sale_end_time", moment(item.sale_end_time.as_ref()))
        .with_set("retention", span(item.retention.as_ref()))
        .with_set("create_time", moment(item.create_time.as_ref()))
        .with_set("update_time", moment(item.update_time.as_ref()))
}

#[cfg(test)]
mod tests {
    use prost_types::{Duration, Timestamp};

    use super::*;
    use crate::time;

    #[test]
    fn an_item_in_both_forms() {
        let sneaker = Item {
            item_id: "sneaker".to_owned(),
            state: ItemState::Open.into(),
            version: 1,
            shard_count: 1,
            hold_ttl: Some(Duration {
                seconds: 300,
                nanos: 0,
            }),
            max_units_per_buyer: 2,
            create_time: Some(Timestamp {
                seconds: 1_795_770_000,
                nanos: 0,
            }),
            ..Item::default()
        };
        let doc = item(&sneaker);
        assert_eq!(
            doc.json(),
            concat!(
                r#"{"item_id":"sneaker","state":"OPEN","state_reason":"","version":1,"#,
                r#""display_name":"","shard_count":1,"hold_ttl":"300s","sell_at_once":false,"#,
                r#""max_units_per_buyer":2,"max_units_per_reservation":0,"#,
                r#""create_time":"2026-11-27T09:00:00Z"}"#
            )
        );
        assert_eq!(
            doc.text(time::parse_time("2026-11-27T09:02:00Z").unwrap()),
            "item id                    sneaker\n\
             state                      OPEN\n\
             version                    1\n\
             shard count                1\n\
             hold ttl                   5m\n\
             sell at once               no\n\
             max units per buyer        2\n\
             max units per reservation  no limit\n\
             create time                2026-11-27T09:00:00Z (2m ago)\n"
        );
    }
}
