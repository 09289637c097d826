//! What each tunnel has carried, for other threads to read while the worker counts. One thread writes, so that a count is a
//! load and a store.

use crate::sys::prefetch_lines;
use core::sync::atomic::{AtomicU64, Ordering};
use sipsec_net::dp::TunnelActivity;
use sipsec_net::{Instant, TunnelId};
use std::sync::Arc;

/// Set in [`Cell::tunnel`] beside the tunnel's number, so that no tunnel is zero.
const MARK: u64 = 1 << 32;

/// What a packet changes is in the first cache line.
#[derive(Debug, Default)]
#[repr(C, align(128))]
struct Cell {
    last_out: AtomicU64,
    packets_out: AtomicU64,
    bytes_out: AtomicU64,
    drops_out: AtomicU64,
    last_in: AtomicU64,
    packets_in: AtomicU64,
    bytes_in: AtomicU64,
    drops_in: AtomicU64,
    trigger_queued: AtomicU64,
    trigger_replayed: AtomicU64,
    trigger_dropped: AtomicU64,
    tunnel: AtomicU64,
}

impl Cell {
    fn read(&self) -> TunnelActivity {
        let get = |n: &AtomicU64| n.load(Ordering::Relaxed);
        TunnelActivity {
            last_out: Instant::from_nanos(get(&self.last_out)),
            last_in: Instant::from_nanos(get(&self.last_in)),
            packets_in: get(&self.packets_in),
            bytes_in: get(&self.bytes_in),
            packets_out: get(&self.packets_out),
            bytes_out: get(&self.bytes_out),
            drops_in: get(&self.drops_in),
            drops_out: get(&self.drops_out),
            trigger_queued: get(&self.trigger_queued),
            trigger_replayed: get(&self.trigger_replayed),
            trigger_dropped: get(&self.trigger_dropped),
        }
    }

    fn all(&self) -> [&AtomicU64; 11] {
        [
            &self.last_out,
            &self.packets_out,
            &self.bytes_out,
            &self.drops_out,
            &self.last_in,
            &self.packets_in,
            &self.bytes_in,
            &self.drops_in,
            &self.trigger_queued,
            &self.trigger_replayed,
            &self.trigger_dropped,
        ]
    }
}

/// The activity of all tunnels, by their places. Any thread may read.
#[derive(Clone, Debug)]
pub struct Activities(Arc<[Cell]>);

impl Activities {
    #[must_use]
    pub fn new(tunnels_max: u32) -> Self {
        Self((0..tunnels_max).map(|_| Cell::default()).collect())
    }

    /// Places that tunnels may have.
    #[must_use]
    pub fn places(&self) -> usize {
        self.0.len()
    }

    /// The tunnel that has this place at the moment. Values of one moment are not promised: each is a count of its own.
    #[must_use]
    pub fn get(&self, place: usize) -> Option<(TunnelId, TunnelActivity)> {
        let cell = self.0.get(place)?;
        let tunnel = cell.tunnel.load(Ordering::Acquire);
        let activity = cell.read();
        // Another tunnel may have got the place meanwhile; it is seen at the next look.
        core::sync::atomic::fence(Ordering::Acquire);
        let same = cell.tunnel.load(Ordering::Relaxed) == tunnel;
        (tunnel & MARK != 0 && same).then_some((TunnelId(tunnel as u32), activity))
    }

    /// The place is this tunnel's from now on, which has carried nothing.
    pub(crate) fn begin(&self, place: u32, number: u32, tunnel: TunnelId) -> Activity {
        if let Some(cell) = self.0.get(place as usize) {
            cell.tunnel.store(0, Ordering::Relaxed);
            core::sync::atomic::fence(Ordering::Release);
            cell.all().iter().for_each(|n| n.store(0, Ordering::Relaxed));
            cell.tunnel.store(MARK | u64::from(tunnel.0), Ordering::Release);
        }
        Activity { cells: Arc::clone(&self.0), place, number }
    }

    /// For a tunnel in this place whose packets another worker counts.
    pub(crate) fn elsewhere(&self, place: u32, number: u32) -> Activity {
        Activity { cells: Arc::clone(&self.0), place, number }
    }

    /// A packet of the tunnel in this place is counted soon.
    #[inline]
    pub(crate) fn prefetch(&self, place: u32) {
        if let Some(cell) = self.0.get(place as usize) {
            prefetch_lines::<_, 1>(cell);
        }
    }
}

/// The activity of one tunnel, to be written. When it is dropped the place is free.
#[derive(Debug)]
pub(crate) struct Activity {
    cells: Arc<[Cell]>,
    place: u32,
    /// The tunnel's in its table: here, where it costs no room.
    number: u32,
}

impl Drop for Activity {
    fn drop(&mut self) {
        self.cell().tunnel.store(0, Ordering::Release);
    }
}

#[inline]
fn add(to: &AtomicU64, n: u64) {
    to.store(to.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
}

impl Activity {
    #[inline]
    fn cell(&self) -> &Cell {
        &self.cells[self.place as usize]
    }

    #[inline]
    pub(crate) const fn number(&self) -> u32 {
        self.number
    }

    pub(crate) fn read(&self) -> TunnelActivity {
        self.cell().read()
    }

    /// A packet of `len` bytes is on its way out; `at` unless it is no sign of use.
    #[inline]
    pub(crate) fn sent(&self, len: u16, at: Option<Instant>) {
        let cell = self.cell();
        add(&cell.packets_out, 1);
        add(&cell.bytes_out, len.into());
        if let Some(at) = at {
            cell.last_out.store(at.as_nanos(), Ordering::Relaxed);
        }
    }

    /// A packet that was counted as sent was lost.
    pub(crate) fn not_sent(&self, len: u16) {
        let cell = self.cell();
        add(&cell.packets_out, u64::MAX);
        add(&cell.bytes_out, u64::from(len).wrapping_neg());
        add(&cell.drops_out, 1);
    }

    /// A packet of `len` bytes came in; `at` unless it is no sign of use.
    #[inline]
    pub(crate) fn received(&self, len: u16, at: Option<Instant>) {
        let cell = self.cell();
        add(&cell.packets_in, 1);
        add(&cell.bytes_in, len.into());
        if let Some(at) = at {
            cell.last_in.store(at.as_nanos(), Ordering::Relaxed);
        }
    }

    pub(crate) fn dropped_out(&self) {
        add(&self.cell().drops_out, 1);
    }

    pub(crate) fn dropped_in(&self) {
        add(&self.cell().drops_in, 1);
    }

    pub(crate) fn trigger_queued(&self) {
        add(&self.cell().trigger_queued, 1);
    }

    pub(crate) fn trigger_replayed(&self) {
        add(&self.cell().trigger_replayed, 1);
    }

    pub(crate) fn trigger_dropped(&self, packets: u32) {
        add(&self.cell().trigger_dropped, packets.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_one_tunnels_and_then_anothers_from_zero() {
        let all = Activities::new(2);
        let first = all.begin(1, 1, TunnelId(7));
        first.sent(100, Some(Instant::from_nanos(5)));
        first.sent(50, None);
        first.not_sent(50);
        first.trigger_dropped(3);
        let expected = TunnelActivity {
            last_out: Instant::from_nanos(5),
            packets_out: 1,
            bytes_out: 100,
            drops_out: 1,
            trigger_dropped: 3,
            ..TunnelActivity::default()
        };
        assert_eq!((all.get(1), all.get(0), all.get(2)), (Some((TunnelId(7), expected)), None, None));
        drop(first);
        assert_eq!(all.get(1), None);
        let second = all.begin(1, 3, TunnelId(0));
        assert_eq!(all.get(1), Some((TunnelId(0), TunnelActivity::default())));
        second.received(9, Some(Instant::from_nanos(6)));
        assert_eq!(all.get(1).map(|(_, a)| (a.packets_in, a.bytes_in)), Some((1, 9)));
    }
}
