//! Why an embedded store cannot be opened, each in one sentence that says what
//! to do.

use std::io;
use std::path::PathBuf;

use super::row::FORMAT;

/// The store cannot be opened. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it.
    #[error(
        "data directory {dir} is in use by another process: stop that one, or choose another with --data-dir"
    )]
    Locked {
        /// The data directory.
        dir: PathBuf,
    },
    /// It may not be written.
    #[error(
        "data directory {dir} cannot be written ({cause}): make it writable for this user, or choose another with --data-dir"
    )]
    NotWritable {
        /// The data directory.
        dir: PathBuf,
        /// What the system says.
        cause: String,
    },
    /// There is no room.
    #[error(
        "the disk of data directory {dir} is full: free some space, or choose another with --data-dir"
    )]
    Full {
        /// The data directory.
        dir: PathBuf,
    },
    /// Another program's file, or one of a later version.
    #[error(
        "the store in {dir} has format {found}, and this version understands only up to {FORMAT}: run the version that wrote it, or a later one"
    )]
    Newer {
        /// The data directory.
        dir: PathBuf,
        /// The format found.
        found: i64,
    },
    /// What was written is not what is read.
    #[error(
        "the store in {dir} is damaged ({what}): nothing was changed; restore the directory from a copy, or move it away to start anew"
    )]
    Damaged {
        /// The data directory.
        dir: PathBuf,
        /// Where.
        what: Damage,
    },
    /// Anything else.
    #[error("the store in {dir} cannot be opened: {cause}")]
    Other {
        /// The data directory.
        dir: PathBuf,
        /// What the system says.
        cause: String,
    },
}

/// What is wrong with a file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// A row is not what was written.
    #[error("row {0} fails its checksum")]
    Checksum(u64),
    /// A row says what no version writes.
    #[error("row {0} makes no sense")]
    Content(u64),
    /// A row is missing.
    #[error("row {0} is missing")]
    Missing(u64),
    /// A stripe has no guard.
    #[error("the guard of stripe {0} is missing")]
    NoGuard(u8),
    /// A shard has records and no header.
    #[error("a header of stripe {0} is missing")]
    NoHeader(u8),
    /// The database library says so, or the file is not one of its files.
    #[error("{0}")]
    Database(String),
}

/// A commit that did not report success, or a row that could not be read for
/// one. Whether the row is on disk is not known before the file was read again.
#[derive(Debug, thiserror::Error)]
#[error("the disk did not take a commit: {0}")]
pub struct CommitError(pub String);

impl OpenError {
    pub(super) fn io(dir: PathBuf, error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                Self::NotWritable {
                    dir,
                    cause: error.to_string(),
                }
            }
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full { dir },
            _ => Self::Other {
                dir,
                cause: error.to_string(),
            },
        }
    }

    pub(super) fn sqlite(dir: PathBuf, error: &rusqlite::Error) -> Self {
        use rusqlite::ErrorCode;
        let cause = error.to_string();
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Self::Full { dir },
            Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied | ErrorCode::CannotOpen) => {
                Self::NotWritable { dir, cause }
            }
            // `None` and `Unknown`: a row of another type than was written, or a
            // table that is not there.
            Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt | ErrorCode::Unknown)
            | None => Self::Damaged {
                dir,
                what: Damage::Database(cause),
            },
            Some(_) => Self::Other { dir, cause },
        }
    }
}
