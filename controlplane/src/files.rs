//! Files of state, replaced whole: the new one or the one before, also after a power cut.
//!
//! A task of the runtime gives them to a thread ([`replace_later`]), because a disk may hang.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;
use tokio::sync::oneshot;

/// # Errors
/// If it cannot be written; then the one before is still there.
pub fn replace(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let new = path.with_file_name(name);
    // One that a killed process has left.
    match std::fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let written = write_new(&new, bytes, mode).and_then(|()| std::fs::rename(&new, path));
    if written.is_err() {
        // Half of a file may hold a secret, and takes room on a disk that may be full.
        let _ = std::fs::remove_file(&new);
    }
    written?;
    File::open(path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new(".")))?.sync_all()
}

fn write_new(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    file.set_permissions(Permissions::from_mode(mode))?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// One file that is to be replaced.
struct Order {
    path: PathBuf,
    bytes: Vec<u8>,
    mode: u32,
    /// What it means that it cannot be written, for the log.
    consequence: &'static str,
    done: Vec<oneshot::Sender<()>>,
}

#[derive(Default)]
struct Orders {
    /// Each path once: the newest content.
    waiting: VecDeque<Order>,
    /// The path and the content that the thread is at.
    writing: Option<(PathBuf, Vec<u8>)>,
}

impl Orders {
    fn newest(&self, path: &Path) -> Option<&[u8]> {
        let waiting = self.waiting.iter().find(|o| o.path == path).map(|o| &o.bytes[..]);
        waiting.or_else(|| self.writing.as_ref().filter(|(at, _)| at == path).map(|(_, bytes)| &bytes[..]))
    }
}

#[derive(Default)]
struct Writer {
    orders: Mutex<Orders>,
    changed: Condvar,
}

impl Writer {
    /// Starts the thread at its first use.
    fn get() -> &'static Self {
        static WRITER: OnceLock<Writer> = OnceLock::new();
        static THREAD: OnceLock<()> = OnceLock::new();
        let writer = WRITER.get_or_init(Self::default);
        THREAD.get_or_init(|| {
            let started = std::thread::Builder::new().name("files".into()).spawn(move || writer.run());
            if let Err(error) = started {
                tracing::error!(%error, "files of state are not written: their thread cannot be started");
            }
        });
        writer
    }

    fn orders(&self) -> MutexGuard<'_, Orders> {
        self.orders.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, mut order: Order) {
        let mut orders = self.orders();
        match orders.waiting.iter_mut().find(|o| o.path == order.path) {
            Some(before) => {
                order.done.append(&mut before.done);
                *before = order;
            }
            None => orders.waiting.push_back(order),
        }
        self.changed.notify_all();
    }

    fn run(&self) {
        let mut orders = self.orders();
        loop {
            let Some(order) = orders.waiting.pop_front() else {
                orders = self.changed.wait(orders).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            orders.writing = Some((order.path.clone(), order.bytes.clone()));
            drop(orders);
            match replace(&order.path, &order.bytes, order.mode) {
                Ok(()) => {
                    for done in order.done {
                        // Who asked may wait no longer.
                        let _ = done.send(());
                    }
                }
                Err(error) => {
                    tracing::warn!(path = %order.path.display(), %error, "{}", order.consequence);
                }
            }
            orders = self.orders();
            orders.writing = None;
            self.changed.notify_all();
        }
    }

    fn flush(&self, max: Duration) -> bool {
        let busy = |orders: &mut Orders| orders.writing.is_some() || !orders.waiting.is_empty();
        let waited = self.changed.wait_timeout_while(self.orders(), max, busy);
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }
}

/// A file that was given to [`replace_later`].
#[derive(Debug)]
pub struct Pending(oneshot::Receiver<()>);

impl Pending {
    /// Waits until the file, or a newer one of its path, is on the disk; `false` if it was not after `max`.
    pub async fn written_within(self, max: Duration) -> bool {
        matches!(tokio::time::timeout(max, self.0).await, Ok(Ok(())))
    }
}

/// Replaces the file soon and in order; of several contents for one path that wait, the newest. A failure is logged with its
/// `consequence`.
pub fn replace_later(path: &Path, bytes: Vec<u8>, mode: u32, consequence: &'static str) -> Pending {
    let (done, pending) = oneshot::channel();
    Writer::get().put(Order { path: path.to_owned(), bytes, mode, consequence, done: vec![done] });
    Pending(pending)
}

/// The content of a file, also if it is still on its way to the disk.
///
/// # Errors
/// If it cannot be read.
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    let pending = Writer::get().orders().newest(path).map(<[u8]>::to_vec);
    pending.map_or_else(|| std::fs::read(path), Ok)
}

/// Waits until all files are on the disk; `false` if some were not after `max`.
pub fn flush(max: Duration) -> bool {
    Writer::get().flush(max)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory(name: &str) -> PathBuf {
        let dir = std::env::temp_dir().join(format!("sipsec-files-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir);
        std::fs::create_dir_all(&dir).expect("a directory");
        dir
    }

    #[tokio::test]
    async fn the_newest_content_is_written_and_told() {
        let dir = directory("newest");
        let path = dir.join("state");
        let pending: Vec<_> =
            (0..50).map(|n| replace_later(&path, vec![n], 0o600, "nothing is kept")).collect();
        assert_eq!(read(&path).expect("on its way"), [49]);
        for one in pending {
            assert!(one.written_within(Duration::from_secs(30)).await);
        }
        assert!(flush(Duration::from_secs(30)));
        assert_eq!(std::fs::read(&path).expect("written"), [49]);
        assert_eq!(std::fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
        let absent = replace_later(&dir.join("absent/state"), Vec::new(), 0o600, "nothing is kept");
        assert!(!absent.written_within(Duration::from_secs(30)).await, "and a failure is none");
        std::fs::remove_dir_all(&dir).expect("removed");
    }
}
