//! `holdfast demo`: a whole sale on this machine. A real server process, real
//! gRPC, buyers who press twice, change their minds or walk away, one `kill -9`
//! half-way; then the callers' own log is held against an audit. On a store in
//! Redis two servers sell, and who presses twice reaches both.
//!
//! [`plan`] draws the buyers, [`sale`] lets them buy, [`server`] is the processes
//! of which one gets killed, [`log`] what callers were told, [`verdict`] judges,
//! [`show`] prints.

mod log;
mod plan;
mod sale;
mod server;
mod show;
mod verdict;

use std::num::NonZeroU32;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use client::{Client, Options, Policy};
use proto::v1::AuditVerdict;
use serde_json::json;
use tokio::time::Instant;

use self::log::{Log, Told};
use self::sale::Sale;
use self::server::{Servers, Store, Work};
use self::show::Show;
use self::verdict::{Evidence, Verdict};
use crate::config::{StoreFlags, named_store};
use crate::environment::Environment;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::printer::{Format, write_line};

/// Connections that the buyers share, as a few checkout services would have.
const CONNECTIONS: usize = 8;
/// A sale takes about ten seconds; one that has not ended by now never will.
const SALE_TIME_MAX: Duration = Duration::from_secs(45);

/// The sale.
#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// Units on sale
    #[arg(long, value_name = "NUMBER", default_value = "1000")]
    pub(crate) units: NonZeroU32,

    /// Buyers who rush for them
    #[arg(long, value_name = "NUMBER", default_value = "5000")]
    pub(crate) buyers: NonZeroU32,

    /// Shards that the stock is spread over, 1 to 64
    #[arg(long, value_name = "NUMBER", default_value = "8",
          value_parser = clap::value_parser!(u32).range(1..=64))]
    pub(crate) shards: u32,

    /// What the buyers do is drawn from this number [default: a new one, which
    /// is printed]
    #[arg(long, value_name = "NUMBER")]
    pub(crate) seed: Option<u64>,

    /// Do not kill the server half-way
    #[arg(long)]
    pub(crate) no_kill: bool,

    /// Where the item is
    #[command(flatten)]
    pub(crate) store: StoreFlags,
}

/// Runs the demo. Exit code 0 only if the verdict holds.
pub(crate) fn run(args: &DemoArgs, environment: &Environment, format: Format) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let result = match runtime {
        Ok(runtime) => runtime.block_on(async {
            tokio::select! {
                result = demo(args, environment) => result,
                _ = tokio::signal::ctrl_c() => Err(Failure::local("interrupted")),
            }
        }),
        Err(error) => Err(Failure::local(format!("cannot start: {error}"))),
    };
    match result.and_then(|report| report.print(format)) {
        Ok(exit) => exit.into(),
        Err(failure) => failure.report(format).into(),
    }
}

/// What the demo ends with.
struct Report {
    seed: u64,
    store: Arc<Store>,
    verdict: Verdict,
    sale: Arc<Sale>,
    audit: AuditVerdict,
    work: Work,
    /// Why the item is still in a store that others use; `None`: it is not.
    left: Option<String>,
}

impl Report {
    fn print(&self, format: Format) -> Result<Exit, Failure> {
        let log = self.sale.log();
        let text = match format {
            Format::Text => {
                let mut text =
                    show::verdict_text(&self.verdict, &log, self.work, self.audit_name());
                if let Some(left) = &self.left {
                    text.push_str("\n\n");
                    text.push_str(left);
                }
                text
            }
            Format::Json => json!({
                "sound": self.verdict.failures.is_empty(),
                "seed": self.seed,
                "store": self.store.name(),
                "item_id": self.sale.item(),
                "item_left": self.left.is_some(),
                "stocked": self.verdict.stocked,
                "sold": self.verdict.sold,
                "oversold": self.verdict.oversold,
                "stranded": self.verdict.stranded,
                "acknowledged_and_lost": self.verdict.lost,
                "duplicates_replayed": self.verdict.duplicates_replayed,
                "refusals": log.refused,
                "looks": self.work.looks,
                "transfers": self.work.transfers,
                "transferred_units": self.work.units,
                "reserve_p50_us": log.latency(0.5).as_micros(),
                "reserve_p99_us": log.latency(0.99).as_micros(),
                "audit": self.audit_name(),
                "failures": self.verdict.failures,
            })
            .to_string(),
        };
        write_line(&text)?;
        Ok(if self.verdict.failures.is_empty() {
            Exit::Done
        } else {
            Exit::Refused
        })
    }

    fn audit_name(&self) -> &'static str {
        self.audit
            .as_str_name()
            .trim_start_matches("AUDIT_VERDICT_")
    }
}

async fn demo(args: &DemoArgs, environment: &Environment) -> Result<Report, Failure> {
    let units = u64::from(args.units.get());
    let seed = args
        .seed
        .unwrap_or_else(|| rand::random_range(0..1_000_000));
    let store = Store::of(named_store(&args.store, environment)?)
        .map_err(|error| Failure::local(format!("cannot make a temporary directory: {error}")))?;
    let store = Arc::new(store);
    let mut servers = Servers::start(&store).await.map_err(cannot_run)?;
    let mut show = Show::new(units);
    show.say(&format!(
        "{units} units on {} shards, {} buyers, at most {} each; seed {seed}\n{}",
        args.shards,
        args.buyers,
        plan::LIMIT,
        who_sells(&servers, &store),
    ));

    let log = Log::new().ok_or_else(|| Failure::local("cannot make a histogram"))?;
    let sale = Arc::new(Sale::new(connect(&servers)?, log));
    sale.open(units, args.shards).await.map_err(Failure::from)?;
    let mut work = Work::default();
    let in_time = sell(args, seed, &sale, &mut servers, &mut show, &mut work).await?;
    show.end();

    let audit = sale.audit().await.map_err(Failure::from)?;
    let states = sale.states().await.map_err(Failure::from)?;
    work += servers.work().await;
    let mut verdict = verdict::judge(&Evidence {
        stocked: units,
        limit: u64::from(plan::LIMIT),
        log: &sale.log(),
        audit: &audit,
        states: &states,
    });
    if !in_time {
        verdict
            .failures
            .push(format!("the sale had not ended after {SALE_TIME_MAX:?}"));
    }
    let left = leave(&sale, &store, &verdict).await;
    servers.stop().await.map_err(cannot_run)?;
    Ok(Report {
        seed,
        store,
        verdict,
        audit: audit.verdict(),
        sale,
        work,
        left,
    })
}

/// Which servers sell from what.
fn who_sells(servers: &Servers, store: &Store) -> String {
    let names = servers.names();
    match store {
        Store::Own(dir) => format!("server {names}, its store in {}", dir.path().display()),
        Store::Shared(store) => format!(
            "servers {names}, one store {}; who presses twice reaches both",
            store.address
        ),
    }
}

/// Leaves a store that was there before as it was, unless there is something to
/// see; that is said then.
async fn leave(sale: &Sale, store: &Store, verdict: &Verdict) -> Option<String> {
    let Store::Shared(store) = store else {
        return None; // it goes as a whole
    };
    let (item, address) = (sale.item(), &store.address);
    if !verdict.failures.is_empty() {
        return Some(format!("item {item} is left in {address}, to be looked at"));
    }
    let error = sale.clear_away().await.err()?;
    Some(format!(
        "item {item} is left in {address}, since it could not be deleted: {error}"
    ))
}

/// Lets the buyers in, kills the server half-way, and waits until all have
/// left and every abandoned hold has expired. False if that took too long.
async fn sell(
    args: &DemoArgs,
    seed: u64,
    sale: &Arc<Sale>,
    servers: &mut Servers,
    show: &mut Show,
    work: &mut Work,
) -> Result<bool, Failure> {
    let (units, buyers) = (u64::from(args.units.get()), u64::from(args.buyers.get()));
    let opening = Instant::now();
    let mut tasks = sale.start(plan::draw(args.buyers.get(), seed));
    let mut to_be_killed = !args.no_kill;
    while opening.elapsed() < SALE_TIME_MAX {
        // Ticks for the eye; what ends the loop is what has happened.
        sale::pause(show::BAR_EVERY).await;
        show.update(opening.elapsed(), &sale.log());
        let half_way = sale.log().units(Told::Confirmed) * 2 >= units || sale.done() * 2 >= buyers;
        if to_be_killed && half_way {
            to_be_killed = false;
            *work += kill(servers, show, opening).await?;
        }
        if sale.done() == buyers && sale.held().await.is_ok_and(|held| held == 0) {
            // A panic of a buyer is one of ours.
            while let Some(ended) = tasks.join_next().await {
                ended.map_err(|error| Failure::local(format!("a buyer failed: {error}")))?;
            }
            return Ok(true);
        }
    }
    tasks.shutdown().await;
    Ok(false)
}

/// Kills a server and starts it again; what it had done until then.
async fn kill(servers: &mut Servers, show: &Show, opening: Instant) -> Result<Work, Failure> {
    let others_sell = servers.addresses().count() > 1;
    let server = servers.victim();
    let work = server.work().await;
    let killed = Instant::now();
    show.say(&format!(
        "{:>5.1} s  kill -9 {}: what was acknowledged must be there again{}",
        opening.elapsed().as_secs_f64(),
        server.pid(),
        if others_sell {
            "; the other server sells on"
        } else {
            ""
        }
    ));
    server.kill_and_restart().await.map_err(cannot_run)?;
    show.say(&format!(
        "{:>5.1} s  server {} serves again after {} ms",
        opening.elapsed().as_secs_f64(),
        server.pid(),
        killed.elapsed().as_millis(),
    ));
    Ok(work)
}

/// Clients that wait for a server that restarts, with the same ids: of several
/// servers each has its share, in turn.
fn connect(servers: &Servers) -> Result<Vec<Client>, Failure> {
    let policy = Policy {
        deadline: Duration::from_secs(20),
        attempts_max: 100,
        backoff_max: Duration::from_millis(250),
        ..Policy::default()
    };
    let options = Options {
        policy,
        ..Options::default()
    };
    let turns = servers.addresses().cycle().take(CONNECTIONS);
    turns
        .map(|address| Client::lazy(address, options.clone()).map_err(Failure::from))
        .collect()
}

fn cannot_run(error: impl std::fmt::Display) -> Failure {
    Failure::local(format!("the demo's server cannot be run: {error}"))
}
