//! The journal's tables, and the thread that writes them.

use super::file::private_file;
use super::{Found, Outcome, Write};
use redb::{Database, ReadableDatabase, ReadableTable, ReadableTableMetadata, TableDefinition, TableHandle};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::mpsc as blocking;
use tokio::sync::mpsc;

const CALLS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("calls/1");

/// Brakes of tunnels, by their numbers.
const BRAKES: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("brakes/1");

/// Writes in one transaction.
const BATCH: usize = 1024;

pub(super) fn read(database: &Database) -> Result<Found, redb::Error> {
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
pub(super) struct Store {
    pub(super) path: PathBuf,
    /// `None` if it could not be opened again.
    pub(super) database: Option<Database>,
    /// Calls that have ended and are still on disk: a commit with their removal failed.
    pub(super) removals: BTreeSet<u64>,
}

impl Store {
    /// After one error the database refuses everything until it is opened anew, so that a disk that was full for a moment
    /// would end all calls to come. Once: what fails again is answered so.
    pub(super) fn commit(&mut self, batch: &[Write]) -> Result<(), redb::Error> {
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

pub(super) fn serve(
    mut store: Store,
    requests: &blocking::Receiver<Write>,
    acks: &mpsc::UnboundedSender<Outcome>,
) {
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
