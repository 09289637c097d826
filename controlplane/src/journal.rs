//! The call journal: what must be known about a call after a crash, on disk before the call can cost anything; and the brakes
//! of tunnels, which outlive a crash.
//!
//! A thread of its own writes, because a disk may take its time. Everything that waits is written in one transaction, and
//! acknowledged when the disk has it.

use redb::{Database, ReadableDatabase, ReadableTable, ReadableTableMetadata, TableDefinition, TableHandle};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs::{File, OpenOptions, Permissions};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::mpsc as blocking;
use tokio::sync::mpsc;

const CALLS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("calls/1");
/// Brakes of tunnels, by their numbers.
const BRAKES: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("brakes/1");
/// Made at the first start, beside the journal: tells a journal that was lost from one that never was.
const MARKER: &str = "journal.made";
const MARKER_TEXT: &str = "This gateway has a call journal beside this file. Do not remove either.\n";
/// Calls are what one must not lose: only the owner reads and writes.
const MODE: u32 = 0o600;
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
    #[error("cannot open the call journal {}: {error}; {}", path.display(), cure(error))]
    Open { path: PathBuf, error: Box<redb::Error> },
    #[error("cannot start the journal's thread: {0}")]
    Thread(std::io::Error),
}

/// What to do about a journal that cannot be opened.
fn cure(error: &redb::Error) -> &'static str {
    use std::io::ErrorKind;
    match error {
        redb::Error::Io(e) if matches!(e.kind(), ErrorKind::InvalidData | ErrorKind::UnexpectedEof) => {
            DAMAGED
        }
        redb::Error::Io(_) => {
            "make the state directory and the file in it writable for this process, on a disk with room"
        }
        redb::Error::UpgradeRequired(_) => {
            "start the release that wrote it: it hangs up the calls that it left"
        }
        _ => DAMAGED,
    }
}

const DAMAGED: &str = "calls of the last run may still be charged, and this gateway does not know them any more: ask the \
                       carrier to end the calls of these lines, move the file away, and start again";

/// A write, answered by [`Journal::next`] if it is of a call.
#[derive(Debug)]
enum Write {
    /// The record of a call, or that it is over.
    Call {
        key: u64,
        record: Option<Vec<u8>>,
    },
    Brake {
        key: String,
        record: Option<Vec<u8>>,
    },
}

/// What became of the write of a call.
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

/// What the journal held at the start.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Found {
    pub calls: Vec<Record>,
    /// Of tunnels, by their numbers.
    pub brakes: Vec<(String, Vec<u8>)>,
    /// What an operator must know of calls that this process cannot know.
    pub warnings: Vec<String>,
}

#[derive(Debug)]
pub struct Journal {
    writes: blocking::SyncSender<Write>,
    results: mpsc::UnboundedReceiver<Outcome>,
    /// What the thread has to answer, in order: the key of a call, and whether with a record; `None` for a brake.
    outstanding: VecDeque<Option<(u64, bool)>>,
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
    pub fn open(path: &Path) -> Result<(Self, Found), JournalError> {
        let lost = lost(path);
        if let Some(dir) = path.parent() {
            make_private(dir).map_err(|error| JournalError::Directory { path: dir.to_owned(), error })?;
        }
        let database = open(path)?;
        let mut found = read(&database).map_err(|e| failed(path, e))?;
        found.warnings.extend(lost);
        mark(path);
        let (writes, requests) = blocking::sync_channel(QUEUE);
        let (acks, results) = mpsc::unbounded_channel();
        let store = Store { path: path.to_owned(), database: Some(database), removals: BTreeSet::new() };
        std::thread::Builder::new()
            .name("journal".into())
            .spawn(move || serve(store, &requests, &acks))
            .map_err(JournalError::Thread)?;
        Ok((Self::of(writes, results), found))
    }

    fn of(writes: blocking::SyncSender<Write>, results: mpsc::UnboundedReceiver<Outcome>) -> Self {
        let (outstanding, refused) = (VecDeque::new(), VecDeque::new());
        Self { writes, results, outstanding, refused, counters: JournalCounters::default() }
    }

    /// The record of a call, or with `None` that the call is over. Answered by [`Self::next`], whatever becomes of it.
    pub fn write_call(&mut self, key: u64, record: Option<Vec<u8>>) {
        let is_record = record.is_some();
        match self.writes.try_send(Write::Call { key, record }) {
            Ok(()) => self.outstanding.push_back(Some((key, is_record))),
            Err(error) => {
                self.counters.overflowed += 1;
                self.refused.push_back(Written { key, record: is_record, result: Err(error.to_string()) });
            }
        }
    }

    /// The brake of a tunnel, or with `None` that it has none. Not answered: a failure is only counted.
    pub fn write_brake(&mut self, key: String, record: Option<Vec<u8>>) {
        match self.writes.try_send(Write::Brake { key, record }) {
            Ok(()) => self.outstanding.push_back(None),
            Err(_) => self.counters.overflowed += 1,
        }
    }

    /// Waits until the disk has everything.
    pub async fn flush(&mut self) {
        while let Some(_written) = self.answer().await {}
    }

    /// The next answer. May be cancelled at any time.
    pub async fn next(&mut self) -> Written {
        match self.answer().await {
            Some(written) => written,
            None => std::future::pending().await, // nothing is under way
        }
    }

    /// `None` once nothing is under way.
    async fn answer(&mut self) -> Option<Written> {
        loop {
            if let Some(refused) = self.refused.pop_front() {
                return Some(refused);
            }
            if self.outstanding.is_empty() {
                return None;
            }
            let result = self.results.recv().await;
            let result = result.unwrap_or_else(|| Err("the journal's thread has ended".to_owned()));
            match &result {
                Ok(()) => self.counters.written += 1,
                Err(_) => self.counters.failed += 1,
            }
            if let Some(Some((key, record))) = self.outstanding.pop_front() {
                return Some(Written { key, record, result });
            }
        }
    }
}

/// A journal that has gone since the last run, or has been emptied.
fn lost(path: &Path) -> Option<String> {
    let how = match path.metadata() {
        Ok(file) if file.is_file() && file.len() == 0 => "is empty (0 bytes)",
        Err(e) if e.kind() == std::io::ErrorKind::NotFound && marker(path).exists() => "has been removed",
        _ => return None,
    };
    Some(format!(
        "the call journal {} {how}: calls that the last run left are not known and may still be charged; ask the carrier to \
         end the calls of this gateway's lines",
        path.display()
    ))
}

fn marker(path: &Path) -> PathBuf {
    path.with_file_name(MARKER)
}

fn mark(path: &Path) {
    let made = OpenOptions::new().write(true).create_new(true).mode(MODE).open(marker(path));
    match made.and_then(|mut file| std::io::Write::write_all(&mut file, MARKER_TEXT.as_bytes())) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
            tracing::warn!(%error, path = %marker(path).display(), "a journal that is lost will not be noticed");
        }
        _ => {}
    }
}

fn make_private(dir: &Path) -> std::io::Result<()> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

fn failed(path: &Path, error: impl Into<redb::Error>) -> JournalError {
    JournalError::Open { path: path.to_owned(), error: Box::new(error.into()) }
}

fn open(path: &Path) -> Result<Database, JournalError> {
    private_file(path).map_err(|e| failed(path, redb::Error::Io(e)))?;
    match Database::create(path) {
        Ok(database) => Ok(database),
        Err(redb::DatabaseError::DatabaseAlreadyOpen) => Err(JournalError::InUse { path: path.to_owned() }),
        Err(error) => Err(failed(path, error)),
    }
}

/// The file, made if it is not there, for nobody but its owner.
fn private_file(path: &Path) -> std::io::Result<()> {
    let file: File =
        OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(MODE).open(path)?;
    if file.metadata()?.permissions().mode() & 0o7777 != MODE {
        file.set_permissions(Permissions::from_mode(MODE))?;
    }
    Ok(())
}

fn read(database: &Database) -> Result<Found, redb::Error> {
    let transaction = database.begin_read()?;
    let mut found = Found::default();
    match transaction.open_table(CALLS) {
        Ok(table) => {
            for entry in table.iter()? {
                let (key, value) = entry?;
                found.calls.push((key.value(), value.value().to_vec()));
            }
        }
        Err(redb::TableError::TableDoesNotExist(_)) => {}
        Err(error) => return Err(error.into()),
    }
    match transaction.open_table(BRAKES) {
        Ok(table) => {
            for entry in table.iter()? {
                let (key, value) = entry?;
                found.brakes.push((key.value().to_owned(), value.value().to_vec()));
            }
        }
        Err(redb::TableError::TableDoesNotExist(_)) => {}
        Err(error) => return Err(error.into()),
    }
    for table in transaction.list_tables()? {
        if table.name() == CALLS.name() || table.name() == BRAKES.name() {
            continue;
        }
        let name = table.name().to_owned();
        let entries = transaction.open_untyped_table(table)?.len()?;
        if entries > 0 {
            found.warnings.push(format!(
                "the call journal has a table `{name}` with {entries} {}, which this release does not know: another \
                 release wrote it, and its calls may still be charged; start that release, which hangs them up, or ask the \
                 carrier",
                if entries == 1 { "entry" } else { "entries" }
            ));
        }
    }
    Ok(found)
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
                    match write {
                        Write::Call { key, record: Some(_) } => self.removals.remove(key),
                        Write::Call { key, record: None } => self.removals.insert(*key),
                        Write::Brake { .. } => false,
                    };
                }
            }
        }
        result
    }

    fn try_commit(&mut self, batch: &[Write]) -> Result<(), redb::Error> {
        let database = match &mut self.database {
            Some(database) => database,
            none => {
                private_file(&self.path)?;
                none.insert(Database::create(&self.path)?)
            }
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
        let mut calls = transaction.open_table(CALLS)?;
        for key in removals {
            calls.remove(key)?;
        }
        // The last state of each brake alone.
        let mut brakes = BTreeMap::new();
        for write in batch {
            match write {
                Write::Call { key, record: Some(record) } => drop(calls.insert(key, record.as_slice())?),
                Write::Call { key, record: None } => drop(calls.remove(key)?),
                Write::Brake { key, record } => drop(brakes.insert(key.as_str(), record.as_deref())),
            }
        }
        if !brakes.is_empty() {
            let mut table = transaction.open_table(BRAKES)?;
            for (key, record) in brakes {
                match record {
                    Some(record) => drop(table.insert(key, record)?),
                    None => drop(table.remove(key)?),
                }
            }
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
        assert_eq!(found, Found::default());
        for key in 0..100 {
            journal.write_call(key, Some(vec![1, 2, u8::try_from(key).expect("small")]));
        }
        for key in 0..90 {
            journal.write_call(key, None);
        }
        journal.write_brake("1 2".to_owned(), Some(vec![9]));
        journal.write_brake("1 3".to_owned(), Some(vec![7]));
        journal.write_brake("1 2".to_owned(), None);
        assert_eq!(journal.next().await.result, Ok(()));
        journal.flush().await;
        assert_eq!((journal.counters.written, journal.counters.failed), (193, 0));
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
        assert_eq!((found.calls, found.warnings), (expected, vec![]));
        assert_eq!(found.brakes, [("1 3".to_owned(), vec![7])]);
        let mode = path.metadata().expect("there").permissions().mode();
        assert_eq!(mode & 0o7777, 0o600);
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
        let write = |key, record: Option<u8>| Write::Call { key, record: record.map(|r| vec![r]) };
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
        let found = read(&open(&path).expect("opened")).expect("read").calls;
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
            journal.write_call(key, Some(vec![0]));
        }
        let refused = journal.next().await;
        assert_eq!((refused.key, refused.record, refused.result.is_err()), (2, true, true));
        drop((requests, acks));
        let lost = journal.next().await;
        assert_eq!((lost.key, lost.result.is_err()), (1, true));
        journal.flush().await;
        assert_eq!(journal.counters.overflowed, 1);
    }

    fn directory(name: &str) -> PathBuf {
        let dir = std::env::temp_dir().join(format!("sipsec-journal-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir);
        make_private(&dir).expect("made");
        dir
    }

    async fn reopened(path: &Path) -> Found {
        loop {
            match Journal::open(path) {
                Err(JournalError::InUse { .. }) => tokio::task::yield_now().await,
                other => return other.expect("opened").1,
            }
        }
    }

    /// What a downgrade finds: the calls of a release that comes after this one.
    #[tokio::test]
    async fn tables_of_another_release_are_told_and_kept() {
        let dir = directory("tables");
        let path = dir.join("journal.redb");
        let later: TableDefinition<'_, &str, u64> = TableDefinition::new("calls/2");
        let none: TableDefinition<'_, u64, u64> = TableDefinition::new("calls/3");
        {
            let database = open(&path).expect("opened");
            let write = database.begin_write().expect("begun");
            write.open_table(later).expect("made").insert("a call", 1).expect("written");
            drop(write.open_table(none).expect("made"));
            write.commit().expect("written");
        }
        for _ in 0..2 {
            let warnings = reopened(&path).await.warnings;
            assert_eq!(warnings.len(), 1, "{warnings:?}");
            assert!(
                warnings[0].contains("`calls/2` with 1 entry")
                    && warnings[0].contains("may still be charged")
            );
        }
        std::fs::remove_dir_all(dir).expect("removed");
    }

    #[tokio::test]
    async fn a_journal_that_was_emptied_or_removed_is_told() {
        let dir = directory("lost");
        let path = dir.join("journal.redb");
        assert_eq!(reopened(&path).await, Found::default(), "the first start");
        assert_eq!(reopened(&path).await, Found::default());
        let emptied = || drop(File::create(&path).expect("emptied"));
        let removed = || std::fs::remove_file(&path).expect("removed");
        let cases: [(&dyn Fn(), &str); 2] = [(&emptied, "is empty"), (&removed, "has been removed")];
        for (lose, text) in cases {
            while open(&path).is_err() {
                tokio::task::yield_now().await; // the last thread still has it
            }
            lose();
            let warnings = reopened(&path).await.warnings;
            assert!(warnings.len() == 1 && warnings[0].contains(text), "{warnings:?}");
            assert_eq!(path.metadata().expect("there").permissions().mode() & 0o7777, 0o600);
        }
        std::fs::remove_dir_all(dir).expect("removed");
    }

    /// A journal that others could read becomes private; one that is damaged, or cannot be read, says what to do.
    #[tokio::test]
    async fn a_journal_that_cannot_be_opened_says_what_to_do() {
        let dir = directory("cure");
        let path = dir.join("journal.redb");
        std::fs::write(&path, vec![0x5a; 8192]).expect("written");
        std::fs::set_permissions(&path, Permissions::from_mode(0o644)).expect("set");
        let error = Journal::open(&path).expect_err("no journal").to_string();
        assert!(error.contains("ask the carrier") && error.contains("move the file away"), "{error}");
        assert_eq!(path.metadata().expect("there").permissions().mode() & 0o7777, 0o600);
        std::fs::remove_file(&path).expect("removed");
        std::fs::create_dir(&path).expect("made");
        let error = Journal::open(&path).expect_err("no journal").to_string();
        assert!(error.contains("writable"), "{error}");
        std::fs::remove_dir_all(dir).expect("removed");
    }
}
