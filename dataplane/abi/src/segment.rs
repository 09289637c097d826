//! The shared memory: a sealed memfd. The dataplane makes a new one for each control plane that connects; both map it.
//!
//! A new segment for each connection (an *epoch*) makes a reconnect clean. The rings start empty. What a killed control
//! plane wrote without publishing stays in the old segment, which no process reads again. A control plane that is still
//! alive after it was given up writes to the old segment, too.

use crate::bell::SleepFlag;
use crate::layout::{self, Number, SEGMENT_LEN, offset, shared};
use crate::ring::{Cursors, Geometry, RingMemory};
use crate::sync::AtomicU64;
use core::fmt;
use core::mem::{offset_of, size_of};
use core::ptr::NonNull;
use crossbeam_utils::CachePadded;
use rustix::fs::{MemfdFlags, SealFlags};
use rustix::io::Errno;
use rustix::mm::{Advice, MapFlags, ProtFlags};
use sipsec_net::Instant;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Seals of the file. Its size is fixed, so an access to the mapping cannot fault.
const SEALS: SealFlags = SealFlags::SHRINK.union(SealFlags::GROW).union(SealFlags::SEAL);

shared! {
    /// The start of the segment, written before the other process maps it.
    pub(crate) struct Ident {
        pub magic: [u8; 8],
        pub fingerprint: [u8; 8],
        pub epoch: [u8; 8],
        pub len: [u8; 8],
    }
}

pub(crate) const DESCRIPTIONS: &[layout::Description] = &[Ident::DESCRIPTION];

/// The first page. Every word but the identity has one writer and a cache line of its own.
#[repr(C)]
pub(crate) struct Header {
    /// [`Ident`] as words.
    ident: CachePadded<[AtomicU64; size_of::<Ident>() / 8]>,
    /// Nanoseconds of CLOCK_MONOTONIC, raised by each side while its loop turns.
    pub beat_dataplane: CachePadded<AtomicU64>,
    pub beat_control: CachePadded<AtomicU64>,
    pub sleep_dataplane: SleepFlag,
    pub sleep_control: SleepFlag,
}

pub(crate) const NUMBERS: &[Number] = &[
    Number { name: "header.beat_dataplane", value: offset_of!(Header, beat_dataplane) as u64 },
    Number { name: "header.beat_control", value: offset_of!(Header, beat_control) as u64 },
    Number { name: "header.sleep_dataplane", value: offset_of!(Header, sleep_dataplane) as u64 },
    Number { name: "header.sleep_control", value: offset_of!(Header, sleep_control) as u64 },
    Number { name: "header.len", value: size_of::<Header>() as u64 },
];

const _: () = assert!(size_of::<Header>() <= offset::COMMANDS, "the header has the first page");

/// Why a segment cannot be made or used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SegmentError {
    /// A system call failed: its name and the error.
    System { call: &'static str, errno: Errno },
    /// The file has another length than this build's segment.
    BadLength(u64),
    /// The file could still shrink or grow under the mapping.
    NotSealed,
    /// The segment does not say of itself what the handshake said.
    BadIdent,
}

impl fmt::Display for SegmentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::System { call, errno } => write!(f, "{call}: {errno}"),
            Self::BadLength(len) => {
                write!(f, "the shared segment is {len} bytes long instead of {SEGMENT_LEN}")
            }
            Self::NotSealed => f.write_str("the shared segment is not sealed against a change of its size"),
            Self::BadIdent => f.write_str("the shared segment is not the one that the handshake announced"),
        }
    }
}

impl std::error::Error for SegmentError {}

fn system(call: &'static str) -> impl FnOnce(Errno) -> SegmentError {
    move |errno| SegmentError::System { call, errno }
}

/// The segment, mapped into this process until the last clone of the `Arc` around it is gone.
pub struct Segment {
    base: NonNull<u8>,
    fd: OwnedFd,
    epoch: u64,
}

// SAFETY: the mapping belongs to this value alone until it is dropped, is not tied to a thread, and is only handed out as
// references to atomics.
unsafe impl Send for Segment {}
// SAFETY: as above; atomics may be used from any number of threads.
unsafe impl Sync for Segment {}

impl fmt::Debug for Segment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Segment").field("epoch", &self.epoch).finish_non_exhaustive()
    }
}

impl Segment {
    /// A new segment, all zero but for its identity.
    pub fn create(epoch: u64) -> Result<Arc<Self>, SegmentError> {
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let fd = match rustix::fs::memfd_create("sipsec", flags | MemfdFlags::NOEXEC_SEAL) {
            // Kernels before 6.3 do not know the flag.
            Err(Errno::INVAL) => rustix::fs::memfd_create("sipsec", flags),
            other => other,
        }
        .map_err(system("memfd_create"))?;
        rustix::fs::ftruncate(&fd, SEGMENT_LEN as u64).map_err(system("ftruncate"))?;
        rustix::fs::fcntl_add_seals(&fd, SEALS).map_err(system("fcntl(F_ADD_SEALS)"))?;
        let segment = Self::map(fd, epoch)?;
        for (word, value) in segment.header().ident.iter().zip(ident_words(epoch)) {
            word.store(value, Ordering::Release);
        }
        Ok(Arc::new(segment))
    }

    /// Maps a segment that came with the handshake, after checking that it is one.
    pub fn open(fd: OwnedFd, epoch: u64) -> Result<Arc<Self>, SegmentError> {
        // The seals first: then the length cannot change after it was looked at.
        let seals = rustix::fs::fcntl_get_seals(&fd).map_err(system("fcntl(F_GET_SEALS)"))?;
        if !seals.contains(SEALS) {
            return Err(SegmentError::NotSealed);
        }
        let len = rustix::fs::fstat(&fd).map_err(system("fstat"))?.st_size;
        if len != SEGMENT_LEN as i64 {
            return Err(SegmentError::BadLength(len.unsigned_abs()));
        }
        let segment = Self::map(fd, epoch)?;
        let found = segment.header().ident.each_ref().map(|word| word.load(Ordering::Acquire));
        if found == ident_words(epoch) { Ok(Arc::new(segment)) } else { Err(SegmentError::BadIdent) }
    }

    fn map(fd: OwnedFd, epoch: u64) -> Result<Self, SegmentError> {
        let protection = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a new mapping at an address of the kernel's choice; it overlaps nothing. The file's size is sealed at
        // SEGMENT_LEN, so that every byte of the mapping stays backed.
        let base = unsafe {
            rustix::mm::mmap(core::ptr::null_mut(), SEGMENT_LEN, protection, MapFlags::SHARED, &fd, 0)
        }
        .map_err(system("mmap"))?;
        let base =
            NonNull::new(base.cast()).ok_or(SegmentError::System { call: "mmap", errno: Errno::NOMEM })?;
        let segment = Self { base, fd, epoch };
        // Keys pass through here: keep them out of core dumps.
        // SAFETY: the range is the mapping just made, and the advice does not change its contents.
        unsafe { rustix::mm::madvise(base.as_ptr().cast(), SEGMENT_LEN, Advice::LinuxDontDump) }
            .map_err(system("madvise(MADV_DONTDUMP)"))?;
        Ok(segment)
    }

    /// Which connection since the dataplane's start this segment serves.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    pub(crate) fn header(&self) -> &Header {
        self.at(offset::HEADER)
    }

    /// The structure of atomics at `offset`.
    fn at<T: AtomicWords>(&self, offset: usize) -> &T {
        assert!(offset.is_multiple_of(align_of::<T>()) && offset + size_of::<T>() <= SEGMENT_LEN);
        // SAFETY: in bounds and aligned (the base is page-aligned, the offset was checked); the mapping lives as long as
        // `self`; `T` consists of atomics, for which all bit patterns are valid and which other threads and processes may
        // change meanwhile.
        unsafe { self.base.add(offset).cast::<T>().as_ref() }
    }

    /// `len` words from `offset` on.
    pub(crate) fn words(&self, offset: usize, len: usize) -> &[AtomicU64] {
        assert!(offset.is_multiple_of(8) && offset + len * 8 <= SEGMENT_LEN);
        // SAFETY: as in `at`.
        unsafe { core::slice::from_raw_parts(self.base.add(offset).cast::<AtomicU64>().as_ptr(), len) }
    }
}

impl AsFd for Segment {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Drop for Segment {
    fn drop(&mut self) {
        // SAFETY: the range is this value's mapping, and no reference into it outlives `self`.
        let unmapped = unsafe { rustix::mm::munmap(self.base.as_ptr().cast(), SEGMENT_LEN) };
        debug_assert_eq!(unmapped, Ok(()), "a mapping of ours can be unmapped");
    }
}

/// Structures that may be looked at in shared memory.
///
/// # Safety
/// `Self` is `repr(C)` and holds nothing but [`AtomicU64`] and padding.
unsafe trait AtomicWords {}
// SAFETY: three padded atomics.
unsafe impl AtomicWords for Cursors {}
// SAFETY: padded atomics and arrays of them.
unsafe impl AtomicWords for Header {}

fn ident_words(epoch: u64) -> [u64; 4] {
    [layout::MAGIC, layout::FINGERPRINT, epoch, SEGMENT_LEN as u64].map(u64::to_le)
}

/// A ring in a segment: cursors, then slots.
#[derive(Clone, Debug)]
pub struct SegmentRing {
    segment: Arc<Segment>,
    offset: usize,
    words: usize,
}

impl SegmentRing {
    pub(crate) fn new(segment: &Arc<Segment>, offset: usize, geometry: Geometry) -> Self {
        Self { segment: segment.clone(), offset, words: geometry.capacity * geometry.slot_words }
    }
}

impl RingMemory for SegmentRing {
    fn cursors(&self) -> &Cursors {
        self.segment.at(self.offset)
    }

    fn slots(&self) -> &[AtomicU64] {
        self.segment.words(self.offset + size_of::<Cursors>(), self.words)
    }
}

/// The side of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Dataplane,
    Control,
}

/// The two words by which each side shows that its loop turns.
#[derive(Clone, Debug)]
pub struct Pulse {
    segment: Arc<Segment>,
    role: Role,
}

impl Pulse {
    pub(crate) fn new(segment: &Arc<Segment>, role: Role) -> Self {
        Self { segment: segment.clone(), role }
    }

    /// This side is alive at `now`.
    pub fn beat(&self, now: Instant) {
        let header = self.segment.header();
        let word = match self.role {
            Role::Dataplane => &header.beat_dataplane,
            Role::Control => &header.beat_control,
        };
        word.store(now.as_nanos(), Ordering::Relaxed);
    }

    /// When the other side said so last; [`Instant::ZERO`] if it has not yet. Untrusted: it may lie in the future.
    #[must_use]
    pub fn peer_beat(&self) -> Instant {
        let header = self.segment.header();
        let word = match self.role {
            Role::Dataplane => &header.beat_control,
            Role::Control => &header.beat_dataplane,
        };
        Instant::from_nanos(word.load(Ordering::Relaxed))
    }
}
