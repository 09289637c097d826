//! Diffie-Hellman and signatures, off the loop: a bounded pool of blocking threads and a queue before it. While the queue is
//! full the loop takes no further messages ([`Compute::has_room`]), which would cause further jobs; nothing is lost. What timers
//! cause meanwhile still finds a place: at most one job for each session.

use std::cell::Cell;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Barrier};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// Jobs that wait for a thread before the loop takes no further messages. A thousand negotiations at once make a thousand: a
/// negotiation has one job under way.
pub const QUEUE: usize = 8192;

thread_local! {
    /// Whether this thread has computed before: its first random number and signature cost 0.1 s.
    static WARM: Cell<bool> = const { Cell::new(false) };
}

/// First uses that are under way, one on each thread that will compute.
#[derive(Debug)]
pub struct WarmUp(Vec<JoinHandle<()>>);

/// Makes a key and a signature on as many threads as will compute, so that no call pays for their first use. Needs a tokio
/// runtime; returns at once.
#[must_use]
pub fn warm_up() -> WarmUp {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    // Each job waits for the others, so that each is on a thread of its own.
    let together = Arc::new(Barrier::new(threads));
    let first_use = move |together: Arc<Barrier>| {
        together.wait();
        let began = std::time::Instant::now();
        let made = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)
            .and_then(|key| rcgen::CertificateParams::default().self_signed(&key).map(drop));
        match made {
            Ok(()) => {
                WARM.set(true);
                tracing::debug!(ms = began.elapsed().as_millis(), "signatures are warmed up");
            }
            Err(error) => tracing::warn!(%error, "no signature can be made"),
        }
    };
    let start = || {
        let together = Arc::clone(&together);
        tokio::task::spawn_blocking(move || first_use(together))
    };
    WarmUp((0..threads).map(|_| start()).collect())
}

impl WarmUp {
    /// Before the first call is possible.
    pub async fn finished(self) {
        for thread in self.0 {
            if let Err(error) = thread.await {
                tracing::warn!(%error, "the first call may be slow");
            }
        }
    }
}

/// Which jobs run first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Urgency {
    /// A session that carries traffic rekeys: it waits for no newcomer.
    Established,
    Negotiating,
}

#[derive(Clone, Copy, Debug, Default)]
pub struct ComputeCounters {
    pub run: u64,
    /// Most that have waited.
    pub waiting_max: u64,
    /// Jobs that were submitted although [`QUEUE`] jobs waited.
    pub beyond_room: u64,
    /// Jobs on threads that had not computed before.
    pub cold: u64,
}

/// What a job left, and whether its thread had not computed before.
struct Done<O> {
    outcome: O,
    cold: bool,
}

type Job<O> = Box<dyn FnOnce() -> O + Send>;

/// `O` is what a job leaves.
pub struct Compute<O> {
    threads: usize,
    running: usize,
    urgent: VecDeque<Job<O>>,
    waiting: VecDeque<Job<O>>,
    sender: mpsc::UnboundedSender<Done<O>>,
    done: mpsc::UnboundedReceiver<Done<O>>,
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
            urgent: VecDeque::new(),
            waiting: VecDeque::new(),
            sender,
            done,
            counters: ComputeCounters::default(),
        }
    }

    /// Whether messages that cause further jobs may be taken.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.urgent.len() + self.waiting.len() < QUEUE
    }

    /// Whether any job is running or waiting.
    #[must_use]
    pub const fn is_busy(&self) -> bool {
        self.running > 0
    }

    /// `failed` takes the place of the outcome if the job panics, so that each job is answered.
    pub fn submit(&mut self, urgency: Urgency, failed: O, job: impl FnOnce() -> O + Send + 'static) {
        self.counters.beyond_room += u64::from(!self.has_room());
        // What a job was about to change goes with it: it owns all that it works on.
        let job = || {
            catch_unwind(AssertUnwindSafe(job)).unwrap_or_else(|_| {
                tracing::error!("a key exchange or signature ended in a panic: please report it");
                failed
            })
        };
        if self.running < self.threads {
            return self.start(Box::new(job));
        }
        match urgency {
            Urgency::Established => self.urgent.push_back(Box::new(job)),
            Urgency::Negotiating => self.waiting.push_back(Box::new(job)),
        }
        let waiting = (self.urgent.len() + self.waiting.len()) as u64;
        self.counters.waiting_max = self.counters.waiting_max.max(waiting);
    }

    fn start(&mut self, job: Job<O>) {
        self.running += 1;
        let sender = self.sender.clone();
        tokio::task::spawn_blocking(move || {
            let cold = !WARM.replace(true);
            // The receiver lives as long as the loop; after it the outcome is not needed.
            let _ = sender.send(Done { outcome: job(), cold });
        });
    }

    /// The next outcome. May be cancelled at any time.
    pub async fn next(&mut self) -> O {
        match self.done.recv().await {
            Some(Done { outcome, cold }) => {
                self.counters.run += 1;
                self.counters.cold += u64::from(cold);
                self.running -= 1;
                if let Some(job) = self.urgent.pop_front().or_else(|| self.waiting.pop_front()) {
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
            .field("waiting", &(self.urgent.len() + self.waiting.len()))
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_job_runs_once_and_a_full_queue_says_so() {
        let mut pool: Compute<usize> = Compute::new();
        let total = pool.threads + QUEUE + 100;
        let mut seen = vec![false; total];
        let mut submitted = 0;
        for done in 0..total {
            while submitted < total && pool.has_room() {
                let i = submitted;
                pool.submit(Urgency::Negotiating, total, move || i);
                submitted += 1;
            }
            assert!(submitted - done <= pool.threads + QUEUE, "the queue is bounded");
            let i = pool.next().await;
            assert!(!std::mem::replace(&mut seen[i], true));
        }
        assert!(seen.into_iter().all(|s| s) && !pool.is_busy());
        assert_eq!(pool.counters.waiting_max, QUEUE as u64);
    }

    /// A timer may cause a job at any time.
    #[tokio::test]
    async fn a_job_beyond_the_room_is_run_too() {
        let mut pool: Compute<usize> = Compute::new();
        let total = pool.threads + QUEUE + 3;
        for i in 0..total {
            pool.submit(Urgency::Negotiating, total, move || i);
        }
        assert!(!pool.has_room());
        assert_eq!(pool.counters.beyond_room, 3);
        let mut sum = 0;
        for _ in 0..total {
            sum += pool.next().await;
        }
        assert_eq!(sum, total * (total - 1) / 2);
        assert!(pool.has_room() && !pool.is_busy());
    }

    #[tokio::test]
    async fn the_job_of_an_established_session_overtakes_what_waits() {
        let mut pool: Compute<usize> = Compute::new();
        let threads = pool.threads;
        for i in 0..threads + 50 {
            pool.submit(Urgency::Negotiating, i, move || i);
        }
        pool.submit(Urgency::Established, 0, || usize::MAX);
        let mut before = 0;
        while pool.next().await != usize::MAX {
            before += 1;
        }
        // It was the next to start; those that ran beside it may have ended first.
        assert!(before <= 2 * threads, "{before} went first");
    }

    #[tokio::test]
    async fn a_job_that_panics_is_answered_and_its_thread_goes_on() {
        let mut pool: Compute<Option<usize>> = Compute::new();
        let threads = pool.threads;
        for _ in 0..2 * threads {
            pool.submit(Urgency::Negotiating, None, || panic!("a job of this test"));
        }
        for _ in 0..2 * threads {
            assert_eq!(pool.next().await, None);
        }
        assert!(!pool.is_busy());
        pool.submit(Urgency::Negotiating, None, || Some(7));
        assert_eq!(pool.next().await, Some(7));
    }

    /// As many threads as compute, and no other: what runs after the warm-up runs on threads that it has used.
    fn run(warm: bool) -> ComputeCounters {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let runtime = tokio::runtime::Builder::new_current_thread().max_blocking_threads(threads).build();
        runtime.expect("a runtime").block_on(async {
            if warm {
                warm_up().finished().await;
            }
            let mut pool: Compute<()> = Compute::new();
            for _ in 0..20 * threads {
                pool.submit(Urgency::Negotiating, (), || ());
            }
            for _ in 0..20 * threads {
                pool.next().await;
            }
            pool.counters
        })
    }

    #[test]
    fn no_call_pays_for_the_first_use_of_signatures() {
        assert_eq!(run(true).cold, 0);
        let cold = run(false).cold;
        assert!(cold > 0, "a thread that was not warmed up is noticed");
    }
}
