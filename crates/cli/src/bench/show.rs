//! The run as it goes, and its figures for people.

use std::io::{self, IsTerminal as _};
use std::sync::atomic::Ordering;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::control::Control;
use super::report::{NaiveFigures, Report, Sold, StoreFigures};
use super::tally::{GRANTED, Latency};
use crate::figures::{count, ms};

/// How often the bar is drawn, and how often a line is written.
pub(super) const BAR_EVERY: Duration = Duration::from_millis(100);
const LINE_EVERY: Duration = Duration::from_secs(1);

/// How far the run is meant to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Goal {
    Time(Duration),
    Requests(u64),
}

/// Shows a run on stderr.
pub(super) struct Show {
    bar: ProgressBar,
    terminal: bool,
    goal: Goal,
    last_line: Option<Duration>,
}

impl Show {
    pub(super) fn new(goal: Goal) -> Self {
        let terminal = io::stderr().is_terminal();
        let length = match goal {
            Goal::Time(time) => time.as_millis().try_into().unwrap_or(u64::MAX),
            Goal::Requests(requests) => requests,
        };
        let bar = ProgressBar::with_draw_target(Some(length), ProgressDrawTarget::stderr());
        // A constant; without it the bar is plain.
        if let Ok(style) = ProgressStyle::with_template("{bar:36.green} {wide_msg}") {
            bar.set_style(style);
        }
        Self {
            bar,
            terminal,
            goal,
            last_line: None,
        }
    }

    /// Something worth a line of its own.
    #[expect(clippy::print_stderr, reason = "the bench talks to whoever started it")]
    pub(super) fn say(&self, line: &str) {
        if self.terminal {
            self.bar.println(line);
        } else {
            eprintln!("{line}");
        }
    }

    /// How it goes, so long after the measurement began.
    pub(super) fn update(&mut self, elapsed: Duration, control: &Control) {
        let [decided, granted, failed] = [&control.decided, &control.granted, &control.failed]
            .map(|counter| counter.load(Ordering::Relaxed));
        let rate = per_second(decided, elapsed);
        let line = format!(
            "{} decided ({rate}/s)  {} granted  {} failed",
            count(decided),
            count(granted),
            count(failed)
        );
        if self.terminal {
            self.bar.set_position(match self.goal {
                Goal::Time(_) => elapsed.as_millis().try_into().unwrap_or(u64::MAX),
                Goal::Requests(_) => decided + failed,
            });
            self.bar.set_message(line);
        } else if self
            .last_line
            .is_none_or(|last| elapsed >= last + LINE_EVERY)
        {
            self.last_line = Some(elapsed);
            self.say(&format!("{:>5.1} s  {line}", elapsed.as_secs_f64()));
        }
    }

    /// Leaves the terminal to what follows.
    pub(super) fn end(&self) {
        self.bar.finish_and_clear();
    }
}

/// A rate in whole numbers.
fn per_second(n: u64, time: Duration) -> String {
    let rate = u128::from(n) * 1_000 / time.as_millis().max(1);
    count(u64::try_from(rate).unwrap_or(u64::MAX))
}

/// The figures, on one screen.
pub(super) fn text(report: &Report) -> String {
    let mut page = Page::default();
    let Report { setup, .. } = report;
    page.line(if report.sound {
        "Bench: every answer was sound"
    } else {
        "Bench: NOT EVERY ANSWER WAS SOUND"
    });
    for failure in &report.failures {
        page.line(&format!("  wrong: {failure}"));
    }
    page.line("");
    page.row("run", &run_line(report));
    page.row("sold", &sold_line(report));
    page.line("");
    page.row(
        "requests",
        &with_rate(report.requests, report.requests_per_second),
    );
    for (outcome, n) in &report.outcomes {
        let rate = report.granted_per_second.filter(|_| *outcome == GRANTED);
        page.row(
            &format!("  {}", outcome.replace('_', " ")),
            &with_rate(*n, rate),
        );
    }
    if report.from_cache > 0 {
        page.row("  refused from memory", &count(report.from_cache));
    }
    for (reason, n) in &report.errors {
        page.row(&format!("  {reason}"), &count(*n));
    }
    if report.duplicates.sent > 0 {
        page.row("sent twice", &duplicates_line(report));
    }
    if let Some(latency) = report.latency_us {
        page.row("latency", &latency_line(latency));
    }
    page.row("audit", report.audit.unwrap_or("none"));
    if !report.cpu.is_empty() {
        page.line("");
        page.row("CPU us", "per request   per granted");
    }
    for process in &report.cpu {
        let (request, granted) = (process.us_per_request, process.us_per_granted);
        page.row(
            &format!("  {} ({})", process.name, process.pid),
            &format!("{:>11}   {:>11}", digits(request), digits(granted)),
        );
    }
    if let Some(store) = &report.store {
        store_rows(&mut page, store);
    }
    if let Some(naive) = &report.naive {
        naive_rows(&mut page, naive);
    }
    for note in &report.notes {
        page.line(&format!("note: {note}"));
    }
    page.line("");
    page.line(&format!(
        "Callers wait for their answers: at another rate latency is another. Seed {}.",
        setup.seed
    ));
    page.0.trim_end().to_owned()
}

/// Names to the left, values beside them.
#[derive(Default)]
struct Page(String);

impl Page {
    fn line(&mut self, line: &str) {
        self.0.push_str(line);
        self.0.push('\n');
    }

    fn row(&mut self, name: &str, value: &str) {
        self.line(&format!("{name:<30}{value}"));
    }
}

fn run_line(report: &Report) -> String {
    let setup = &report.setup;
    let batch = setup.batch_size.map(|size| format!(" of {size}"));
    let early = if report.interrupted {
        ", interrupted"
    } else {
        ""
    };
    format!(
        "{} of {}{}, {} over {} to {}, {}{early}",
        report.elapsed,
        setup.mode,
        batch.unwrap_or_default(),
        some(setup.callers.into(), "caller"),
        some(setup.connections.into(), "connection"),
        some(setup.servers.len() as u64, "server"),
        some(setup.threads.into(), "thread"),
    )
}

fn sold_line(report: &Report) -> String {
    match &report.setup.sold {
        Sold::Given { item_id } => item_id.clone(),
        Sold::Own { items, stock, .. } => {
            let units = u64::try_from(*stock).unwrap_or_default();
            format!(
                "{} of {}",
                some((*items).into(), "item"),
                some(units, "unit")
            )
        }
    }
}

fn with_rate(n: u64, rate: Option<f64>) -> String {
    let rate = rate.map(|rate| format!("   {rate:.0}/s"));
    format!("{:>11}{}", count(n), rate.unwrap_or_default())
}

fn duplicates_line(report: &Report) -> String {
    let all = report.duplicates;
    format!(
        "{:>11}   {} equal, {} refused twice, {} one refused, {} undecided",
        count(all.sent),
        count(all.equal),
        count(all.refused_twice),
        count(all.one_refused),
        count(all.undecided)
    )
}

fn latency_line(latency: Latency) -> String {
    let said = [
        ("p50", latency.p50),
        ("p90", latency.p90),
        ("p99", latency.p99),
        ("p99.9", latency.p999),
        ("max", latency.max),
    ];
    let each = said.map(|(name, us)| format!("{name} {}", ms(Duration::from_micros(us))));
    each.join("   ")
}

fn store_rows(page: &mut Page, store: &StoreFigures) {
    page.line("");
    page.row("Redis", "per granted");
    for (name, value) in [
        ("  script calls", store.script_calls_per_granted),
        ("  CPU us", store.cpu_us_per_granted),
        ("  of it in scripts", store.script_us_per_granted),
        ("  bytes of memory", store.memory_bytes_per_granted),
    ] {
        page.row(name, &format!("{:>11}", digits(value)));
    }
}

fn naive_rows(page: &mut Page, naive: &NaiveFigures) {
    page.line("");
    page.row(
        "naive Lua",
        &with_rate(naive.requests, naive.requests_per_second),
    );
    page.row(
        "  CPU us per request",
        &format!("{:>11}", digits(naive.cpu_us_per_request)),
    );
    if let Some(ratio) = naive.ratio {
        page.row(
            "  to one granted",
            &format!("{:>11}   times Holdfast's Redis CPU", digits(Some(ratio))),
        );
    }
}

/// So many of them.
fn some(n: u64, what: &str) -> String {
    let plural = if n == 1 { "" } else { "s" };
    format!("{} {what}{plural}", count(n))
}

/// A figure, or a sign that there is none.
fn digits(value: Option<f64>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.3}"))
}
