//! `holdfast stock watch`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, IsTerminal};
use std::num::NonZeroU64;
use std::pin::pin;
use std::time::Duration;

use clap::Args;
use client::StockNews;
use futures_util::StreamExt as _;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use proto::v1::{SalePhase, Stock, StockView, WatchStockRequest};

use super::item::to_proto;
use super::{Outcome, Session};
use crate::describe;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::printer::{Format, Written, try_write_line};
use crate::time::{self, parse_duration};

/// What to watch.
#[derive(Debug, Args)]
pub(crate) struct WatchArgs {
    /// The items
    #[arg(value_name = "ITEM", required = true)]
    item_ids: Vec<String>,

    /// Most often that an item is told of [default: 100ms]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    min_interval: Option<Duration>,

    /// Longest silence of the server [default: 15s]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    max_interval: Option<Duration>,

    /// End after this many changes [default: never]
    #[arg(long, value_name = "NUMBER")]
    changes: Option<NonZeroU64>,
}

pub(super) async fn watch(session: Session, args: WatchArgs) -> Outcome {
    let request = WatchStockRequest {
        item_ids: args.item_ids,
        min_interval: args.min_interval.map(to_proto).transpose()?,
        max_interval: args.max_interval.map(to_proto).transpose()?,
        view: StockView::Full.into(),
    };
    let format = session.printer.format();
    let live = format == Format::Text && io::stdout().is_terminal();
    let mut screen = live.then(Screen::new);
    let mut last = Last::default();
    let mut left = args.changes.map(NonZeroU64::get);
    let mut news = pin!(session.client.watch_stock(request));
    let interrupted = tokio::signal::ctrl_c();
    let mut interrupted = pin!(interrupted);
    while left != Some(0) {
        let news = tokio::select! {
            news = news.next() => news,
            // Who presses Ctrl-C has seen enough.
            _ = &mut interrupted => return Ok(Exit::Done),
        };
        // The stream ends with an error only.
        let Some(news) = news.transpose()? else {
            break;
        };
        let changed = last.changes(&news);
        if let Some(screen) = &mut screen {
            screen.show(&news);
        } else if changed && tell(&news, format)? == Written::NobodyReads {
            break;
        }
        if changed {
            left = left.map(|left| left - 1);
        }
    }
    Ok(Exit::Done)
}

/// Writes a line: stock to stdout, an item's failure to stderr.
fn tell(news: &StockNews, format: Format) -> Result<Written, Failure> {
    match &news.stock {
        Ok(stock) => try_write_line(&match format {
            Format::Json => describe::stock(stock).json(),
            Format::Text => format!("{}  {}", when(stock), line(stock)),
        }),
        Err(error) => {
            Failure::from(error.clone()).report(format);
            Ok(Written::Yes)
        }
    }
}

fn when(stock: &Stock) -> String {
    let time = stock.as_of.as_ref().and_then(time::from_proto);
    time.map(|time| format!("{time:.3}")).unwrap_or_default()
}

/// A stock in a line.
fn line(stock: &Stock) -> String {
    let mut line = format!(
        "{}  {}",
        stock.item_id,
        describe::name::<SalePhase>(stock.phase)
    );
    let counts = [
        ("available", stock.available),
        ("held", stock.held),
        ("sold", stock.sold),
    ];
    for (name, count) in counts {
        if let Some(count) = count {
            // Writing to a string cannot fail.
            write!(line, "  {count} {name}").ok();
        }
    }
    line
}

/// What was told last of each item. Servers repeat themselves to show that
/// they live; that is no news.
#[derive(Debug, Default)]
struct Last(BTreeMap<String, Told>);

#[derive(Debug, PartialEq)]
enum Told {
    Stock(Box<Stock>),
    Failure(Option<String>),
}

impl Last {
    /// Whether this is something new; it is what was told last from now on.
    fn changes(&mut self, news: &StockNews) -> bool {
        let told = match &news.stock {
            Ok(stock) => Told::Stock(Box::new(Stock {
                as_of: None,
                exact: None,
                ..stock.clone()
            })),
            Err(error) => Told::Failure(error.reason().map(str::to_owned)),
        };
        let before = self.0.get(&news.item_id);
        let new = before != Some(&told);
        if new {
            self.0.insert(news.item_id.clone(), told);
        }
        new
    }
}

/// A terminal: one line for each item, kept up to date.
struct Screen {
    lines: MultiProgress,
    items: BTreeMap<String, ProgressBar>,
}

impl Screen {
    fn new() -> Self {
        Self {
            lines: MultiProgress::with_draw_target(ProgressDrawTarget::stdout()),
            items: BTreeMap::new(),
        }
    }

    fn show(&mut self, news: &StockNews) {
        let lines = &self.lines;
        let bar = self.items.entry(news.item_id.clone()).or_insert_with(|| {
            let bar = lines.add(ProgressBar::no_length());
            // A constant; without it the line is plain.
            if let Ok(style) = ProgressStyle::with_template("{wide_msg}") {
                bar.set_style(style);
            }
            bar
        });
        bar.set_message(match &news.stock {
            Ok(stock) => line(stock),
            Err(error) => format!("{}  {error}", news.item_id),
        });
        bar.tick();
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // The last state stays on the terminal.
        for bar in self.items.values() {
            bar.abandon();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn news(available: i64, seconds: i64) -> StockNews {
        StockNews {
            item_id: "sneaker".to_owned(),
            stock: Ok(Stock {
                item_id: "sneaker".to_owned(),
                phase: SalePhase::OnSale.into(),
                available: Some(available),
                held: Some(1),
                sold: None,
                as_of: Some(prost_types::Timestamp { seconds, nanos: 0 }),
                ..Stock::default()
            }),
        }
    }

    #[test]
    fn a_repetition_is_no_news() {
        let mut last = Last::default();
        assert!(last.changes(&news(7, 1)));
        assert!(!last.changes(&news(7, 2)));
        assert!(last.changes(&news(6, 3)));
        assert!(last.changes(&news(7, 4)));
    }

    #[test]
    fn a_line_has_what_is_known() {
        let stock = news(7, 1_795_770_000).stock.unwrap();
        assert_eq!(line(&stock), "sneaker  ON_SALE  7 available  1 held");
        assert_eq!(when(&stock), "2026-11-27T09:00:00.000Z");
    }
}
