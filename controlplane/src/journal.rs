//! The call journal: what must be known about a call after a crash, on disk before the call can cost anything.
//!
//! A thread of its own writes, because a disk may take its time. Everything that waits is written in one transaction, and
//! acknowledged when the disk has it.

use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};
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
    pub result: Result<(), String>,
}

/// A record found at the start.
pub type Record = (u64, Vec<u8>);

#[derive(Debug)]
pub struct Journal {
    writes: blocking::SyncSender<Write>,
    written: mpsc::UnboundedReceiver<Written>,
    outstanding: usize,
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
        let (acks, written) = mpsc::unbounded_channel();
        std::thread::Builder::new()
            .name("journal".into())
            .spawn(move || serve(&database, &requests, &acks))
            .map_err(JournalError::Thread)?;
        Ok((Self { writes, written, outstanding: 0, counters: JournalCounters::default() }, records))
    }

    pub fn write(&mut self, write: Write) {
        match self.writes.try_send(write) {
            Ok(()) => self.outstanding += 1,
            Err(_) => self.counters.overflowed += 1,
        }
    }

    /// Waits until the disk has everything.
    pub async fn flush(&mut self) {
        while self.outstanding > 0 {
            self.next().await;
        }
    }

    /// The next answer. May be cancelled at any time.
    pub async fn next(&mut self) -> Written {
        match self.written.recv().await {
            Some(written) => {
                self.outstanding -= 1;
                match &written.result {
                    Ok(()) => self.counters.written += 1,
                    Err(_) => self.counters.failed += 1,
                }
                written
            }
            None => std::future::pending().await, // the thread ends with the journal only
        }
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

fn serve(database: &Database, requests: &blocking::Receiver<Write>, acks: &mpsc::UnboundedSender<Written>) {
    while let Ok(first) = requests.recv() {
        let batch: Vec<Write> = std::iter::once(first).chain(requests.try_iter().take(BATCH - 1)).collect();
        let result = commit(database, &batch).map_err(|e| e.to_string());
        for write in batch {
            let done = Written { key: write.key, record: write.record.is_some(), result: result.clone() };
            if acks.send(done).is_err() {
                return; // the loop has gone
            }
        }
    }
}

fn commit(database: &Database, batch: &[Write]) -> Result<(), redb::Error> {
    // The default durability returns when the disk has it.
    let transaction = database.begin_write()?;
    {
        let mut table = transaction.open_table(CALLS)?;
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
}
