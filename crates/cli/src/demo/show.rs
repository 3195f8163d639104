//! The sale as it goes: a bar on a terminal, else a line a second.

use std::io::{self, IsTerminal as _};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::log::{Log, Told};
use super::server::Work;
use super::verdict::Verdict;
use crate::figures::{count, ms};

/// How often the bar is drawn, and how often a line is written.
pub(super) const BAR_EVERY: Duration = Duration::from_millis(100);
const LINE_EVERY: Duration = Duration::from_secs(1);

/// Shows a sale on stderr.
pub(super) struct Show {
    bar: ProgressBar,
    terminal: bool,
    last_line: Option<Duration>,
}

impl Show {
    pub(super) fn new(units: u64) -> Self {
        let terminal = io::stderr().is_terminal();
        let bar = ProgressBar::with_draw_target(Some(units), ProgressDrawTarget::stderr());
        // A constant; without it the bar is plain.
        if let Ok(style) =
            ProgressStyle::with_template("{bar:36.green} {pos}/{len} sold  {wide_msg}")
        {
            bar.set_style(style);
        }
        Self {
            bar,
            terminal,
            last_line: None,
        }
    }

    /// Something worth a line of its own.
    #[expect(clippy::print_stderr, reason = "the demo talks to whoever started it")]
    pub(super) fn say(&self, line: &str) {
        if self.terminal {
            self.bar.println(line);
        } else {
            eprintln!("{line}");
        }
    }

    /// How it goes now.
    pub(super) fn update(&mut self, since_opening: Duration, log: &Log) {
        let sold = log.units(Told::Confirmed);
        let line = format!(
            "{} refusals  {} replays  Reserve p50 {} p99 {}",
            count(log.refusals()),
            count(log.replayed),
            ms(log.latency(0.5)),
            ms(log.latency(0.99)),
        );
        if self.terminal {
            self.bar.set_position(sold);
            self.bar.set_message(line);
        } else if self
            .last_line
            .is_none_or(|last| since_opening >= last + LINE_EVERY)
        {
            self.last_line = Some(since_opening);
            self.say(&format!(
                "{:>5.1} s  {:>5} sold  {line}",
                since_opening.as_secs_f64(),
                count(sold)
            ));
        }
    }

    /// Leaves the terminal to what follows.
    pub(super) fn end(&self) {
        self.bar.finish_and_clear();
    }
}

/// A line of somebody else's, who does not know the bar.
#[expect(clippy::print_stderr, reason = "the demo talks to whoever started it")]
pub(super) fn say_aside(line: &str) {
    eprintln!("{line}");
}

/// The verdict, for people.
pub(super) fn verdict_text(verdict: &Verdict, log: &Log, work: Work, audit: &str) -> String {
    let row = |name: &str, value: &str| format!("  {name:<26}{value:>12}\n");
    let mut text = format!(
        "Verdict: {}\n\n",
        if verdict.failures.is_empty() {
            "the sale was sound"
        } else {
            "THE SALE WAS NOT SOUND"
        }
    );
    for (name, value) in [
        ("stocked", count(verdict.stocked)),
        ("sold", count(verdict.sold)),
        ("oversold", count(verdict.oversold)),
        ("stranded", count(verdict.stranded)),
        ("acknowledged and lost", count(verdict.lost)),
        ("duplicates replayed", count(verdict.duplicates_replayed)),
        ("units cancelled", count(log.units(Told::Cancelled))),
        (
            "units expired, sold again",
            count(log.units(Told::Granted) + log.units(Told::Expired)),
        ),
        ("refusals", count(log.refusals())),
        ("looks at all shards", count(work.looks)),
        ("transfers between shards", count(work.transfers)),
        ("units transferred", count(work.units)),
        ("Reserve p50", ms(log.latency(0.5))),
        ("Reserve p99", ms(log.latency(0.99))),
        ("audit of every record", audit.to_owned()),
    ] {
        text.push_str(&row(name, &value));
    }
    for failure in &verdict.failures {
        text.push_str("\n  wrong: ");
        text.push_str(failure);
    }
    text.trim_end().to_owned()
}
