//! The store for one machine: memory decides, SQLite remembers.
//!
//! One thread has every stripe in memory. While it commits, operations queue
//! up; then all of them are the next commit: one row, one sync, whatever their
//! number. Answers, also of readings, go out after the sync. Nothing is ever
//! read from the file but when it is opened.
//!
//! - `row`: the format; `journal`: the file, all that knows SQLite;
//!   `queue`: what waits for the writer; `engine`: its loop; `cleaner`: what
//!   keeps the file small; `error`: why it cannot be opened; `figures`: what it
//!   counts.
//!
//! In the directory: `holdfast.db` with its `-wal` and `-shm` (SQLite's tools
//! may copy them while the server runs), and `lock`, which keeps a second
//! process out.
//!
//! Costs: all live records in memory (about 200 bytes each), and reading the
//! file back takes about a second per million.

mod cleaner;
mod engine;
mod error;
mod figures;
mod journal;
mod queue;
mod row;
#[cfg(test)]
mod tests;

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use tokio::sync::oneshot;

pub use error::{CommitError, Damage, OpenError};

use cleaner::{LIMITS, Limits};
use engine::{Engine, Space};
use journal::{Disk, SqliteDisk};
use queue::Shared;

use crate::hash::FingerprintKey;
use crate::ids::{STRIPES, StripeNo};
use crate::machine::{Op, StoreIdentity};
use crate::store::{
    Clock, Deadline, Durability, Listener, Pending, Store, StoreError, StoreNode, StoreStatus,
    WallClock,
};
use crate::time::Millis;
use crate::waiting::Waiting;

/// Operations that may wait for the next commit.
const QUEUE_LEN_MAX: usize = 65_536;
/// Free space below which nothing new is taken.
const RESERVE_BYTES: u64 = 64 << 20;

/// How to open a store.
pub struct Options {
    /// Its directory; made if it is not there.
    pub dir: PathBuf,
    /// Operations that may wait; more are refused as overloaded.
    pub queue_len_max: usize,
    /// Free bytes of the disk below which nothing new is taken.
    pub reserve_bytes: u64,
    /// Where the time comes from.
    pub clock: Box<dyn Clock>,
}

impl Options {
    /// The usual settings for a store in this directory.
    #[must_use]
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            queue_len_max: QUEUE_LEN_MAX,
            reserve_bytes: RESERVE_BYTES,
            clock: Box::new(WallClock::default()),
        }
    }
}

/// A store in one directory of this machine. Dropping it carries out what is
/// queued, then closes the file.
pub struct Embedded {
    dir: PathBuf,
    identity: StoreIdentity,
    shared: Arc<Shared>,
    writer: Mutex<Option<JoinHandle<()>>>,
    /// Held until the writer is gone.
    _lock: File,
}

impl Embedded {
    /// Opens the store, or makes one where there is none. Its commits are
    /// counted by the `metrics` recorder in force on this thread, if any.
    ///
    /// # Errors
    /// [`OpenError`]; nothing was changed then.
    pub fn open(mut options: Options) -> Result<Self, OpenError> {
        let identity = StoreIdentity {
            store_id: rand::random(),
            stripes: STRIPES,
            fingerprint_key: FingerprintKey(rand::random()),
        };
        let now = options.clock.now(Millis::default());
        let disk = SqliteDisk::new(options.dir.clone(), identity, now);
        Self::open_on(options, Box::new(disk), LIMITS)
    }

    fn open_on(options: Options, disk: Box<dyn Disk>, limits: Limits) -> Result<Self, OpenError> {
        let Options {
            dir,
            queue_len_max,
            reserve_bytes,
            clock,
        } = options;
        let lock = lock(&dir)?;
        let shared = Arc::new(Shared::new(queue_len_max));
        let space = Space {
            free_bytes: free_bytes(&dir),
            reserve_bytes,
            checked: None,
        };
        let mut engine = Engine {
            shared: Arc::clone(&shared),
            disk,
            clock,
            space,
            commits: figures::Commits::of_this_recorder(),
            limits,
            rests_until: None,
        };
        let serving = engine.open()?;
        let identity = serving.opened.stripes[0].guard.identity;
        let writer = std::thread::Builder::new()
            .name("store-writer".into())
            .spawn(move || engine.run(serving))
            .map_err(|error| OpenError::io(dir.clone(), &error))?;
        Ok(Self {
            dir,
            identity,
            shared,
            writer: Mutex::new(Some(writer)),
            _lock: lock,
        })
    }
}

impl Store for Embedded {
    fn submit(&self, stripe: StripeNo, op: Op, deadline: Deadline) -> Pending {
        if stripe.0 >= STRIPES {
            return Pending::refused(StoreError::Unavailable(format!(
                "there is no stripe {stripe}"
            )));
        }
        let (answer, answered) = oneshot::channel();
        match self.shared.push(Waiting {
            stripe,
            op,
            deadline,
            answer,
        }) {
            Ok(()) => Pending::queued(answered),
            Err(error) => Pending::refused(error),
        }
    }

    fn identity(&self) -> StoreIdentity {
        self.identity
    }

    fn listen(&self, listener: Arc<dyn Listener>) {
        self.shared.listeners.add(listener);
    }

    fn now(&self) -> Option<Millis> {
        self.shared.time()
    }

    fn is_shared(&self) -> bool {
        false
    }

    fn status(&self) -> StoreStatus {
        let acknowledging = self.shared.serving();
        let frozen_stripes = self.shared.frozen_stripes();
        let all = u32::from(STRIPES);
        let mut warnings = Vec::new();
        if self.shared.full() {
            warnings.push(format!(
                "the disk of {} is nearly full: nothing new is taken until there is space",
                self.dir.display()
            ));
        }
        StoreStatus {
            kind: "embedded",
            durability: Durability::Embedded,
            required_replicas: 0,
            format: row::FORMAT,
            max_format: row::FORMAT,
            nodes: vec![StoreNode {
                endpoint: self.dir.display().to_string(),
                acknowledging,
                required_replicas: 0,
                replicas_in_step: 0,
                version: SqliteDisk::version(),
                used_bytes: SqliteDisk::used_bytes(&self.dir),
                max_bytes: 0,
            }],
            serving_stripes: if acknowledging {
                all - frozen_stripes
            } else {
                0
            },
            unavailable_stripes: if acknowledging {
                0
            } else {
                all - frozen_stripes
            },
            frozen_stripes,
            warnings,
        }
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        self.shared.close();
        let writer = self
            .writer
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if writer.is_some_and(|writer| writer.join().is_err()) {
            tracing::error!("the store's writer ended by a panic");
        }
    }
}

impl std::fmt::Debug for Embedded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Embedded")
            .field("dir", &self.dir)
            .finish_non_exhaustive()
    }
}

/// Makes the directory, and takes its lock: one process, one store.
fn lock(dir: &Path) -> Result<File, OpenError> {
    let fail = |error: &std::io::Error| OpenError::io(dir.to_owned(), error);
    fs::create_dir_all(dir).map_err(|error| fail(&error))?;
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(dir.join("lock"))
        .map_err(|error| fail(&error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::Locked {
            dir: dir.to_owned(),
        }),
        Err(TryLockError::Error(error)) => Err(fail(&error)),
    }
}

fn free_bytes(dir: &Path) -> Box<dyn FnMut() -> Option<u64> + Send> {
    let dir = dir.to_owned();
    Box::new(move || {
        let stat = rustix::fs::statvfs(&dir).ok()?;
        Some(stat.f_bavail.saturating_mul(stat.f_frsize))
    })
}
