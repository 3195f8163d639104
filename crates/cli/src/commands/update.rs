//! `holdfast item update`.

use std::time::Duration;

use clap::{Args, ValueEnum};
use jiff::Timestamp;
use prost_types::FieldMask;
use proto::v1::{Item, UpdateItemRequest};

use super::item::to_proto;
use super::{Outcome, Session};
use crate::environment::CHANGES;
use crate::failure::Failure;
use crate::time::{self, parse_duration, parse_time};

/// What to change, and to what.
#[derive(Debug, Default, Args)]
pub(crate) struct UpdateArgs {
    /// The item
    #[arg(value_name = "ITEM")]
    item_id: String,

    /// How long new reservations are held
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, help_heading = CHANGES)]
    hold_ttl: Option<Duration>,

    /// How long a hold may last with all its extensions
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, help_heading = CHANGES)]
    max_hold: Option<Duration>,

    /// Most units of one buyer; 0 for no limit. Only for items created with one
    #[arg(long, value_name = "UNITS", help_heading = CHANGES)]
    limit_per_buyer: Option<u32>,

    /// Most units of one reservation
    #[arg(long, value_name = "UNITS", help_heading = CHANGES)]
    max_per_reservation: Option<u32>,

    /// When the sale starts
    #[arg(long, value_name = "TIME", value_parser = parse_time, help_heading = CHANGES)]
    sale_start: Option<Timestamp>,

    /// When the sale ends
    #[arg(long, value_name = "TIME", value_parser = parse_time, help_heading = CHANGES)]
    sale_end: Option<Timestamp>,

    /// How long an ended reservation stays known
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, help_heading = CHANGES)]
    retention: Option<Duration>,

    /// A name for people
    #[arg(long, value_name = "NAME", help_heading = CHANGES)]
    display_name: Option<String>,

    /// Give a setting its default again, such as no end of the sale; may be
    /// given more than once
    #[arg(long, value_enum, value_name = "SETTING", help_heading = CHANGES)]
    reset: Vec<Term>,

    /// Change only this version, which `item get` tells; 0 for any
    #[arg(long, value_name = "NUMBER", default_value_t)]
    expected_version: i64,

    /// Why; goes to the change log
    #[arg(long, value_name = "TEXT", default_value_t, hide_default_value = true)]
    reason: String,
}

/// The settings that can be changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Term {
    HoldTtl,
    MaxHold,
    LimitPerBuyer,
    MaxPerReservation,
    SaleStart,
    SaleEnd,
    Retention,
    DisplayName,
}

impl Term {
    /// Its name in the contract.
    fn path(self) -> &'static str {
        match self {
            Self::HoldTtl => "hold_ttl",
            Self::MaxHold => "max_hold",
            Self::LimitPerBuyer => "max_units_per_buyer",
            Self::MaxPerReservation => "max_units_per_reservation",
            Self::SaleStart => "sale_start_time",
            Self::SaleEnd => "sale_end_time",
            Self::Retention => "retention",
            Self::DisplayName => "display_name",
        }
    }
}

pub(super) async fn update(session: Session, args: UpdateArgs) -> Outcome {
    let reply = session.client.update_item(request(args)?).await?;
    session.show_item(reply.item.as_ref())
}

/// Only what was said is changed: the mask names it.
fn request(args: UpdateArgs) -> Result<UpdateItemRequest, Failure> {
    let given = [
        (Term::HoldTtl, args.hold_ttl.is_some()),
        (Term::MaxHold, args.max_hold.is_some()),
        (Term::LimitPerBuyer, args.limit_per_buyer.is_some()),
        (Term::MaxPerReservation, args.max_per_reservation.is_some()),
        (Term::SaleStart, args.sale_start.is_some()),
        (Term::SaleEnd, args.sale_end.is_some()),
        (Term::Retention, args.retention.is_some()),
        (Term::DisplayName, args.display_name.is_some()),
    ];
    let mut changed: Vec<Term> = Vec::new();
    for (term, given) in given {
        let reset = args.reset.contains(&term);
        if given && reset {
            let name = term.path();
            return Err(Failure::usage(format!(
                "{name} is given a value and its default: say one of them"
            )));
        }
        if given || reset {
            changed.push(term);
        }
    }
    if changed.is_empty() {
        return Err(Failure::usage(
            "nothing to change: name a setting, such as --hold-ttl 10m or --reset sale-end",
        ));
    }
    let item = Item {
        item_id: args.item_id,
        display_name: args.display_name.unwrap_or_default(),
        hold_ttl: args.hold_ttl.map(to_proto).transpose()?,
        max_hold: args.max_hold.map(to_proto).transpose()?,
        max_units_per_buyer: args.limit_per_buyer.unwrap_or_default(),
        max_units_per_reservation: args.max_per_reservation.unwrap_or_default(),
        sale_start_time: args.sale_start.map(time::to_proto),
        sale_end_time: args.sale_end.map(time::to_proto),
        retention: args.retention.map(to_proto).transpose()?,
        ..Item::default()
    };
    let paths = changed.iter().map(|term| term.path().to_owned());
    Ok(UpdateItemRequest {
        item: Some(item),
        update_mask: Some(FieldMask {
            paths: paths.collect(),
        }),
        expected_version: args.expected_version,
        reason: args.reason,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mask_names_what_was_said_and_nothing_else() {
        let request = request(UpdateArgs {
            item_id: "sneaker".to_owned(),
            hold_ttl: Some(Duration::from_mins(10)),
            limit_per_buyer: Some(0),
            reset: vec![Term::SaleEnd],
            expected_version: 3,
            ..UpdateArgs::default()
        })
        .unwrap();
        assert_eq!(
            request.update_mask.unwrap().paths,
            ["hold_ttl", "max_units_per_buyer", "sale_end_time"]
        );
        let item = request.item.unwrap();
        assert_eq!(item.hold_ttl.unwrap().seconds, 600);
        assert_eq!((item.max_hold, item.sale_end_time), (None, None));
        assert_eq!(request.expected_version, 3);
    }

    #[test]
    fn nothing_and_both_are_wrong() {
        let nothing = request(UpdateArgs::default()).unwrap_err().to_string();
        assert!(nothing.contains("--hold-ttl 10m"), "{nothing}");
        let both = request(UpdateArgs {
            display_name: Some("Sneaker".to_owned()),
            reset: vec![Term::DisplayName],
            ..UpdateArgs::default()
        });
        let both = both.unwrap_err().to_string();
        assert!(both.contains("display_name"), "{both}");
    }
}
