//! Watching the stock of items. However many watch one item, one poller reads
//! it: a reading each interval, shared by all. It lives as long as somebody
//! watches.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use shards::ids::ItemId;
use shards::inventory::{Error, Stock};
use shards::store::StoreError;
use tokio::sync::{Notify, watch};

use crate::clock;
use crate::tasks::{self, Started};
use crate::tier1::Tier1;

/// The shortest time between two readings of an item.
pub(crate) const INTERVAL_MIN: Duration = Duration::from_millis(100);
/// The longest: news that a watcher begins with are at most this old, while the
/// store answers.
const INTERVAL_MAX: Duration = Duration::from_secs(1);
/// A reading that takes longer counts as an outage.
const READING_TIME_MAX: Duration = Duration::from_secs(2);

/// An item's stock, or why it cannot be told.
pub(crate) type News = Result<Arc<Stock>, Error>;

/// All items that are watched through this server.
#[derive(Clone, Debug)]
pub(crate) struct Watches(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    tier1: Arc<Tier1>,
    topics: Mutex<HashMap<ItemId, Posted>>,
}

#[derive(Debug)]
struct Posted {
    topic: Arc<Topic>,
    /// Who reads it; ends by itself.
    _poller: Started<()>,
}

/// One item.
#[derive(Debug)]
struct Topic {
    /// `None` until the first reading.
    news: watch::Sender<Option<News>>,
    pace: Arc<Pace>,
}

/// How often its watchers want to hear of it.
#[derive(Debug, Default)]
struct Pace {
    /// How many want each interval.
    wanted: Mutex<BTreeMap<Duration, usize>>,
    /// Somebody came who wants a shorter one than all others.
    hurry: Notify,
}

/// One watcher of one item.
#[derive(Debug)]
pub(crate) struct Watch {
    news: watch::Receiver<Option<News>>,
    pace: Arc<Pace>,
    interval: Duration,
}

/// The poller is gone: a defect, or the server's end.
#[derive(Debug)]
pub(crate) struct Ended;

impl Watches {
    pub(crate) fn new(tier1: Arc<Tier1>) -> Self {
        Self(Arc::new(Shared {
            tier1,
            topics: Mutex::default(),
        }))
    }

    /// Watches an item from now on, in readings at most this far apart, but at
    /// most a second. Needs a runtime around it.
    pub(crate) fn watch(&self, item: &ItemId, interval: Duration) -> Watch {
        let mut topics = self.0.topics();
        let posted = topics
            .entry(item.clone())
            .or_insert_with(|| self.begin(item));
        let pace = Arc::clone(&posted.topic.pace);
        pace.join(interval);
        Watch {
            // Under the lock that the poller retires under.
            news: posted.topic.news.subscribe(),
            pace,
            interval,
        }
    }

    fn begin(&self, item: &ItemId) -> Posted {
        let topic = Arc::new(Topic {
            news: watch::Sender::new(None),
            pace: Arc::default(),
        });
        let poller = Poller {
            shared: Arc::clone(&self.0),
            item: item.clone(),
            topic: Arc::clone(&topic),
        };
        Posted {
            topic,
            _poller: tasks::start(poller.run()),
        }
    }
}

impl Shared {
    fn topics(&self) -> MutexGuard<'_, HashMap<ItemId, Posted>> {
        self.topics.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pace {
    fn wanted(&self) -> MutexGuard<'_, BTreeMap<Duration, usize>> {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn join(&self, interval: Duration) {
        let before = self.interval();
        *self.wanted().entry(interval).or_default() += 1;
        if self.interval() < before {
            self.hurry.notify_one();
        }
    }

    fn leave(&self, interval: Duration) {
        let mut wanted = self.wanted();
        if let Some(count) = wanted.get_mut(&interval) {
            *count -= 1;
            if *count == 0 {
                wanted.remove(&interval);
            }
        }
    }

    fn interval(&self) -> Duration {
        let shortest = self.wanted().keys().next().copied();
        shortest
            .unwrap_or(INTERVAL_MAX)
            .clamp(INTERVAL_MIN, INTERVAL_MAX)
    }
}

impl Watch {
    /// The news of now; waits only where there are none yet.
    ///
    /// # Errors
    /// [`Ended`].
    pub(crate) async fn now(&mut self) -> Result<News, Ended> {
        let known = self.news.wait_for(Option::is_some).await;
        match known.as_deref() {
            Ok(Some(news)) => Ok(news.clone()),
            _ => Err(Ended),
        }
    }

    /// Waits for news that [`Self::now`] has not told.
    ///
    /// # Errors
    /// [`Ended`].
    pub(crate) async fn changed(&mut self) -> Result<(), Ended> {
        self.news.changed().await.map_err(|_| Ended)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.pace.leave(self.interval);
    }
}

struct Poller {
    shared: Arc<Shared>,
    item: ItemId,
    topic: Arc<Topic>,
}

impl Poller {
    async fn run(self) {
        loop {
            let begin = clock::now();
            let news = self.read().await;
            self.topic.news.send_if_modified(|known| tell(known, news));
            loop {
                let next = begin + self.topic.pace.interval();
                tokio::select! {
                    () = clock::at(next) => break,
                    () = self.topic.pace.hurry.notified() => {}
                    () = self.topic.news.closed() => {
                        if self.retires() {
                            return;
                        }
                    }
                }
            }
        }
    }

    async fn read(&self) -> News {
        let deadline = clock::later(READING_TIME_MAX);
        let reading = self.shared.tier1.stock_from_now_on(&self.item);
        match tokio::time::timeout_at(deadline.into(), reading).await {
            Ok(news) => news,
            Err(_) => Err(StoreError::Unavailable("it does not answer".into()).into()),
        }
    }

    /// Whether nobody watches any more; then nobody finds this one again.
    fn retires(&self) -> bool {
        let mut topics = self.shared.topics();
        let nobody = self.topic.news.receiver_count() == 0;
        if nobody {
            topics.remove(&self.item);
        }
        nobody
    }
}

/// However it ends, watchers are told, and the next one gets another.
impl Drop for Poller {
    fn drop(&mut self) {
        let mut topics = self.shared.topics();
        let is_this_one = topics
            .get(&self.item)
            .is_some_and(|posted| Arc::ptr_eq(&posted.topic, &self.topic));
        if is_this_one {
            topics.remove(&self.item);
        }
    }
}

/// Takes news in; whether they are worth telling. While the store is away what
/// is known stays, with its true age. A newer age alone is noted in silence.
fn tell(known: &mut Option<News>, news: News) -> bool {
    let is_outage = |news: &News| {
        !matches!(
            news,
            Ok(_) | Err(Error::ItemNotFound(_) | Error::ItemDeleting(_))
        )
    };
    if is_outage(&news) && known.as_ref().is_some_and(|known| !is_outage(known)) {
        return false;
    }
    let changed = match (&*known, &news) {
        // What an outage left of earlier news is none.
        (Some(Ok(before)), Ok(now)) if now.as_of < before.as_of => return false,
        (Some(Ok(before)), Ok(now)) => {
            let as_of = now.as_of;
            let before = Stock {
                as_of,
                ..Stock::clone(before)
            };
            before != **now
        }
        (Some(Err(before)), Err(now)) => before != now,
        _ => true,
    };
    *known = Some(news);
    changed
}

#[cfg(test)]
mod tests;
