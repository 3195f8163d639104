//! A disk that fails on command.

use super::*;

/// What a [`FaultyDisk`] does with the next commits, and how many it has seen.
#[derive(Default)]
pub(super) struct Faults {
    next: Mutex<Option<Fault>>,
    pub(super) commits: AtomicU64,
    pub(super) opens: AtomicU64,
    gate: Mutex<bool>,
    gate_opened: Condvar,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Fault {
    /// The commit fails, and the row is not on disk.
    Before,
    /// The commit fails, though the row is on disk.
    After,
}

impl Faults {
    pub(super) fn arm(&self, fault: Fault) {
        *self.next.lock().unwrap() = Some(fault);
    }

    /// If no commit came since it was armed.
    pub(super) fn disarm(&self) {
        *self.next.lock().unwrap() = None;
    }

    pub(super) fn shut_gate(&self) {
        *self.gate.lock().unwrap() = true;
    }

    pub(super) fn open_gate(&self) {
        *self.gate.lock().unwrap() = false;
        self.gate_opened.notify_all();
    }
}

pub(super) struct FaultyDisk {
    pub(super) disk: SqliteDisk,
    pub(super) faults: Arc<Faults>,
}

struct FaultyJournal {
    journal: Box<dyn Journal>,
    faults: Arc<Faults>,
}

impl Disk for FaultyDisk {
    fn open(&mut self) -> Result<Opened, OpenError> {
        self.faults.opens.fetch_add(1, Ordering::SeqCst);
        let opened = self.disk.open()?;
        let journal = FaultyJournal {
            journal: opened.journal,
            faults: Arc::clone(&self.faults),
        };
        Ok(Opened {
            journal: Box::new(journal),
            ..opened
        })
    }

    fn is_in_place(&self) -> bool {
        self.disk.is_in_place()
    }
}

impl Journal for FaultyJournal {
    fn commit(&mut self, commit: Commit<'_>) -> Result<(), CommitError> {
        self.faults.commits.fetch_add(1, Ordering::SeqCst);
        let shut = self.faults.gate.lock().unwrap();
        drop(
            self.faults
                .gate_opened
                .wait_while(shut, |shut| *shut)
                .unwrap(),
        );
        let fault = self.faults.next.lock().unwrap().take();
        if fault != Some(Fault::Before) {
            self.journal.commit(commit)?;
        }
        match fault {
            None => Ok(()),
            Some(fault) => Err(CommitError(format!("told to fail {fault:?}"))),
        }
    }

    fn read(&mut self, number: u64) -> Result<Vec<u8>, CommitError> {
        self.journal.read(number)
    }

    fn shrink(&mut self) -> Result<bool, CommitError> {
        self.journal.shrink()
    }
}

pub(super) fn open_faulty(dir: &Path) -> (Embedded, Arc<Faults>) {
    let faults = Arc::new(Faults::default());
    let identity = StoreIdentity {
        store_id: [3; 16],
        stripes: STRIPES,
        fingerprint_key: FingerprintKey([4; 16]),
    };
    let disk = SqliteDisk::new(dir.to_owned(), identity, START);
    let disk = FaultyDisk {
        disk,
        faults: Arc::clone(&faults),
    };
    let store = Embedded::open_on(options(dir, &HandClock::new()), Box::new(disk), LIMITS).unwrap();
    (store, faults)
}
