//! `holdfast item`.

use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use jiff::Timestamp;
use proto::v1::{
    CloseItemRequest, CreateItemRequest, DeleteItemRequest, GetItemRequest, Item, ItemState,
    ListItemsRequest, PauseItemRequest, ResumeItemRequest,
};

use super::consent::Consent;
use super::update::UpdateArgs;
use super::{At, Outcome, Session, incomplete, request_id};
use crate::describe;
use crate::document::{Doc, Rows};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::time::{self, parse_duration, parse_time};

/// `holdfast item`.
#[derive(Debug, Subcommand)]
pub(crate) enum ItemCommand {
    /// Create an item with its stock
    Create(At<CreateArgs>),
    /// Read an item's settings
    Get(At<GetArgs>),
    /// List items
    List(At<ListArgs>),
    /// Change an item's settings; holds already given keep their deadlines
    ///
    /// Only what is named is changed. Stock is not a setting: see `stock
    /// adjust` and `stock set`.
    Update(At<UpdateArgs>),
    /// Stop an item's sale for now; holds may still be confirmed
    Pause(At<ChangeArgs>),
    /// End a pause
    Resume(At<ChangeArgs>),
    /// End an item's sale for good; holds may still be confirmed
    Close(At<CloseArgs>),
    /// Delete an item with its stock and all its reservations
    ///
    /// Its id may be used again afterwards, for what is then another item.
    Delete(At<DeleteArgs>),
}

/// A new item.
#[derive(Debug, Args)]
pub(crate) struct CreateArgs {
    /// Its id: letters, digits and . _ : -
    #[arg(value_name = "ITEM")]
    item_id: String,

    /// Units to sell; 0 is allowed
    #[arg(long, value_name = "UNITS")]
    stock: i64,

    /// How long a reservation is held [default: 5m]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    hold_ttl: Option<Duration>,

    /// How long a hold may last with all its extensions [default: four times
    /// --hold-ttl]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    max_hold: Option<Duration>,

    /// Most units of one buyer; an item created without a limit gets none later
    #[arg(long, value_name = "UNITS", default_value_t)]
    limit_per_buyer: u32,

    /// Most units of one reservation
    #[arg(long, value_name = "UNITS", default_value_t)]
    max_per_reservation: u32,

    /// When the sale starts [default: at once]
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    sale_start: Option<Timestamp>,

    /// When the sale ends [default: never]
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    sale_end: Option<Timestamp>,

    /// How long an ended reservation stays known, for replays and returns
    /// [default: 24h]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    retention: Option<Duration>,

    /// A reservation is a sale; there is nothing to confirm
    #[arg(long)]
    sell_at_once: bool,

    /// A name for people
    #[arg(long, value_name = "NAME", default_value_t, hide_default_value = true)]
    display_name: String,

    /// Over how many shards to spread the stock; 0 leaves it to the server
    #[arg(long, value_name = "NUMBER", default_value_t)]
    shards: u32,

    /// A UUID; the same one creates the item once [default: a new one]
    #[arg(long, value_name = "UUID")]
    request_id: Option<String>,
}

/// Which item.
#[derive(Debug, Args)]
pub(crate) struct GetArgs {
    /// The item
    #[arg(value_name = "ITEM")]
    item_id: String,
}

/// Which items.
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// Only items whose id begins so
    #[arg(long, value_name = "TEXT", default_value_t, hide_default_value = true)]
    prefix: String,

    /// Only items in this state; may be given more than once
    #[arg(long, value_enum, value_name = "STATE")]
    state: Vec<StateArg>,
}

/// The states that operators set.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum StateArg {
    Open,
    Paused,
    Closed,
}

/// A change of state.
#[derive(Debug, Args)]
pub(crate) struct ChangeArgs {
    /// The item
    #[arg(value_name = "ITEM")]
    item_id: String,

    /// Why; kept with the item
    #[arg(long, value_name = "TEXT", default_value_t, hide_default_value = true)]
    reason: String,
}

/// An end of the sale.
#[derive(Debug, Args)]
pub(crate) struct CloseArgs {
    #[command(flatten)]
    change: ChangeArgs,

    #[command(flatten)]
    consent: Consent,
}

/// What to delete.
#[derive(Debug, Args)]
pub(crate) struct DeleteArgs {
    /// The item
    #[arg(value_name = "ITEM")]
    item_id: String,

    /// Also while units are held; those holds are gone with it
    #[arg(long)]
    force: bool,

    /// Delete only this version, which `item get` tells; 0 for any
    #[arg(long, value_name = "NUMBER", default_value_t)]
    expected_version: i64,

    #[command(flatten)]
    consent: Consent,
}

pub(super) async fn create(session: Session, args: CreateArgs) -> Outcome {
    let (request_id, _) = request_id(args.request_id);
    let item = Item {
        item_id: args.item_id,
        display_name: args.display_name,
        shard_count: args.shards,
        hold_ttl: args.hold_ttl.map(to_proto).transpose()?,
        max_hold: args.max_hold.map(to_proto).transpose()?,
        sell_at_once: args.sell_at_once,
        max_units_per_buyer: args.limit_per_buyer,
        max_units_per_reservation: args.max_per_reservation,
        sale_start_time: args.sale_start.map(time::to_proto),
        sale_end_time: args.sale_end.map(time::to_proto),
        retention: args.retention.map(to_proto).transpose()?,
        ..Item::default()
    };
    let request = CreateItemRequest {
        item: Some(item),
        initial_stock: Some(args.stock),
        request_id: request_id.clone(),
    };
    let reply = session.client.create_item(request).await;
    let reply = reply.map_err(|error| Failure::from(error).with_request_id(&request_id))?;
    let item = reply.item.as_ref().ok_or_else(|| incomplete("item"))?;
    session
        .printer
        .print(None, &describe::item(item).with("request_id", request_id))?;
    Ok(Exit::Done)
}

pub(super) async fn get(session: Session, args: GetArgs) -> Outcome {
    let reply = session
        .client
        .get_item(GetItemRequest {
            item_id: args.item_id,
        })
        .await?;
    session.show_item(reply.item.as_ref())
}

pub(super) async fn pause(session: Session, args: ChangeArgs) -> Outcome {
    let request = PauseItemRequest {
        item_id: args.item_id,
        reason: args.reason,
    };
    let reply = session.client.pause_item(request).await?;
    session.show_item(reply.item.as_ref())
}

pub(super) async fn resume(session: Session, args: ChangeArgs) -> Outcome {
    let request = ResumeItemRequest {
        item_id: args.item_id,
        reason: args.reason,
    };
    let reply = session.client.resume_item(request).await?;
    session.show_item(reply.item.as_ref())
}

pub(super) async fn close(session: Session, args: CloseArgs) -> Outcome {
    let CloseArgs { change, consent } = args;
    consent.ask(&format!("end the sale of {} for good", change.item_id))?;
    let request = CloseItemRequest {
        item_id: change.item_id,
        reason: change.reason,
    };
    let reply = session.client.close_item(request).await?;
    session.show_item(reply.item.as_ref())
}

pub(super) async fn delete(session: Session, args: DeleteArgs) -> Outcome {
    let item_id = args.item_id;
    args.consent.ask(&format!(
        "delete {item_id} with its stock and all its reservations"
    ))?;
    let request = DeleteItemRequest {
        item_id: item_id.clone(),
        force: args.force,
        expected_version: args.expected_version,
    };
    session.client.delete_item(request).await?;
    let doc = Doc::new().with("item_id", item_id).with("deleted", true);
    session.printer.print(None, &doc)?;
    Ok(Exit::Done)
}

pub(super) async fn list(session: Session, args: ListArgs) -> Outcome {
    let states = args
        .state
        .iter()
        .map(|state| ItemState::from(*state).into())
        .collect();
    let mut request = ListItemsRequest {
        page_size: PAGE_SIZE,
        page_token: String::new(),
        item_id_prefix: args.prefix,
        states,
    };
    let mut items = Vec::new();
    loop {
        let page = session.client.list_items(request.clone()).await?;
        items.extend(page.items.iter().map(describe::item));
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    let rows = Rows::new(
        &["item_id", "state", "version", "display_name", "create_time"],
        items,
    );
    session.printer.print_rows("items", rows)?;
    Ok(Exit::Done)
}

/// The most that the service gives at once.
const PAGE_SIZE: i32 = 1_000;

impl Session {
    pub(super) fn show_item(&self, item: Option<&Item>) -> Outcome {
        let item = item.ok_or_else(|| incomplete("item"))?;
        self.printer.print(None, &describe::item(item))?;
        Ok(Exit::Done)
    }
}

impl From<StateArg> for ItemState {
    fn from(state: StateArg) -> Self {
        match state {
            StateArg::Open => Self::Open,
            StateArg::Paused => Self::Paused,
            StateArg::Closed => Self::Closed,
        }
    }
}

/// A duration for the contract, whose range is a little smaller.
pub(super) fn to_proto(duration: Duration) -> Result<prost_types::Duration, Failure> {
    prost_types::Duration::try_from(duration)
        .map_err(|_| Failure::usage(format!("{} is too long", time::spell(duration))))
}
