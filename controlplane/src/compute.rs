//! Diffie-Hellman and signatures, off the loop: a bounded pool of blocking threads and a bounded queue before it.

use std::collections::VecDeque;
use tokio::sync::mpsc;

/// Jobs that wait for a thread. A thousand negotiations at once make a few thousand jobs.
pub const QUEUE: usize = 8192;

#[derive(Clone, Copy, Debug, Default)]
pub struct ComputeCounters {
    pub run: u64,
    /// Found no room; the negotiation they belong to times out.
    pub overflowed: u64,
}

type Job<O> = Box<dyn FnOnce() -> O + Send>;

/// `O` is what a job leaves.
pub struct Compute<O> {
    threads: usize,
    running: usize,
    waiting: VecDeque<Job<O>>,
    sender: mpsc::UnboundedSender<O>,
    done: mpsc::UnboundedReceiver<O>,
    pub counters: ComputeCounters,
}

impl<O: Send + 'static> Compute<O> {
    /// One thread for each processor: the jobs do nothing but compute.
    #[must_use]
    pub fn new() -> Self {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let (sender, done) = mpsc::unbounded_channel();
        Self {
            threads,
            running: 0,
            waiting: VecDeque::new(),
            sender,
            done,
            counters: ComputeCounters::default(),
        }
    }

    pub fn submit(&mut self, job: impl FnOnce() -> O + Send + 'static) {
        if self.running < self.threads {
            self.start(Box::new(job));
        } else if self.waiting.len() < QUEUE {
            self.waiting.push_back(Box::new(job));
        } else {
            self.counters.overflowed += 1;
        }
    }

    fn start(&mut self, job: Job<O>) {
        self.running += 1;
        let sender = self.sender.clone();
        tokio::task::spawn_blocking(move || {
            // The receiver lives as long as the loop; after it nobody wants the outcome.
            let _ = sender.send(job());
        });
    }

    /// The next outcome. May be cancelled at any time.
    pub async fn next(&mut self) -> O {
        match self.done.recv().await {
            Some(outcome) => {
                self.counters.run += 1;
                self.running -= 1;
                if let Some(job) = self.waiting.pop_front() {
                    self.start(job);
                }
                outcome
            }
            None => std::future::pending().await, // this side holds a sender, too
        }
    }
}

impl<O: Send + 'static> Default for Compute<O> {
    fn default() -> Self {
        Self::new()
    }
}

impl<O> std::fmt::Debug for Compute<O> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Compute")
            .field("running", &self.running)
            .field("waiting", &self.waiting.len())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_job_within_the_bound_is_run_once() {
        let mut pool: Compute<usize> = Compute::new();
        let room = pool.threads + QUEUE;
        for i in 0..room + 5 {
            pool.submit(move || i);
        }
        assert_eq!(pool.counters.overflowed, 5);
        let mut seen = vec![false; room];
        for _ in 0..room {
            let i = pool.next().await;
            assert!(!std::mem::replace(&mut seen[i], true));
        }
        assert!(seen.into_iter().all(|s| s) && pool.running == 0);
    }
}
