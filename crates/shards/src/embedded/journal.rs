//! The file: SQLite as a journal of numbered rows. All that this crate knows of
//! SQLite is here.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use super::error::{CommitError, Damage, OpenError};
use super::row::{FORMAT, Replayed, Row, StripePart};
use crate::ids::{STRIPES, StripeNo};
use crate::machine::{Changes, StoreIdentity, Stripe};
use crate::time::Millis;

/// "HOLD": what tells our files from other programs' SQLite files.
const APPLICATION_ID: i64 = 0x484f_4c44;
/// How long to wait for a tool that reads the file at the moment.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

const FILE: &str = "holdfast.db";

/// A row to be made durable.
#[derive(Clone, Copy, Debug)]
pub(super) struct Commit<'a> {
    pub number: u64,
    pub body: &'a [u8],
    /// The lowest row that is needed after it; those before are removed.
    pub oldest: u64,
}

/// Where rows become durable. One implementation writes them to disk; tests
/// have one that fails on command. After an error of any kind nothing is known
/// of what was asked for: the journal is dropped, and the disk read again.
pub(super) trait Journal: Send {
    /// Makes a row durable and removes what is not needed after it: ⚔ both or
    /// neither.
    fn commit(&mut self, commit: Commit<'_>) -> Result<(), CommitError>;

    /// Reads the bytes of a row again.
    fn read(&mut self, number: u64) -> Result<Vec<u8>, CommitError>;

    /// Gives a few of the file's unused pages back to the disk; false when
    /// there are not enough of them to be worth it.
    fn shrink(&mut self) -> Result<bool, CommitError>;
}

/// Where the file's size is bounded; tests have smaller ones.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::struct_field_names, reason = "units last in names")]
pub(super) struct FileLimits {
    /// Pages of SQLite's log after which it is copied into the file and begun
    /// again. SQLite's own default: a copy of 4 MB now and then.
    pub log_pages: u32,
    /// Unused pages that the file may have; if it is large, an eighth of it.
    /// They are what the next rows are written to.
    pub unused_pages: u32,
    /// Pages given back at a time: each may cost a copy of another one.
    pub step_pages: u32,
}

pub(super) const FILE_LIMITS: FileLimits = FileLimits {
    log_pages: 1_000,
    unused_pages: 64,
    step_pages: 64,
};
const PAGE_BYTES: u32 = 4_096;

/// What can open a journal, and open it again after a failure. Only the first
/// time may make a store where there is none: ⚔ later one is missing, and never
/// replaced by an empty one.
pub(super) trait Disk: Send {
    fn open(&mut self) -> Result<Opened, OpenError>;

    /// Whether what was opened is still what the directory names.
    fn is_in_place(&self) -> bool;
}

/// A journal and what it holds.
pub(super) struct Opened {
    pub journal: Box<dyn Journal>,
    pub stripes: Vec<Stripe>,
    /// The lowest row in the file.
    pub oldest: u64,
    /// The number of the next row.
    pub next: u64,
    /// Which row has each stripe's guard.
    pub guard_rows: Vec<u64>,
    /// Bytes of all rows.
    pub bytes: u64,
}

/// The journal in one directory.
pub(super) struct SqliteDisk {
    dir: PathBuf,
    /// For a store that has to be made.
    identity: StoreIdentity,
    now: Millis,
    pub(super) limits: FileLimits,
    /// The store that was opened, and its file.
    opened: Option<(StoreIdentity, FileId)>,
}

/// What tells a file from another one of the same name.
type FileId = (u64, u64);

impl SqliteDisk {
    pub(super) fn new(dir: PathBuf, identity: StoreIdentity, now: Millis) -> Self {
        Self {
            dir,
            identity,
            now,
            limits: FILE_LIMITS,
            opened: None,
        }
    }

    /// Size of the file and its log, in bytes.
    pub(super) fn used_bytes(dir: &Path) -> u64 {
        [FILE.to_owned(), format!("{FILE}-wal")]
            .iter()
            .filter_map(|name| fs::metadata(dir.join(name)).ok())
            .map(|meta| meta.len())
            .sum()
    }

    /// The version of the library.
    pub(super) fn version() -> String {
        format!("SQLite {}", rusqlite::version())
    }

    fn sql(&self, error: &rusqlite::Error) -> OpenError {
        OpenError::sqlite(self.dir.clone(), error)
    }

    fn io(&self, error: &std::io::Error) -> OpenError {
        OpenError::io(self.dir.clone(), error)
    }

    fn damaged(&self, what: Damage) -> OpenError {
        OpenError::Damaged {
            dir: self.dir.clone(),
            what,
        }
    }

    /// Makes a store: under another name first, so that a file of this name is
    /// always a whole store. What is cut short is made anew; what is there is
    /// never taken for a new one.
    fn create(&self, path: &Path) -> Result<(), OpenError> {
        if self.dir.join(format!("{FILE}-wal")).exists() {
            let what = format!("{FILE} is missing, though its log {FILE}-wal is there");
            return Err(self.damaged(Damage::Database(what)));
        }
        let unfinished = self.dir.join(format!("{FILE}.new"));
        for leftover in [
            unfinished.clone(),
            self.dir.join(format!("{FILE}.new-journal")),
        ] {
            match fs::remove_file(&leftover) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(self.io(&error));
                }
                _ => {}
            }
        }
        self.write_first_row(&unfinished)
            .map_err(|error| self.sql(&error))?;
        fs::rename(&unfinished, path).map_err(|error| self.io(&error))?;
        fs::File::open(&self.dir)
            .and_then(|dir| dir.sync_all())
            .map_err(|error| self.io(&error))
    }

    /// The guards of every stripe, in row 1.
    fn write_first_row(&self, path: &Path) -> rusqlite::Result<()> {
        let stripe = Stripe::new(self.identity, self.now);
        let changes = Changes {
            guard: true,
            ..Changes::default()
        };
        let parts = StripeNo::all().filter_map(|no| StripePart::of(no, &stripe, &changes));
        let row = Row {
            oldest: 1,
            stripes: parts.collect(),
        };
        let body = row
            .encode(1)
            .map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
        let db = Connection::open(path)?;
        db.execute_batch(&format!(
            "PRAGMA page_size = {PAGE_BYTES};
             PRAGMA auto_vacuum = INCREMENTAL;
             PRAGMA synchronous = FULL;
             PRAGMA application_id = {APPLICATION_ID};
             PRAGMA user_version = {FORMAT};
             CREATE TABLE journal (number INTEGER PRIMARY KEY, body BLOB NOT NULL) STRICT;"
        ))?;
        insert(&db, 1, &body)?;
        db.close().map_err(|(_, error)| error)
    }

    fn connect(&self, path: &Path) -> Result<Connection, OpenError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let db = Connection::open_with_flags(path, flags).map_err(|error| self.sql(&error))?;
        db.busy_timeout(BUSY_TIMEOUT)
            .map_err(|error| self.sql(&error))?;
        let pragma = |name: &str| {
            db.pragma_query_value(None, name, |row| row.get::<_, i64>(0))
                .map_err(|e| self.sql(&e))
        };
        // An empty or foreign file has another id: not ours to open as new.
        if pragma("application_id")? != APPLICATION_ID {
            let what = format!("{FILE} is not a Holdfast store");
            return Err(self.damaged(Damage::Database(what)));
        }
        match pragma("user_version")? {
            found if found == i64::from(FORMAT) => {}
            found => {
                return Err(OpenError::Newer {
                    dir: self.dir.clone(),
                    found,
                });
            }
        }
        let log_pages = self.limits.log_pages;
        for pragma in [
            "journal_mode = WAL".to_owned(),
            "synchronous = FULL".to_owned(),
            format!("wal_autocheckpoint = {log_pages}"),
            // What one large commit made of it is cut off again.
            format!("journal_size_limit = {}", log_pages * PAGE_BYTES),
        ] {
            db.execute_batch(&format!("PRAGMA {pragma}"))
                .map_err(|error| self.sql(&error))?;
        }
        // ⚔ Makes durable what a killed process had written but not synced: we
        // are about to show it, so it may not vanish any more.
        let busy = db
            .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| {
                row.get::<_, i64>(0)
            })
            .map_err(|error| self.sql(&error))?;
        if busy != 0 {
            return Err(OpenError::Other {
                dir: self.dir.clone(),
                cause: "another program has been reading it for a while; end that one".to_owned(),
            });
        }
        Ok(db)
    }

    /// Reads every row, in order, checking all that can be checked.
    fn replay(&self, db: Connection) -> Result<Opened, OpenError> {
        let mut stripes: Vec<_> = (0..STRIPES).map(|_| Replayed::default()).collect();
        let (mut first, mut last, mut oldest, mut bytes) = (None, 0, 0, 0);
        {
            let mut statement = db
                .prepare("SELECT number, body FROM journal ORDER BY number")
                .map_err(|error| self.sql(&error))?;
            let mut rows = statement.query([]).map_err(|error| self.sql(&error))?;
            while let Some(row) = rows.next().map_err(|error| self.sql(&error))? {
                let number: i64 = row.get(0).map_err(|error| self.sql(&error))?;
                let body: &[u8] = row
                    .get_ref(1)
                    .and_then(|value| value.as_blob().map_err(rusqlite::Error::from))
                    .map_err(|error| self.sql(&error))?;
                let number = u64::try_from(number).map_err(|_| self.damaged(Damage::Content(0)))?;
                let expected = if first.is_none() { number } else { last + 1 };
                if number != expected {
                    return Err(self.damaged(Damage::Missing(expected)));
                }
                let row = Row::decode(number, body).map_err(|what| self.damaged(what))?;
                first.get_or_insert(number);
                last = number;
                oldest = row.oldest;
                bytes += body.len() as u64;
                for part in row.stripes {
                    stripes
                        .get_mut(usize::from(part.stripe.0))
                        .ok_or_else(|| self.damaged(Damage::Content(number)))?
                        .apply(number, part);
                }
            }
        }
        match first {
            None => return Err(self.damaged(Damage::Missing(1))),
            Some(first) if first != oldest => return Err(self.damaged(Damage::Missing(oldest))),
            Some(_) => {}
        }
        let whole: Result<Vec<_>, _> = (0..STRIPES)
            .zip(stripes)
            .map(|(number, stripe)| stripe.finish(number))
            .collect();
        let (stripes, guard_rows) = whole
            .map_err(|what| self.damaged(what))?
            .into_iter()
            .unzip();
        Ok(Opened {
            journal: Box::new(SqliteJournal {
                db,
                oldest,
                shorter: false,
                limits: self.limits,
            }),
            stripes,
            oldest,
            next: last + 1,
            guard_rows,
            bytes,
        })
    }
}

impl Disk for SqliteDisk {
    fn open(&mut self) -> Result<Opened, OpenError> {
        let path = self.dir.join(FILE);
        if !path.try_exists().map_err(|error| self.io(&error))? {
            if self.opened.is_some() {
                let what = format!("{FILE} was there, and is gone");
                return Err(self.damaged(Damage::Database(what)));
            }
            self.create(&path)?;
        }
        let db = self.connect(&path)?;
        let opened = self.replay(db)?;
        let identity = opened.stripes[0].guard.identity;
        if self.opened.is_some_and(|(before, _)| before != identity) {
            let what = format!("{FILE} is another store than the one that was opened");
            return Err(self.damaged(Damage::Database(what)));
        }
        let file = file_id(&path).map_err(|error| self.io(&error))?;
        self.opened = Some((identity, file));
        Ok(opened)
    }

    fn is_in_place(&self) -> bool {
        let now = file_id(&self.dir.join(FILE)).ok();
        self.opened.is_none_or(|(_, opened)| now == Some(opened))
    }
}

fn file_id(path: &Path) -> std::io::Result<FileId> {
    use std::os::unix::fs::MetadataExt as _;
    let meta = fs::metadata(path)?;
    Ok((meta.dev(), meta.ino()))
}

struct SqliteJournal {
    db: Connection,
    /// The lowest row in the file.
    oldest: u64,
    /// Pages were given back since the log was last copied for their sake.
    shorter: bool,
    limits: FileLimits,
}

impl Journal for SqliteJournal {
    fn commit(&mut self, commit: Commit<'_>) -> Result<(), CommitError> {
        self.try_commit(commit).map_err(|error| failed(&error))
    }

    fn read(&mut self, number: u64) -> Result<Vec<u8>, CommitError> {
        select(&self.db, number).map_err(|error| failed(&error))
    }

    fn shrink(&mut self) -> Result<bool, CommitError> {
        self.try_shrink().map_err(|error| failed(&error))
    }
}

impl SqliteJournal {
    fn try_commit(&mut self, commit: Commit<'_>) -> rusqlite::Result<()> {
        if commit.oldest == self.oldest {
            return insert(&self.db, commit.number, commit.body);
        }
        let transaction = self.db.transaction()?;
        insert(&transaction, commit.number, commit.body)?;
        transaction
            .prepare_cached("DELETE FROM journal WHERE number < ?")?
            .execute([commit.oldest.cast_signed()])?;
        let shorter = give_back(&transaction, self.limits)?;
        transaction.commit()?;
        self.oldest = commit.oldest;
        self.shorter |= shorter;
        Ok(())
    }

    fn try_shrink(&mut self) -> rusqlite::Result<bool> {
        let more = give_back(&self.db, self.limits)?;
        self.shorter |= more;
        if self.shorter && !more {
            // Only now is the file cut off.
            self.db
                .query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))?;
            self.shorter = false;
        }
        Ok(more)
    }
}

fn failed(error: &rusqlite::Error) -> CommitError {
    CommitError(error.to_string())
}

/// One row; outside of a transaction every statement commits by itself.
fn insert(db: &Connection, number: u64, body: &[u8]) -> rusqlite::Result<()> {
    let mut statement = db.prepare_cached("INSERT INTO journal (number, body) VALUES (?, ?)")?;
    statement.execute((number.cast_signed(), body)).map(drop)
}

fn select(db: &Connection, number: u64) -> rusqlite::Result<Vec<u8>> {
    let mut statement = db.prepare_cached("SELECT body FROM journal WHERE number = ?")?;
    statement.query_row([number.cast_signed()], |row| row.get(0))
}

/// Moves the file's last pages into unused ones, so that it becomes shorter
/// when its log is next copied into it. True if there may be more to do.
fn give_back(db: &Connection, limits: FileLimits) -> rusqlite::Result<bool> {
    let count = |pragma: &str| {
        db.prepare_cached(pragma)?
            .query_row([], |row| row.get::<_, u32>(0))
    };
    let unused = count("PRAGMA freelist_count")?;
    let kept = limits.unused_pages.max(count("PRAGMA page_count")? / 8);
    if unused <= kept {
        return Ok(false);
    }
    let step = limits.step_pages;
    let mut statement = db.prepare_cached(&format!("PRAGMA incremental_vacuum({step})"))?;
    // One page each time that it is asked on.
    let mut pages = statement.query([])?;
    while pages.next()?.is_some() {}
    Ok(true)
}
