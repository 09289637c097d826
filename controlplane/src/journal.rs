//! The call journal: what must be known about a call after a crash, on disk before the call can cost anything.
//!
//! A thread of its own writes, because a disk may take its time. Everything that waits is written in one transaction, and
//! acknowledged when the disk has it.

use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};
use std::collections::{BTreeSet, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::mpsc as blocking;
use tokio::sync::mpsc;

const CALLS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("calls/1");
/// Writes that may wait for the disk; the loop does not go on without them, so this is a few per call.
const QUEUE: usize = 65_536;
/// Writes in one transaction.
const BATCH: usize = 1024;

#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    #[error("cannot make the state directory {}: {error}", path.display())]
    Directory { path: PathBuf, error: std::io::Error },
    #[error("the call journal {} is used by another process: is a control plane of this gateway running already?", path.display())]
    InUse { path: PathBuf },
    #[error("cannot open the call journal {}: {error}", path.display())]
    Open { path: PathBuf, error: Box<redb::Error> },
    #[error("cannot start the journal's thread: {0}")]
    Thread(std::io::Error),
}

/// A write: the record of a call, or that it is over.
#[derive(Debug)]
pub struct Write {
    pub key: u64,
    pub record: Option<Vec<u8>>,
}

/// What became of a write.
#[derive(Debug)]
pub struct Written {
    pub key: u64,
    /// Whether a record was written (not removed).
    pub record: bool,
    pub result: Outcome,
}

/// Whether the disk has it.
type Outcome = Result<(), String>;

/// A record found at the start.
pub type Record = (u64, Vec<u8>);

#[derive(Debug)]
pub struct Journal {
    writes: blocking::SyncSender<Write>,
    results: mpsc::UnboundedReceiver<Outcome>,
    /// What the thread has to answer, in order: keys, and whether with a record.
    outstanding: VecDeque<(u64, bool)>,
    /// What it was never given.
    refused: VecDeque<Written>,
    pub counters: JournalCounters,
}

#[derive(Clone, Copy, Debug, Default)]
pub struct JournalCounters {
    pub written: u64,
    pub failed: u64,
    pub overflowed: u64,
}

impl Journal {
    /// Opens the journal and returns what it holds.
    ///
    /// # Errors
    /// If it cannot be opened; a gateway without a journal must not place calls.
    pub fn open(path: &Path) -> Result<(Self, Vec<Record>), JournalError> {
        if let Some(dir) = path.parent() {
            make_private(dir).map_err(|error| JournalError::Directory { path: dir.to_owned(), error })?;
        }
        let database = open(path)?;
        let records = read(&database).map_err(|e| failed(path, e))?;
        let (writes, requests) = blocking::sync_channel(QUEUE);
        let (acks, results) = mpsc::unbounded_channel();
        let store = Store { path: path.to_owned(), database: Some(database), removals: BTreeSet::new() };
        std::thread::Builder::new()
            .name("journal".into())
            .spawn(move || serve(store, &requests, &acks))
            .map_err(JournalError::Thread)?;
        Ok((Self::of(writes, results), records))
    }

    fn of(writes: blocking::SyncSender<Write>, results: mpsc::UnboundedReceiver<Outcome>) -> Self {
        let (outstanding, refused) = (VecDeque::new(), VecDeque::new());
        Self { writes, results, outstanding, refused, counters: JournalCounters::default() }
    }

    /// Answered by [`Self::next`], whatever becomes of it.
    pub fn write(&mut self, write: Write) {
        let (key, record) = (write.key, write.record.is_some());
        match self.writes.try_send(write) {
            Ok(()) => self.outstanding.push_back((key, record)),
            Err(error) => {
                self.counters.overflowed += 1;
                self.refused.push_back(Written { key, record, result: Err(error.to_string()) });
            }
        }
    }

    /// Waits until the disk has everything.
    pub async fn flush(&mut self) {
        while !(self.outstanding.is_empty() && self.refused.is_empty()) {
            self.next().await;
        }
    }

    /// The next answer. May be cancelled at any time.
    pub async fn next(&mut self) -> Written {
        if let Some(refused) = self.refused.pop_front() {
            return refused;
        }
        let result = self.results.recv().await;
        let Some((key, record)) = self.outstanding.pop_front() else {
            return std::future::pending().await; // the thread has ended, and owes nothing
        };
        let result = result.unwrap_or_else(|| Err("the journal's thread has ended".to_owned()));
        match &result {
            Ok(()) => self.counters.written += 1,
            Err(_) => self.counters.failed += 1,
        }
        Written { key, record, result }
    }
}

fn make_private(dir: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

fn failed(path: &Path, error: impl Into<redb::Error>) -> JournalError {
    JournalError::Open { path: path.to_owned(), error: Box::new(error.into()) }
}

fn open(path: &Path) -> Result<Database, JournalError> {
    match Database::create(path) {
        Ok(database) => Ok(database),
        Err(redb::DatabaseError::DatabaseAlreadyOpen) => Err(JournalError::InUse { path: path.to_owned() }),
        Err(error) => Err(failed(path, error)),
    }
}

fn read(database: &Database) -> Result<Vec<Record>, redb::Error> {
    let transaction = database.begin_read()?;
    let table = match transaction.open_table(CALLS) {
        Ok(table) => table,
        Err(redb::TableError::TableDoesNotExist(_)) => return Ok(Vec::new()),
        Err(error) => return Err(error.into()),
    };
    let mut out = Vec::new();
    for entry in table.iter()? {
        let (key, value) = entry?;
        out.push((key.value(), value.value().to_vec()));
    }
    Ok(out)
}

/// The file, for the thread that writes it.
struct Store {
    path: PathBuf,
    /// `None` if it could not be opened again.
    database: Option<Database>,
    /// Calls that have ended and are still on disk: a commit with their removal failed.
    removals: BTreeSet<u64>,
}

impl Store {
    /// After one error the database refuses everything until it is opened anew, so that a disk that was full for a moment
    /// would end all calls to come. Once: what fails again is answered so.
    fn commit(&mut self, batch: &[Write]) -> Result<(), redb::Error> {
        let result = self.try_commit(batch).or_else(|_| {
            self.database = None; // its lock must be gone before it is opened again
            self.try_commit(batch)
        });
        match &result {
            Ok(()) => self.removals.clear(),
            Err(_) => {
                for write in batch {
                    match write.record {
                        Some(_) => self.removals.remove(&write.key),
                        None => self.removals.insert(write.key),
                    };
                }
            }
        }
        result
    }

    fn try_commit(&mut self, batch: &[Write]) -> Result<(), redb::Error> {
        let database = match &mut self.database {
            Some(database) => database,
            none => none.insert(Database::create(&self.path)?),
        };
        commit(database, &self.removals, batch)
    }
}

fn serve(mut store: Store, requests: &blocking::Receiver<Write>, acks: &mpsc::UnboundedSender<Outcome>) {
    while let Ok(first) = requests.recv() {
        let batch: Vec<Write> = std::iter::once(first).chain(requests.try_iter().take(BATCH - 1)).collect();
        let result = store.commit(&batch).map_err(|e| e.to_string());
        for _ in batch {
            if acks.send(result.clone()).is_err() {
                return; // the loop has gone
            }
        }
    }
}

fn commit(database: &Database, removals: &BTreeSet<u64>, batch: &[Write]) -> Result<(), redb::Error> {
    // The default durability returns when the disk has it.
    let transaction = database.begin_write()?;
    {
        let mut table = transaction.open_table(CALLS)?;
        for key in removals {
            table.remove(key)?;
        }
        for write in batch {
            match &write.record {
                Some(record) => table.insert(write.key, record.as_slice())?,
                None => table.remove(write.key)?,
            };
        }
    }
    transaction.commit()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

    #[tokio::test]
    async fn what_was_acknowledged_is_there_after_a_restart_and_only_one_may_open_it() {
        let dir = std::env::temp_dir().join(format!("sipsec-journal-{}", std::process::id()));
        let path = dir.join("journal.redb");
        let (mut journal, found) = Journal::open(&path).expect("opened");
        assert_eq!(found, vec![]);
        for key in 0..100 {
            journal.write(Write { key, record: Some(vec![1, 2, u8::try_from(key).expect("small")]) });
        }
        for key in 0..90 {
            journal.write(Write { key, record: None });
        }
        assert_eq!(journal.next().await.result, Ok(()));
        journal.flush().await;
        assert_eq!((journal.counters.written, journal.counters.failed), (190, 0));
        assert!(matches!(Journal::open(&path), Err(JournalError::InUse { .. })));
        drop(journal);
        // The thread closes the file when it sees that the journal has gone.
        let (_journal, found) = loop {
            match Journal::open(&path) {
                Err(JournalError::InUse { .. }) => tokio::task::yield_now().await,
                other => break other.expect("opened"),
            }
        };
        let expected: Vec<Record> =
            (90..100).map(|k| (k, vec![1, 2, u8::try_from(k).expect("small")])).collect();
        assert_eq!(found, expected);
        std::fs::remove_dir_all(dir).expect("removed");
    }

    /// A disk that takes nothing any more once it is full.
    #[derive(Debug)]
    struct Disk {
        memory: redb::backends::InMemoryBackend,
        full: Arc<AtomicBool>,
    }

    impl redb::StorageBackend for Disk {
        fn len(&self) -> std::io::Result<u64> {
            self.memory.len()
        }
        fn read(&self, offset: u64, out: &mut [u8]) -> std::io::Result<()> {
            self.memory.read(offset, out)
        }
        fn set_len(&self, len: u64) -> std::io::Result<()> {
            self.memory.set_len(len)
        }
        fn sync_data(&self) -> std::io::Result<()> {
            if self.full.load(Relaxed) { Err(std::io::ErrorKind::StorageFull.into()) } else { Ok(()) }
        }
        fn write(&self, offset: u64, data: &[u8]) -> std::io::Result<()> {
            self.memory.write(offset, data)
        }
    }

    #[test]
    fn after_an_error_of_the_disk_the_journal_is_opened_again() {
        let dir = std::env::temp_dir().join(format!("sipsec-journal-disk-{}", std::process::id()));
        let path = dir.join("journal.redb");
        make_private(&dir).expect("made");
        let write = |key, record: Option<u8>| Write { key, record: record.map(|r| vec![r]) };
        // What the file has from before.
        let mut before = Store {
            path: path.clone(),
            database: Some(open(&path).expect("opened")),
            removals: BTreeSet::new(),
        };
        before.commit(&[write(6, Some(6)), write(7, Some(7))]).expect("committed");
        drop(before);
        let full = Arc::new(AtomicBool::new(false));
        let disk = Disk { memory: redb::backends::InMemoryBackend::new(), full: full.clone() };
        let failing = Database::builder().create_with_backend(disk).expect("made");
        let mut store = Store { path: dir.clone(), database: Some(failing), removals: BTreeSet::new() };
        full.store(true, Relaxed);
        // A directory cannot be opened as a journal: the second try fails as well.
        assert!(store.commit(&[write(7, None), write(8, Some(8))]).is_err());
        store.path.clone_from(&path);
        store.commit(&[write(9, Some(9))]).expect("committed");
        drop(store);
        let found = read(&open(&path).expect("opened")).expect("read");
        // 7 has ended; 8 was answered with the error.
        assert_eq!(found, vec![(6, vec![6]), (9, vec![9])]);
        std::fs::remove_dir_all(dir).expect("removed");
    }

    #[tokio::test]
    async fn a_write_without_room_or_thread_is_answered() {
        let (writes, requests) = blocking::sync_channel(1);
        let (acks, results) = mpsc::unbounded_channel();
        let mut journal = Journal::of(writes, results);
        for key in [1, 2] {
            journal.write(Write { key, record: Some(vec![0]) });
        }
        let refused = journal.next().await;
        assert_eq!((refused.key, refused.record, refused.result.is_err()), (2, true, true));
        drop((requests, acks));
        let lost = journal.next().await;
        assert_eq!((lost.key, lost.result.is_err()), (1, true));
        journal.flush().await;
        assert_eq!(journal.counters.overflowed, 1);
    }
}
