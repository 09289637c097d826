//! Ctrl-C and SIGTERM: noticed at the next wait, so that everything made is taken down on the way out.

use super::error::LabError;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

static INTERRUPTED: AtomicBool = AtomicBool::new(false);
const POLL: Duration = Duration::from_millis(10);

/// Starts to listen, in a thread that ends with the process. A second signal ends it at once.
pub fn listen() -> Result<(), LabError> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_io().build().map_err(LabError::io("signals"))?;
    let listener = move || {
        runtime.block_on(async {
            use tokio::signal::unix::{SignalKind, signal};
            let (Ok(mut int), Ok(mut term)) =
                (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
            else {
                return;
            };
            loop {
                tokio::select! {
                    _ = int.recv() => {}
                    _ = term.recv() => {}
                }
                if INTERRUPTED.swap(true, Ordering::Relaxed) {
                    std::process::exit(130);
                }
                eprintln!("\ninterrupted: cleaning up");
            }
        });
    };
    std::thread::Builder::new().name("signals".into()).spawn(listener).map_err(LabError::io("signals"))?;
    Ok(())
}

pub fn check() -> Result<(), LabError> {
    if INTERRUPTED.load(Ordering::Relaxed) { Err(LabError::Interrupted) } else { Ok(()) }
}

/// Repeats the question until there is an answer, the time is over, or an interrupt.
pub fn wait_for<T>(
    what: &str,
    limit: Duration,
    mut ask: impl FnMut() -> Result<Option<T>, LabError>,
) -> Result<T, LabError> {
    let end = Instant::now() + limit;
    loop {
        check()?;
        if let Some(answer) = ask()? {
            return Ok(answer);
        }
        if Instant::now() >= end {
            return Err(LabError::Timeout { what: what.to_owned(), seconds: limit.as_secs() });
        }
        std::thread::sleep(POLL);
    }
}
