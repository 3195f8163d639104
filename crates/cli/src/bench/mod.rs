//! `holdfast bench`: callers who reserve as fast as they are answered, and what
//! that costs.
//!
//! [`args`] is the grammar and explains the figures, [`plan`] draws the requests,
//! [`callers`] sends them, [`control`] says how far it is, [`goods`] are the items,
//! [`judge`] says what is wrong with an answer, [`tally`] counts, [`process`] and
//! [`meters`] measure from outside, [`report`] divides, [`show`] prints.

mod args;
mod callers;
mod control;
mod goods;
mod judge;
mod meters;
mod plan;
mod process;
mod report;
mod show;
mod tally;

use std::num::{NonZeroU32, NonZeroU64};
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::time::Instant;

pub(crate) use self::args::{ABOUT, BenchArgs};
use self::args::{LoadArgs, Mode};
use self::callers::{Crew, Thread, new_tally};
use self::control::{Control, Phase};
use self::goods::{Audit, Goods};
use self::meters::{Marks, Meters, Used};
use self::plan::Mix;
use self::report::{Evidence, Report, Setup, Sold};
use self::show::{Goal, Show};
use self::tally::Tally;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::printer::{Format, Printer, write_line};
use crate::time;

/// How long is measured if nothing is said.
const DURATION: Duration = Duration::from_secs(10);

/// Runs the bench. Exit code 0 only if nothing was wrong.
pub(crate) fn run(args: &BenchArgs, printer: Printer) -> Result<Exit, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::local(format!("cannot start: {error}")))?;
    let requests_max = args.load.requests.map_or(u64::MAX, NonZeroU64::get);
    let control = Arc::new(Control::new(requests_max));
    let report = runtime.block_on(async {
        tokio::select! {
            report = Bench::new(args, &control).run() => report,
            () = interrupted_twice(&control) => Err(Failure::local("interrupted")),
        }
    })?;
    write_line(&match printer.format() {
        Format::Text => show::text(&report),
        // Names are strings and numbers are finite: nothing here can fail.
        Format::Json => serde_json::to_string(&report).unwrap_or_default(),
    })?;
    Ok(exit(&report))
}

/// Wrong answers are worse than none, and none are worse than an audit that nobody
/// could make.
fn exit(report: &Report) -> Exit {
    let undecided = report.decided() == 0 || report.audit != Some("SOUND");
    match (report.sound, undecided) {
        (false, _) => Exit::Refused,
        (true, true) => Exit::Undecided,
        (true, false) => Exit::Done,
    }
}

/// The first Ctrl-C (or SIGTERM) ends the measurement, the second everything.
async fn interrupted_twice(control: &Control) {
    let signals = [SignalKind::interrupt(), SignalKind::terminate()].map(signal);
    let [Ok(mut interrupt), Ok(mut terminate)] = signals else {
        // They end the process then, as they do by themselves.
        return std::future::pending().await;
    };
    for _ in 0..2 {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        control.interrupt();
    }
}

/// A run from its beginning to its figures.
struct Bench<'a> {
    args: &'a BenchArgs,
    control: &'a Arc<Control>,
    goal: Goal,
    seed: u64,
    /// Names this run, whatever its seed.
    run: u64,
}

/// What was measured of the load.
struct Measured {
    tally: Tally,
    elapsed: Duration,
    used: Used,
}

impl<'a> Bench<'a> {
    fn new(args: &'a BenchArgs, control: &'a Arc<Control>) -> Self {
        let load = &args.load;
        Self {
            args,
            control,
            goal: match load.requests {
                Some(requests) => Goal::Requests(requests.get()),
                None => Goal::Time(load.duration.unwrap_or(DURATION)),
            },
            seed: load
                .seed
                .unwrap_or_else(|| rand::random_range(0..1_000_000)),
            run: rand::random(),
        }
    }

    async fn run(self) -> Result<Report, Failure> {
        let meters = Meters::open(&self.args.meters).await?;
        let server = self.args.addr.first().map_or("", String::as_str);
        let mut goods = Goods::new(server)?;
        let mut show = Show::new(self.goal);
        let report = self.report(&meters, &mut goods, &mut show).await;
        show.end();
        if self.args.goods.keep {
            show.say(&format!("its items are kept: {}", goods.items.join(" ")));
        } else {
            match (goods.clear().await, &report) {
                (Err(error), Ok(_)) => {
                    show.say(&format!("its items could not be deleted: {error}"));
                }
                // What went wrong first is what is told.
                (Err(_), Err(_)) | (Ok(()), _) => {}
            }
        }
        report
    }

    async fn report(
        &self,
        meters: &Meters<'_>,
        goods: &mut Goods,
        show: &mut Show,
    ) -> Result<Report, Failure> {
        goods.prepare(&self.args.goods, self.run).await?;
        let Measured {
            tally,
            elapsed,
            mut used,
        } = self.measure(meters, goods, show).await?;
        let audit = match goods.audit().await {
            Ok(audit) => Some(audit),
            Err(error) => {
                used.notes.push(format!("nothing was audited: {error}"));
                None
            }
        };
        let naive = self.compare(meters, show, &mut used).await;
        Ok(self.figures(&tally, elapsed, used, audit, naive))
    }

    /// Lets the callers call.
    async fn measure(
        &self,
        meters: &Meters<'_>,
        goods: &Goods,
        show: &mut Show,
    ) -> Result<Measured, Failure> {
        let load = &self.args.load;
        let mix = Arc::new(Mix {
            items: goods.items.clone(),
            quantity: load.quantity.get(),
            buyers: load.buyers.map(NonZeroU32::get),
            duplicates_percent: load.duplicates,
            seed: self.seed,
            run: self.run.to_be_bytes(),
        });
        let crew = Arc::new(Crew {
            servers: self.args.addr.clone(),
            callers: load.callers,
            threads: threads(load),
            connections: load.connections,
            mode: load.mode,
            size: match load.mode {
                Mode::Batch => load.batch_size as usize,
                Mode::Unary | Mode::Stream => 1,
            },
            timeout: load.timeout,
        });
        let mut threads = Vec::new();
        if !load.warm_up.is_zero() {
            threads = crew.start(&mix, self.control)?;
            self.pass(load.warm_up, &threads).await;
        }
        let marks = self.begin(meters).await?;
        let begun = Instant::now();
        self.control.advance(Phase::Measure);
        if threads.is_empty() {
            threads = crew.start(&mix, self.control)?;
        }
        self.watch(begun, &threads, show).await;
        self.control.advance(Phase::Stop);
        let mut tally = new_tally()?;
        for thread in threads {
            tally.merge(&thread.end().await?);
        }
        Ok(Measured {
            tally,
            elapsed: begun.elapsed(),
            used: meters.end(&marks).await,
        })
    }

    /// Reads the meters, and ends the callers if that fails.
    async fn begin(&self, meters: &Meters<'_>) -> Result<Marks, Failure> {
        let marks = meters.begin().await;
        if marks.is_err() {
            self.control.advance(Phase::Stop);
        }
        marks
    }

    /// Watches until the goal is reached, or everybody has left.
    async fn watch(&self, begun: Instant, threads: &[Thread], show: &mut Show) {
        while self.control.phase() == Phase::Measure && !threads.iter().all(Thread::has_ended) {
            let left = match self.goal {
                Goal::Time(time) => time.saturating_sub(begun.elapsed()),
                Goal::Requests(_) => show::BAR_EVERY,
            };
            if left.is_zero() {
                break;
            }
            show.update(begun.elapsed(), self.control);
            self.pass(left.min(show::BAR_EVERY), threads).await;
        }
    }

    /// Lets time pass, unless there is nothing to wait for any more.
    #[expect(
        clippy::disallowed_methods,
        reason = "a measurement lasts as long as it was told to"
    )]
    async fn pass(&self, time: Duration, threads: &[Thread]) {
        const TICK: Duration = Duration::from_millis(10);
        let end = Instant::now() + time;
        while self.control.phase() != Phase::Stop && !threads.iter().all(Thread::has_ended) {
            match end.saturating_duration_since(Instant::now()) {
                Duration::ZERO => break,
                left => tokio::time::sleep(left.min(TICK)).await,
            }
        }
    }

    /// Measures the other way of selling; a note if that fails, for the figures
    /// of this one are there.
    async fn compare(
        &self,
        meters: &Meters<'_>,
        show: &Show,
        used: &mut Used,
    ) -> Option<shards::redis::yardstick::NaiveRun> {
        if self.args.meters.compare.is_some() {
            let time = time::spell(self.args.meters.naive_duration);
            show.say(&format!("measuring the naive way for {time}"));
        }
        match meters.compare(self.control).await {
            Ok(naive) => naive,
            Err(error) => {
                used.notes
                    .push(format!("the naive way was not measured: {error}"));
                None
            }
        }
    }

    fn figures(
        &self,
        tally: &Tally,
        elapsed: Duration,
        used: Used,
        audit: Option<Audit>,
        naive: Option<shards::redis::yardstick::NaiveRun>,
    ) -> Report {
        let (load, goods) = (&self.args.load, &self.args.goods);
        let sold = match &goods.item {
            Some(item) => Sold::Given {
                item_id: item.clone(),
            },
            None => Sold::Own {
                items: goods.items,
                stock: goods.stock,
                shards: goods.shards,
                buyer_limit: goods.buyer_limit,
            },
        };
        let setup = Setup {
            seed: self.seed,
            servers: self.args.addr.clone(),
            mode: load.mode.name(),
            callers: load.callers,
            connections: load.connections.max(threads(load)),
            threads: threads(load),
            batch_size: (load.mode == Mode::Batch).then_some(load.batch_size),
            quantity: load.quantity.get(),
            sold,
            duplicates_percent: load.duplicates,
            buyers: load.buyers.map(NonZeroU32::get),
            warm_up: time::json_duration(load.warm_up),
        };
        Report::new(Evidence {
            setup,
            interrupted: self.control.is_interrupted(),
            elapsed,
            tally,
            used,
            audit,
            naive,
        })
    }
}

/// Threads that call: half of the processors, the others are for whom they call.
/// No more than there are callers.
fn threads(load: &LoadArgs) -> u32 {
    let half = || {
        let all = std::thread::available_parallelism();
        all.map_or(1, |all| u32::try_from(all.get() / 2).unwrap_or(1).max(1))
    };
    load.threads.unwrap_or_else(half).min(load.callers)
}
