//! The naive way of selling: a number in a key, and a script for each request
//! that takes one if there is one. No ids, no records, no expiry, no batches.

use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use futures_util::future::{join_all, try_join_all};
use tokio::time::{Instant, sleep};

use super::wire::{Connection, Reply, encode};
use super::{Error, Node, Reading, Spent};

/// The script, as one finds it in a hundred articles.
const SCRIPT: &[u8] = b"local n = tonumber(redis.call('GET', KEYS[1])) \
if n > 0 then redis.call('DECR', KEYS[1]) return 1 end return 0";

/// Units on sale: so many that every request is granted.
const STOCK: &[u8] = b"1000000000000";

/// Keys that are tried before giving up on finding one that the server keeps. In
/// a cluster of m masters one in m is; with 100 masters all fail once in 20,000.
const KEYS_TRIED_MAX: u32 = 1_000;

/// How often a running measurement asks whether it should stop.
const TICK: Duration = Duration::from_millis(20);

/// How the naive way is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Naive {
    /// Callers, each with a connection of its own and one request under way.
    pub callers: u32,
    /// Time before the measurement.
    pub warm_up: Duration,
    /// Time of the measurement.
    pub duration: Duration,
}

/// What the naive way did and cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NaiveRun {
    /// Requests that were answered.
    pub requests: u64,
    /// The time that they took.
    pub elapsed: Duration,
    /// What the server spent on them.
    pub spent: Spent,
}

/// Runs the naive way on a server, until it has run long enough or `stop` is set.
/// `None` if it was stopped before it began, or the server was started anew
/// meanwhile. Its key is deleted in the end, unless the future is dropped.
pub async fn run_naive(
    node: &Node,
    naive: &Naive,
    stop: &AtomicBool,
) -> Result<Option<NaiveRun>, Error> {
    let mut control = Connection::open(node).await?;
    let loaded = control.ask("SCRIPT", &[b"SCRIPT", b"LOAD", SCRIPT]);
    let Reply::Bulk(sha) = loaded.await? else {
        return Err(node.nonsense("SCRIPT"));
    };
    let key = stocked_key(&mut control).await?;
    let run = Run {
        node,
        command: encode(&[b"EVALSHA", &sha, b"1", key.as_bytes()]),
        answered: AtomicU64::new(0),
        stop,
    };
    let measured = run.measure(&mut control, naive).await;
    control.ask("DEL", &[b"DEL", key.as_bytes()]).await?;
    measured
}

/// Puts the units into a key that this server keeps: in a cluster most keys are
/// others'.
async fn stocked_key(control: &mut Connection<'_>) -> Result<String, Error> {
    let run: u32 = rand::random();
    let mut tried = 0;
    loop {
        let key = format!("holdfast-bench:{{{run:08x}-{tried}}}:naive");
        tried += 1;
        match control.ask("SET", &[b"SET", key.as_bytes(), STOCK]).await {
            Ok(_) => return Ok(key),
            Err(Error::Refused { said, .. })
                if said.starts_with("MOVED") && tried < KEYS_TRIED_MAX => {}
            Err(error) => return Err(error),
        }
    }
}

struct Run<'a> {
    node: &'a Node,
    command: Vec<u8>,
    answered: AtomicU64,
    /// Somebody wants it to end.
    stop: &'a AtomicBool,
}

impl Run<'_> {
    async fn measure(
        &self,
        control: &mut Connection<'_>,
        naive: &Naive,
    ) -> Result<Option<NaiveRun>, Error> {
        let open = (0..naive.callers).map(|_| Connection::open(self.node));
        let callers: Result<Vec<_>, Error> = join_all(open).await.into_iter().collect();
        let calling = try_join_all(callers?.into_iter().map(|caller| self.call(caller)));
        tokio::select! {
            watched = self.watch(control, naive) => watched,
            // They call for as long as somebody watches, so one of them failed.
            ended = calling => ended.map(|_| None),
        }
    }

    /// One caller: asks, waits for the answer, asks again.
    async fn call(&self, mut connection: Connection<'_>) -> Result<Infallible, Error> {
        loop {
            match connection.exchange(&self.command).await {
                Ok(Reply::Integer(1)) => {}
                Ok(Reply::Error(said)) => return Err(self.node.refused("EVALSHA", said)),
                Ok(_) => return Err(self.node.nonsense("EVALSHA")),
                Err(error) => return Err(self.node.broken(error)),
            }
            self.answered.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Reads the server's counters, lets time pass, and reads them again.
    async fn watch(
        &self,
        control: &mut Connection<'_>,
        naive: &Naive,
    ) -> Result<Option<NaiveRun>, Error> {
        self.pass(naive.warm_up).await;
        if self.stop.load(Ordering::Relaxed) {
            return Ok(None);
        }
        let begun = Instant::now();
        let (answered, before) = self.look(control).await?;
        self.pass(naive.duration).await;
        let (answered_then, after) = self.look(control).await?;
        Ok(after.since(&before).map(|spent| NaiveRun {
            requests: answered_then - answered,
            elapsed: begun.elapsed(),
            spent,
        }))
    }

    async fn look(&self, control: &mut Connection<'_>) -> Result<(u64, Reading), Error> {
        let reading = control.counters().await?;
        Ok((self.answered.load(Ordering::Relaxed), reading))
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "a measurement lasts as long as it was told to"
    )]
    async fn pass(&self, time: Duration) {
        let end = Instant::now() + time;
        while !self.stop.load(Ordering::Relaxed) && Instant::now() < end {
            sleep(TICK.min(end - Instant::now())).await;
        }
    }
}
