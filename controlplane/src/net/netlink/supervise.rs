//! Starts the netlink task again when it fails, panics, or shows no progress.

use super::health::{STUCK_AFTER, Shared};
use super::task::TaskError;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep};

const RESTART_MIN: Duration = Duration::from_millis(100);
const RESTART_MAX: Duration = Duration::from_secs(5);
const CHECK: Duration = Duration::from_secs(1);

/// Runs what `start` makes until the loop has ended.
pub async fn supervise<F>(shared: Arc<Shared>, start: impl Fn() -> F)
where
    F: Future<Output = Result<(), TaskError>> + Send + 'static,
{
    let mut pause = RESTART_MIN;
    loop {
        shared.beat();
        // Dropping the set ends what runs in it.
        let mut task = JoinSet::new();
        task.spawn(start());
        let mut check = interval(CHECK);
        check.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut checks = 0_u32;
        let reason = loop {
            tokio::select! {
                ended = task.join_next() => break match ended {
                    None | Some(Ok(Ok(()) | Err(TaskError::Unheard))) => return,
                    Some(Ok(Err(error))) => error.to_string(),
                    Some(Err(_)) => "the task panicked: please report it".to_owned(),
                },
                _ = check.tick() => {
                    checks = checks.saturating_add(1);
                    if shared.is_stuck() {
                        break format!("no progress for {} s", STUCK_AFTER.as_secs());
                    }
                }
            }
        };
        // One that ran for a while starts again at once.
        if checks > 60 {
            pause = RESTART_MIN;
        }
        tracing::error!(reason, "the kernel's routing is not followed; starting again");
        shared.failed(&reason);
        drop(task);
        sleep(pause).await;
        pause = (pause * 2).min(RESTART_MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

    #[tokio::test(start_paused = true)]
    async fn a_task_that_hangs_panics_or_fails_is_started_again() {
        let shared = Arc::new(Shared::new());
        let starts = Arc::new(AtomicU32::new(0));
        let seen = starts.clone();
        supervise(shared.clone(), move || {
            let n = seen.fetch_add(1, Relaxed);
            async move {
                match n {
                    0 => std::future::pending().await,
                    1 => panic!("a task of this test"),
                    2 => Err(TaskError::Io(std::io::ErrorKind::BrokenPipe.into())),
                    _ => Err(TaskError::Unheard),
                }
            }
        })
        .await;
        assert_eq!((starts.load(Relaxed), shared.health().restarts), (4, 3));
        assert!(shared.health().failure.expect("the last reason").contains("broken pipe"));
    }
}
