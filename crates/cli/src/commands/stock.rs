//! `holdfast stock`.

use clap::{Args, Subcommand};
use proto::v1::{AdjustStockRequest, SetStockRequest, StockConsistency, StockView};

use super::watch::WatchArgs;
use super::{At, Outcome, Session, request_id};
use crate::describe;
use crate::document::{Doc, Rows};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::printer::Format;

/// `holdfast stock`.
#[derive(Debug, Subcommand)]
pub(crate) enum StockCommand {
    /// Read the stock of items
    Get(At<GetArgs>),
    /// Add units, or take some that are available
    Adjust(At<AdjustArgs>),
    /// Set the total, if it is what you think it is
    ///
    /// The total counts held and sold units too. To add or take units without
    /// knowing the total, use `stock adjust`.
    Set(At<SetArgs>),
    /// Follow the stock of items until Ctrl-C
    ///
    /// On a terminal, one line for each item shows how it stands; otherwise
    /// every change is a line. After a break it connects again; it ends when
    /// that fails for --timeout.
    Watch(At<WatchArgs>),
}

/// Which items.
#[derive(Debug, Args)]
pub(crate) struct GetArgs {
    /// The items
    #[arg(value_name = "ITEM", required = true)]
    item_ids: Vec<String>,

    /// Read every shard, instead of a memory that is a second old at most
    #[arg(long)]
    strong: bool,
}

/// A change of stock.
#[derive(Debug, Args)]
pub(crate) struct AdjustArgs {
    /// The item
    #[arg(value_name = "ITEM")]
    item_id: String,

    /// Units to add, or with a minus to take
    #[arg(value_name = "DELTA", allow_negative_numbers = true)]
    delta: i64,

    /// When fewer are available than are to be taken, take those
    #[arg(long)]
    allow_partial: bool,

    /// Why
    #[arg(long, value_name = "TEXT", default_value_t, hide_default_value = true)]
    reason: String,

    /// A UUID; the same one is applied once [default: a new one]
    #[arg(long, value_name = "UUID")]
    request_id: Option<String>,
}

/// A new total.
#[derive(Debug, Args)]
pub(crate) struct SetArgs {
    /// The item
    #[arg(value_name = "ITEM")]
    item_id: String,

    /// Units in all, held and sold ones included
    #[arg(value_name = "TOTAL")]
    total: i64,

    /// The present total; if it is another one, nothing is changed
    #[arg(long, value_name = "UNITS")]
    expected: i64,

    /// Why
    #[arg(long, value_name = "TEXT", default_value_t, hide_default_value = true)]
    reason: String,

    /// A UUID; the same one is applied once [default: a new one]
    #[arg(long, value_name = "UUID")]
    request_id: Option<String>,
}

/// The columns of a table of stocks.
const COLUMNS: &[&str] = &[
    "item_id",
    "phase",
    "available",
    "held",
    "sold",
    "total",
    "exact",
    "as_of",
];

pub(super) async fn get(session: Session, args: GetArgs) -> Outcome {
    let consistency = if args.strong {
        StockConsistency::Strong
    } else {
        StockConsistency::Cached
    };
    get_many(&session, &args.item_ids, consistency).await
}

/// The stocks of many items. One that fails spoils no other: it is told on
/// stderr, and the worst of them is the command's code.
async fn get_many(session: &Session, ids: &[String], consistency: StockConsistency) -> Outcome {
    let answers = session
        .client
        .batch_get_stock(ids, consistency, StockView::Full);
    let mut stocks = Vec::new();
    let mut failures = Vec::new();
    for answer in answers.await {
        match answer {
            Ok(stock) => stocks.push(describe::stock(&stock)),
            Err(error) => failures.push(Failure::from(error)),
        }
    }
    let shown = session.show_stocks(stocks)?;
    let told = failures
        .iter()
        .map(|failure| failure.report(session.printer.format()));
    Ok(told.chain([shown]).max().unwrap_or(shown))
}

pub(super) async fn adjust(session: Session, args: AdjustArgs) -> Outcome {
    let (request_id, _) = request_id(args.request_id);
    let request = AdjustStockRequest {
        item_id: args.item_id,
        delta: args.delta,
        request_id: request_id.clone(),
        allow_partial: args.allow_partial,
        reason: args.reason,
    };
    let reply = session.client.adjust_stock(request).await;
    let reply = reply.map_err(|error| Failure::from(error).with_request_id(&request_id))?;
    let doc = Doc::new()
        .with("request_id", request_id)
        .with_set("applied_delta", reply.applied_delta)
        .with("replayed", reply.replayed)
        .with_set("stock", reply.stock.as_ref().map(describe::stock));
    session.printer.print(None, &doc)?;
    Ok(Exit::Done)
}

pub(super) async fn set(session: Session, args: SetArgs) -> Outcome {
    let (request_id, _) = request_id(args.request_id);
    let request = SetStockRequest {
        item_id: args.item_id,
        total: Some(args.total),
        expected_total: Some(args.expected),
        request_id: request_id.clone(),
        reason: args.reason,
    };
    let reply = session.client.set_stock(request).await;
    let reply = reply.map_err(|error| Failure::from(error).with_request_id(&request_id))?;
    let doc = Doc::new()
        .with("request_id", request_id)
        .with("replayed", reply.replayed)
        .with_set("stock", reply.stock.as_ref().map(describe::stock));
    session.printer.print(None, &doc)?;
    Ok(Exit::Done)
}

impl Session {
    /// In text, one stock has all its fields, many are a table. JSON is the
    /// same for any number.
    fn show_stocks(&self, mut stocks: Vec<Doc>) -> Outcome {
        match (self.printer.format(), stocks.len()) {
            // All of them failed; a table's head would say nothing.
            (Format::Text, 0) => Ok(Exit::Done),
            (Format::Text, 1) => {
                self.printer.print(None, &stocks.remove(0))?;
                Ok(Exit::Done)
            }
            _ => {
                self.printer
                    .print_rows("stocks", Rows::new(COLUMNS, stocks))?;
                Ok(Exit::Done)
            }
        }
    }
}
