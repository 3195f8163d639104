//! The grammar of `holdfast bench`, and what its help says about its figures.

use std::num::{NonZeroU32, NonZeroU64};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::process::Target;
use crate::time::{parse_duration, parse_positive_duration};

/// What the long help says below the first sentence.
pub(crate) const ABOUT: &str = "\
Measure servers under load, and check what they answer

Callers reserve as fast as they are answered: each sends its next request when
its last one is decided. Such a closed loop hides queueing: a server that stalls
is asked less meanwhile, so its latency looks better than that of a sale, whose
buyers do not wait for each other. Read the throughput, and the latency at this
number of callers; not what would happen at another rate.

Each request is sent once; one that fails is counted by its reason and not sent
again. The calls of the warm-up are not in the figures, but they are checked.

It checks that nothing is granted that was not asked for, that ids sent twice get
one reservation and equal answers, and, of items of its own, that the units held
in the end are those that callers were granted (audit). What is wrong is listed,
and the exit code is 1; it is 3 if nothing was decided, or nothing could be
audited. Ctrl-C ends the measurement with what was measured until then; pressed
again it ends everything at once, and the items stay.

JSON (--output json), unset where there is nothing to tell:
  sound, failures       whether all checks held; sentences about what is wrong
  seed, servers, mode, callers, connections, threads, batch_size, quantity,
  items, stock, shards, buyer_limit (or item_id), duplicates_percent, buyers,
  warm_up               how it was run; connections are per server, and stock
                        is per item
  interrupted, elapsed  ended by Ctrl-C; the time measured, as in \"10.002s\"
  requests, calls       Reserves sent, duplicates included; messages that
                        carried them
  outcomes              Reserves by answer: granted, replayed (the ids were
                        granted before), sold_out, not_enough, ...
  from_cache            refusals among them that took no look at the store
  errors                Reserves without a decision, by reason or status code
  requests_per_second, granted_per_second
  latency_us            p50, p90, p99, p999 and max of the calls answered
  duplicates            sent, equal, refused_twice, one_refused, undecided
  mismatches            granted_twice, unequal_replays, replays_refused,
                        false_replays, wrong_answers
  audit                 SOUND, VIOLATED or UNDECIDED: the worst of all items
  cpu                   of each process of --pid, and of this one (bench):
                        name, pid, cpu_us, us_per_request, us_per_granted
  store                 of the servers of --store-stats together: script_calls,
                        script_us, cpu_us, memory_bytes, each with the same
                        _per_granted; nodes has the sums of each server
  naive                 of --compare: requests, elapsed, requests_per_second,
                        cpu_us_per_request, script_us_per_request, and ratio,
                        the Redis CPU of one of them to that of one granted
                        reservation
  notes                 what could not be read, and why";

/// What is measured, and how.
#[derive(Debug, Args)]
pub(crate) struct BenchArgs {
    /// The servers; callers are spread over them
    #[arg(
        long,
        value_name = "URL",
        value_delimiter = ',',
        default_value = "http://127.0.0.1:50051"
    )]
    pub(super) addr: Vec<String>,

    #[command(flatten)]
    pub(super) goods: GoodsArgs,
    #[command(flatten)]
    pub(super) load: LoadArgs,
    #[command(flatten)]
    pub(super) meters: MeterArgs,
}

/// What is sold.
#[derive(Debug, Args)]
#[command(next_help_heading = "What is sold")]
pub(super) struct GoodsArgs {
    /// Sell this item, and leave it as it is then [default: items of its own,
    /// deleted in the end]
    #[arg(long, value_name = "ITEM",
          conflicts_with_all = ["items", "stock", "shards", "buyer_limit", "keep"])]
    pub(super) item: Option<String>,

    /// Items of its own, bench-... by name
    #[arg(long, value_name = "NUMBER", default_value = "1",
          value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub(super) items: u32,

    /// Units of each; few, or 0, measure how fast a sold-out sale refuses. What
    /// the warm-up takes is gone when the measurement begins
    #[arg(long, value_name = "UNITS", default_value = "1000000",
          value_parser = clap::value_parser!(i64).range(0..))]
    pub(super) stock: i64,

    /// Shards of each, 1 to 64; 0 leaves it to the server
    #[arg(long, value_name = "NUMBER", default_value = "0",
          value_parser = clap::value_parser!(u32).range(0..=64))]
    pub(super) shards: u32,

    /// Most units of one buyer; 0 is no limit, and buyers are not counted
    #[arg(long, value_name = "UNITS", default_value = "0")]
    pub(super) buyer_limit: u32,

    /// Do not delete its items in the end
    #[arg(long)]
    pub(super) keep: bool,
}

/// Who calls, and how.
#[derive(Debug, Args)]
#[command(next_help_heading = "Load")]
pub(super) struct LoadArgs {
    /// Callers, each with one call under way
    #[arg(long, value_name = "NUMBER", default_value = "128",
          value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(super) callers: u32,

    /// How Reserves are sent: a call for each, many in one call, or over streams
    #[arg(long, value_enum, value_name = "MODE", default_value_t)]
    pub(super) mode: Mode,

    /// Reserves of each call, for --mode batch
    #[arg(long, value_name = "NUMBER", default_value = "100",
          value_parser = clap::value_parser!(u32).range(1..=512))]
    pub(super) batch_size: u32,

    /// Share of the Reserves that are sent a second time, to another server if
    /// there are several; half of them at the same time, half after the answer
    #[arg(long, value_name = "PERCENT", default_value = "0",
          value_parser = clap::value_parser!(u32).range(0..=100))]
    pub(super) duplicates: u32,

    /// Units of each Reserve
    #[arg(long, value_name = "UNITS", default_value = "1")]
    pub(super) quantity: NonZeroU32,

    /// Buyers, of whom one is drawn for each Reserve [default: each has its own]
    #[arg(long, value_name = "NUMBER")]
    pub(super) buyers: Option<NonZeroU32>,

    /// How long to measure [default: 10s]
    #[arg(long, value_name = "DURATION", value_parser = parse_positive_duration,
          conflicts_with = "requests")]
    pub(super) duration: Option<Duration>,

    /// Measure so many Reserves, duplicates not counted, instead of a time
    #[arg(long, value_name = "NUMBER")]
    pub(super) requests: Option<NonZeroU64>,

    /// How long to call before measuring
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = parse_duration)]
    pub(super) warm_up: Duration,

    /// How long one call may take
    #[arg(long, value_name = "DURATION", default_value = "10s",
          value_parser = parse_positive_duration)]
    pub(super) timeout: Duration,

    /// Connections to each server, shared by the callers; at least one a thread
    #[arg(long, value_name = "NUMBER", default_value = "4",
          value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub(super) connections: u32,

    /// Threads that call [default: half of the processor's]
    #[arg(long, value_name = "NUMBER",
          value_parser = clap::value_parser!(u32).range(1..=64))]
    pub(super) threads: Option<u32>,

    /// Items, buyers and duplicates are drawn from this number; request ids are
    /// always new [default: a new one, which is printed]
    #[arg(long, value_name = "NUMBER")]
    pub(super) seed: Option<u64>,
}

/// What else is measured.
#[derive(Debug, Args)]
#[command(next_help_heading = "What else is measured")]
pub(super) struct MeterArgs {
    /// Processes of this machine whose CPU is told, such as redis=123,server=456
    #[arg(long, value_name = "[NAME=]PID", value_delimiter = ',')]
    pub(super) pid: Vec<Target>,

    /// Redis servers whose counters are told, such as
    /// redis://127.0.0.1:6379,127.0.0.1:6380; name the masters
    #[arg(long, value_name = "URL")]
    pub(super) store_stats: Option<String>,

    /// The ACL user to read them as
    #[arg(long, value_name = "NAME", requires = "stats_password_file")]
    pub(super) stats_user: Option<String>,

    /// A file with the password to read them with
    #[arg(long, value_name = "FILE", requires = "store_stats")]
    pub(super) stats_password_file: Option<PathBuf>,

    /// Afterwards measure another way of selling on the first of those servers;
    /// its key is holdfast-bench:..., and deleted in the end
    #[arg(long, value_enum, value_name = "WAY", requires = "store_stats")]
    pub(super) compare: Option<Compare>,

    /// Callers of that way, each with a connection of its own
    #[arg(long, value_name = "NUMBER", default_value = "50",
          value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub(super) naive_callers: u32,

    /// How long that way is measured
    #[arg(long, value_name = "DURATION", default_value = "5s",
          value_parser = parse_positive_duration)]
    pub(super) naive_duration: Duration,
}

/// How Reserves are sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Mode {
    /// A call for each
    #[default]
    Unary,
    /// Many in one call
    Batch,
    /// A message for each, over one stream a connection
    Stream,
}

impl Mode {
    /// As it is said.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Unary => "unary",
            Self::Batch => "batch",
            Self::Stream => "stream",
        }
    }
}

/// Another way of selling.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Compare {
    /// One EVALSHA a request of GET; if > 0 then DECR: no ids, no records
    NaiveLua,
}
