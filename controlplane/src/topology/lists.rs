//! The small formats of `/proc` and `/sys`.

/// Cores that are looked at.
const CORES_MAX: u32 = 8192;

/// A list as in `smp_affinity_list`: `0-3,8,10-11`. Empty, and `(null)` of `nohz_full`, are no cores; `None` is no list.
#[must_use]
pub fn cores(text: &str) -> Option<Vec<u32>> {
    let text = text.trim();
    if text.is_empty() || text == "(null)" {
        return Some(Vec::new());
    }
    let mut out = Vec::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (u32, u32) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
        if first > last || last >= CORES_MAX {
            return None;
        }
        out.extend(first..=last);
    }
    out.sort_unstable();
    out.dedup();
    Some(out)
}

/// The same list, as short as the kernel writes it.
#[must_use]
pub fn ranges(cores: &[u32]) -> String {
    let mut parts: Vec<(u32, u32)> = Vec::new();
    for core in cores {
        match parts.last_mut() {
            Some((_, last)) if *last + 1 == *core => *last = *core,
            _ => parts.push((*core, *core)),
        }
    }
    let part = |(first, last): &(u32, u32)| match last - first {
        0 => first.to_string(),
        1 => format!("{first},{last}"),
        _ => format!("{first}-{last}"),
    };
    parts.iter().map(part).collect::<Vec<_>>().join(",")
}

/// The value of a line `Name:\tvalue` of `/proc/PID/status`.
#[must_use]
pub fn status<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
}

/// The core on which a thread ran last: field 39 of `/proc/PID/stat`, whose second field may hold blanks and brackets.
#[must_use]
pub fn last_core(stat: &str) -> Option<u32> {
    stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(36)?.parse().ok()
}

/// The word in brackets: `always [madvise] never`.
#[must_use]
pub fn chosen(text: &str) -> Option<&str> {
    text.split_once('[')?.1.split_once(']').map(|(word, _)| word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn core_lists_are_those_of_the_kernel() {
        assert_eq!(cores("0-3,8,10-11\n"), Some(vec![0, 1, 2, 3, 8, 10, 11]));
        assert_eq!(cores("5"), Some(vec![5]));
        for none in ["", "\n", " (null)\n"] {
            assert_eq!(cores(none), Some(Vec::new()), "{none:?}");
        }
        for bad in ["x", "3-1", "1,,2", "0-4294967295", "-1"] {
            assert_eq!(cores(bad), None, "{bad}");
        }
        for list in ["0-3,8,10,11", "5", ""] {
            assert_eq!(ranges(&cores(list).expect("a list")), list);
        }
    }

    #[test]
    fn a_thread_is_found_where_it_ran() {
        let stat = "812 (worker) 0 x) S 1 812 812 0 -1 4194368 100 0 0 0 5 6 0 0 20 0 3 0 900 1000 200 \
                    18446744073709551615 1 1 0 0 0 0 0 0 0 0 0 0 17 3 0 0 0 0 0 0 0 0 0 0 0 0 0";
        assert_eq!(last_core(stat), Some(3));
        assert_eq!(last_core("812 (x) S 1"), None);
        let text = "Name:\tworker-0\nCpus_allowed:\t2\nCpus_allowed_list:\t1\n";
        assert_eq!(status(text, "Cpus_allowed_list"), Some("1"));
        assert_eq!(status(text, "Cpus"), None);
        assert_eq!(chosen("always [madvise] never\n"), Some("madvise"));
        assert_eq!(chosen("always"), None);
    }
}
