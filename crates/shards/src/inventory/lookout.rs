//! Looks at an item's shards, shared by all who wait for one: one at a time per
//! item and server, a little apart, so that a sold-out item costs the store a
//! few readings a second whatever the number of buyers.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tokio::sync::{MutexGuard, watch};

use super::items::shard_numbers;
use super::types::SteadyStock;
use super::view::read_clock;
use super::{Error, Gone, Inventory, unexpected};
use crate::allocator::{Look, Looking, Seen};
use crate::ids::{Generation, ItemId, ShardNo};
use crate::machine::{Entry, Reading, ShardOp, ShardReply};
use crate::rules::{Rule, holds};
use crate::store::{Deadline, StoreError};

/// Between the end of a look and the begin of the next.
const APART: Duration = Duration::from_millis(5);
/// How long a look that failed is the answer, so that an outage does not make
/// refusals the dearest answers of all.
const FAILURE_AGE_MAX: Duration = Duration::from_millis(200);
/// Items of which something is remembered here.
const POSTS_MAX: usize = 4_096;

/// All items that are looked at.
#[derive(Debug, Default)]
pub(super) struct Lookout {
    posts: Mutex<HashMap<Generation, Arc<Post>>>,
}

/// One item's looks.
#[derive(Debug)]
struct Post {
    /// Looks that have begun, ever.
    begun: AtomicU64,
    /// Whoever has this looks; the others wait for what is seen.
    turn: tokio::sync::Mutex<()>,
    last: watch::Sender<Last>,
}

/// The last look.
#[derive(Debug, Default)]
struct Last {
    ended: Option<Instant>,
    /// Its number, and what it saw.
    seen: Option<(u64, Result<Arc<Look>, Error>)>,
}

impl Last {
    /// What somebody may be told who arrived when `arrived` looks had begun.
    /// ⚔ A look that began before that may have missed units that came free
    /// since: only a later one will do.
    fn answer(&self, arrived: u64) -> Option<Result<Arc<Look>, Error>> {
        let (number, seen) = self.seen.as_ref()?;
        let tells = match seen {
            Ok(_) => *number > arrived || !holds(Rule::SharedLookBeginsLater),
            Err(_) => self
                .ended
                .is_some_and(|ended| read_clock().duration_since(ended) < FAILURE_AGE_MAX),
        };
        tells.then(|| seen.clone())
    }
}

/// What somebody who waits for a look gets.
enum Wait<'a> {
    /// Somebody else looked.
    Seen(Result<Arc<Look>, Error>),
    /// It is theirs to look.
    Turn(MutexGuard<'a, ()>),
}

impl Post {
    fn new() -> Self {
        Self {
            begun: AtomicU64::new(0),
            turn: tokio::sync::Mutex::default(),
            last: watch::Sender::default(),
        }
    }

    /// Waits for a look that somebody else takes, or for a turn to take one.
    /// All who may share a look hear of it at once, not one after the other.
    async fn wait(&self) -> Wait<'_> {
        let arrived = self.begun.load(Ordering::SeqCst);
        let mut news = self.last.subscribe();
        let mut turn = pin!(self.turn.lock());
        loop {
            if let Some(answer) = news.borrow_and_update().answer(arrived) {
                return Wait::Seen(answer);
            }
            tokio::select! {
                biased;
                _ = news.changed() => {}
                turn = &mut turn => {
                    // Told and let go in this order: so look once more.
                    return match news.borrow_and_update().answer(arrived) {
                        Some(answer) => Wait::Seen(answer),
                        None => Wait::Turn(turn),
                    };
                }
            }
        }
    }

    fn tell(&self, number: u64, seen: Result<Arc<Look>, Error>) {
        self.last.send_replace(Last {
            ended: Some(read_clock()),
            seen: Some((number, seen)),
        });
    }
}

impl Lookout {
    fn post(&self, generation: Generation) -> Arc<Post> {
        let mut posts = self.posts.lock().unwrap_or_else(PoisonError::into_inner);
        if posts.len() >= POSTS_MAX && !posts.contains_key(&generation) {
            posts.retain(|_, post| Arc::strong_count(post) > 1);
        }
        let post = posts
            .entry(generation)
            .or_insert_with(|| Arc::new(Post::new()));
        Arc::clone(post)
    }
}

impl Inventory {
    /// What can be bought of an item, by a look that begins after this call;
    /// `None` where that cannot be said for a while to come, since stock was
    /// moved or added meanwhile.
    ///
    /// # Errors
    /// [`Error::ItemNotFound`], [`Error::ItemDeleting`], and what the store says.
    pub async fn steady_stock(
        &self,
        item: &ItemId,
        deadline: Deadline,
    ) -> Result<Option<SteadyStock>, Error> {
        loop {
            let entry = self.entry(item, deadline).await?;
            if let Ok(look) = self.look(&entry, deadline).await? {
                return Ok(look.steady.then_some(SteadyStock {
                    available: look.available,
                    held: look.held,
                }));
            }
        }
    }

    /// A look at all shards that begins after this call.
    pub(super) async fn look(
        &self,
        entry: &Entry,
        deadline: Deadline,
    ) -> Result<Result<Arc<Look>, Gone>, Error> {
        let post = self.lookout.post(entry.generation);
        let _turn = match before(deadline, post.wait()).await? {
            Wait::Seen(answer) => return answer.map(Ok),
            Wait::Turn(turn) => turn,
        };
        let ended = post.last.borrow().ended;
        if let Some(ended) = ended {
            before(deadline, tokio::time::sleep_until((ended + APART).into())).await?;
        }
        let number = post.begun.fetch_add(1, Ordering::SeqCst) + 1;
        self.figures.looks.fetch_add(1, Ordering::Relaxed);
        let seen = match self.look_now(entry, deadline).await {
            Ok(Ok(look)) => Ok(Arc::new(look)),
            Ok(Err(gone)) => return Ok(Err(gone)),
            // This caller's time was over; the others' may not be.
            Err(error) if deadline.is_some_and(|end| read_clock() >= end) => return Err(error),
            Err(error @ Error::Store(StoreError::DeadlineTooShort)) => return Err(error),
            Err(error) => Err(error),
        };
        post.tell(number, seen.clone());
        seen.map(Ok)
    }

    async fn look_now(
        &self,
        entry: &Entry,
        deadline: Deadline,
    ) -> Result<Result<Look, Gone>, Error> {
        let mut looking = Looking::new(super::shards_of(entry));
        loop {
            if let Some(look) = looking.finish() {
                return Ok(Ok(look));
            }
            let unread = looking.unread();
            match self.read_shards(entry, &unread, deadline).await? {
                Ok(readings) => {
                    for (shard, reading) in unread.into_iter().zip(&readings) {
                        looking.read(shard, Seen::from(reading));
                    }
                }
                Err(gone) => return Ok(Err(gone)),
            }
        }
    }

    /// Reads every shard once, all at the same time.
    pub(super) async fn read_all(
        &self,
        entry: &Entry,
        deadline: Deadline,
    ) -> Result<Result<Vec<Reading>, Gone>, Error> {
        let all: Vec<_> = shard_numbers(entry).collect();
        self.read_shards(entry, &all, deadline).await
    }

    async fn read_shards(
        &self,
        entry: &Entry,
        shards: &[ShardNo],
        deadline: Deadline,
    ) -> Result<Result<Vec<Reading>, Gone>, Error> {
        let ask = |shard: &ShardNo| self.ask_shard(entry, *shard, ShardOp::Look, deadline);
        let mut readings = Vec::with_capacity(shards.len());
        for answer in join_all(shards.iter().map(ask)).await {
            match answer? {
                Ok(ShardReply::Read(reading)) => readings.push(*reading),
                Ok(other) => return Err(unexpected(&other)),
                Err(gone) => return Ok(Err(gone)),
            }
        }
        Ok(Ok(readings))
    }
}

/// Waits for something, but not longer than the caller does.
async fn before<T>(deadline: Deadline, wait: impl Future<Output = T>) -> Result<T, Error> {
    let Some(deadline) = deadline else {
        return Ok(wait.await);
    };
    tokio::time::timeout_at(deadline.into(), wait)
        .await
        .map_err(|_| too_late())
}

/// Nothing was done.
pub(super) fn too_late() -> Error {
    StoreError::Unavailable("nothing certain could be found out within the deadline".into()).into()
}
