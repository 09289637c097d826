use super::*;
use redb::{Database, TableDefinition};
use std::fs::{File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
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
    let expected: Vec<Record> = (90..100).map(|k| (k, vec![1, 2, u8::try_from(k).expect("small")])).collect();
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
    let mut before =
        Store { path: path.clone(), database: Some(open(&path).expect("opened")), removals: BTreeSet::new() };
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

/// A disk that hangs: every write is answered in time, once, and those that it does in the end count for nothing else.
#[tokio::test(start_paused = true)]
async fn a_disk_that_does_not_answer_is_not_waited_for() {
    let (writes, requests) = blocking::sync_channel(8);
    let (acks, results) = mpsc::unbounded_channel();
    let mut journal = Journal::of(writes, results);
    let start = Instant::now();
    journal.write_call(1, Some(vec![0]));
    journal.write_brake("1 2".to_owned(), None);
    journal.write_call(2, Some(vec![0]));
    assert_eq!(journal.health(), Ok(()));
    for key in [1, 2] {
        let given_up = journal.next().await;
        assert_eq!((given_up.key, given_up.record), (key, true));
        assert!(given_up.result.is_err_and(|e| e.contains("has not answered for 10 s")));
        assert_eq!(start.elapsed(), ANSWER_MAX);
    }
    assert_eq!((journal.counters.late, journal.counters.failed), (3, 0));
    assert!(journal.health().is_err());
    // It goes on: a call that was given up is over, and another begins.
    journal.write_call(1, None);
    journal.write_call(3, Some(vec![0]));
    for _ in 0..5 {
        acks.send(Ok(())).expect("heard");
    }
    for (key, record) in [(1, false), (3, true)] {
        let written = journal.next().await;
        assert_eq!((written.key, written.record, written.result), (key, record, Ok(())));
    }
    journal.flush().await;
    assert_eq!((journal.counters.written, journal.counters.late, journal.health()), (5, 3, Ok(())));
    drop(requests);
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
            warnings[0].contains("`calls/2` with 1 entry") && warnings[0].contains("may still be charged")
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
