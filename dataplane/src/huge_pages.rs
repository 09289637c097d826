//! Large pages for the tables: with thousands of tunnels every packet is in another page, and each page costs a walk of the
//! page tables. The kernel makes them where it may (`/sys/kernel/mm/transparent_hugepage/enabled` is `madvise` or `always`).

use crate::sys;
use std::io;
use std::ops::Range;

/// Size of a huge page on x86-64, and on arm64 with 4 KiB pages.
const HUGE: usize = 2 << 20;

/// Memory that large pages can hold, and what of it they hold, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HugePages {
    pub asked: usize,
    pub held: usize,
}

/// Asks for large pages wherever this process has room of its own for one, before the room is touched.
pub fn ask() -> io::Result<usize> {
    let mut asked = 0;
    for range in anonymous(&std::fs::read_to_string("/proc/self/maps")?) {
        let aligned = range.start.next_multiple_of(HUGE)..range.end / HUGE * HUGE;
        if !aligned.is_empty() {
            // The whole mapping: it may grow. A kernel without large pages refuses.
            sys::prefer_huge_pages(range)?;
            asked += aligned.len();
        }
    }
    Ok(asked)
}

/// How much of this process's own memory is in large pages now.
pub fn held() -> io::Result<usize> {
    let text = std::fs::read_to_string("/proc/self/smaps_rollup")?;
    let kib = text.lines().find_map(|line| {
        line.strip_prefix("AnonHugePages:")?.trim().strip_suffix("kB")?.trim().parse::<usize>().ok()
    });
    Ok(kib.unwrap_or(0) << 10)
}

/// Writable private mappings without a file, in `/proc/PID/maps`.
fn anonymous(maps: &str) -> impl Iterator<Item = Range<usize>> {
    maps.lines().filter_map(|line| {
        let mut words = line.split_ascii_whitespace();
        let (range, permissions) = (words.next()?, words.next()?);
        let (inode, path) = (words.nth(2)?, words.next());
        let (start, end) = range.split_once('-')?;
        let is_ours = permissions == "rw-p" && inode == "0" && matches!(path, None | Some("[heap]"));
        is_ours
            .then(|| Some(usize::from_str_radix(start, 16).ok()?..usize::from_str_radix(end, 16).ok()?))
            .flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_private_memory_without_a_file_is_asked_for() {
        let maps = "\
            5500000000-5500021000 rw-p 00000000 00:00 0                          [heap]\n\
            7f0000000000-7f0000400000 rw-p 00000000 00:00 0 \n\
            7f0000400000-7f0000800000 r--p 00000000 00:00 0 \n\
            7f0000800000-7f0000c00000 rw-s 00000000 00:0f 12                         /memfd:x (deleted)\n\
            7f0000c00000-7f0001000000 rw-p 00000000 08:01 99                         /usr/lib/x.so\n\
            7ffd00000000-7ffd00021000 rw-p 00000000 00:00 0                          [stack]\n";
        let found: Vec<_> = anonymous(maps).map(|r| r.start).collect();
        assert_eq!(found, [0x55_0000_0000, 0x7f00_0000_0000]);
    }

    #[test]
    fn room_that_is_asked_for_is_real() {
        let room: Vec<u8> = Vec::with_capacity(4 * HUGE);
        let maps = std::fs::read_to_string("/proc/self/maps").expect("readable");
        let at = room.as_ptr() as usize;
        assert!(anonymous(&maps).any(|r| r.contains(&at)), "the room is one of the mappings");
        if let Ok(asked) = ask() {
            assert!(asked >= 3 * HUGE, "{asked}");
        }
        assert!(held().is_ok());
    }
}
