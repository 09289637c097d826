//! The threads of the process, until they are stopped.

use crate::error::BootError;
use crate::worker::{self, WorkerSetup};
use std::convert::Infallible;
use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::JoinHandle;
use std::time::Duration;

/// How long workers may take to see that they are to stop; they sleep no longer than a tenth of a second.
const WORKER_END_LIMIT: Duration = Duration::from_secs(2);

#[derive(Debug)]
pub(super) struct Threads {
    control: JoinHandle<()>,
    workers: Vec<JoinHandle<()>>,
    /// Each worker has the other end for as long as it runs.
    running: Receiver<Infallible>,
}

impl Threads {
    /// Starts the workers.
    pub(super) fn spawn(
        control: JoinHandle<()>,
        setups: impl IntoIterator<Item = WorkerSetup>,
    ) -> io::Result<Self> {
        let (runs, running) = channel();
        let workers = setups.into_iter().map(|setup| worker::spawn(setup, runs.clone()));
        Ok(Self { control, workers: workers.collect::<io::Result<_>>()?, running })
    }

    pub(super) const fn workers(&self) -> usize {
        self.workers.len()
    }

    /// Whether one has ended by itself.
    pub(super) fn has_ended(&self) -> bool {
        self.control.is_finished() || self.workers.iter().any(JoinHandle::is_finished)
    }

    /// After the control thread was told to stop, and the workers by it.
    pub(super) fn join(self) -> Result<(), BootError> {
        self.control.join().map_err(|_| BootError::WorkerDied)?;
        // A worker that hangs or has failed to start takes no notice; it ends with the process.
        match self.running.recv_timeout(WORKER_END_LIMIT) {
            Err(RecvTimeoutError::Disconnected) => Ok(()),
            Err(RecvTimeoutError::Timeout) => {
                let worker = self.workers.iter().position(|worker| !worker.is_finished());
                worker.map_or(Ok(()), |worker| Err(BootError::WorkerHangs { worker }))
            }
            Ok(never) => match never {},
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A worker that ends when `told` does.
    fn threads(told: Receiver<Infallible>) -> Threads {
        let (runs, running) = channel::<Infallible>();
        let worker = std::thread::spawn(move || {
            let _runs = runs;
            let _ = told.recv();
        });
        Threads { control: std::thread::spawn(|| {}), workers: vec![worker], running }
    }

    #[test]
    fn the_end_of_every_worker_is_waited_for_and_one_that_hangs_is_named() {
        let (tell, told) = channel();
        drop(tell);
        threads(told).join().expect("ended");
        let (_tell, told) = channel();
        let hangs = threads(told).join().expect_err("hangs");
        assert!(matches!(hangs, BootError::WorkerHangs { worker: 0 }), "{hangs}");
    }
}
