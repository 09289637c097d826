//! Hints to the processor. The only unsafe code of this crate.
#![expect(unsafe_code, reason = "a prefetch has no safe wrapper")]

/// Bytes of a cache line.
pub(crate) const LINE: usize = 64;

/// Asks memory for `value`, which is used soon. Changes nothing.
#[inline]
pub(crate) fn prefetch<T>(value: &T) {
    prefetch_lines::<T, { usize::MAX }>(value);
}

/// The same for the first `LINES` cache lines of `value`, or for all of it if it has fewer.
#[inline]
pub(crate) fn prefetch_lines<T, const LINES: usize>(value: &T) {
    #[cfg(target_arch = "x86_64")]
    {
        use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        let start: *const i8 = core::ptr::from_ref(value).cast();
        for line in 0..size_of::<T>().div_ceil(LINE).min(LINES) {
            // SAFETY: the address lies within `value`, and a prefetch of any address is without effect.
            unsafe { _mm_prefetch(start.add(line * LINE), _MM_HINT_T0) };
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = value;
}
