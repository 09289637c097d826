//! The journal's file: private, locked, and missed if it is gone.

use redb::Database;
use std::fs::{File, OpenOptions, Permissions};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Made at the first start, beside the journal: tells a journal that was lost from one that never was.
const MARKER: &str = "journal.made";

const MARKER_TEXT: &str = "This gateway has a call journal beside this file. Do not remove either.\n";

/// Calls are what one must not lose: only the owner reads and writes.
const MODE: u32 = 0o600;

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

/// A journal that has gone since the last run, or has been emptied.
pub(super) fn lost(path: &Path) -> Option<String> {
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

pub(super) fn mark(path: &Path) {
    let made = OpenOptions::new().write(true).create_new(true).mode(MODE).open(marker(path));
    match made.and_then(|mut file| std::io::Write::write_all(&mut file, MARKER_TEXT.as_bytes())) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
            tracing::warn!(%error, path = %marker(path).display(), "a journal that is lost will not be noticed");
        }
        _ => {}
    }
}

pub(super) fn make_private(dir: &Path) -> std::io::Result<()> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

pub(super) fn failed(path: &Path, error: impl Into<redb::Error>) -> JournalError {
    JournalError::Open { path: path.to_owned(), error: Box::new(error.into()) }
}

pub(super) fn open(path: &Path) -> Result<Database, JournalError> {
    private_file(path).map_err(|e| failed(path, redb::Error::Io(e)))?;
    match Database::create(path) {
        Ok(database) => Ok(database),
        Err(redb::DatabaseError::DatabaseAlreadyOpen) => Err(JournalError::InUse { path: path.to_owned() }),
        Err(error) => Err(failed(path, error)),
    }
}

/// Makes the file if it is not there; only its owner may read and write it.
pub(super) fn private_file(path: &Path) -> std::io::Result<()> {
    let file: File =
        OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(MODE).open(path)?;
    if file.metadata()?.permissions().mode() & 0o7777 != MODE {
        file.set_permissions(Permissions::from_mode(MODE))?;
    }
    Ok(())
}
