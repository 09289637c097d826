//! Files of `/proc` and `/sys`.

use std::io::Read as _;

/// `/proc/interrupts` of a machine with 512 cores has a few megabytes.
const BYTES_MAX: u64 = 16 << 20;
/// Names in one directory.
const NAMES_MAX: usize = 8192;

/// What a machine says of itself; a test has another one.
pub trait Tree {
    /// `None` if there is no such file, or it cannot be read.
    fn text(&self, path: &str) -> Option<String>;
    /// Names in a directory, in no order; none if there is no such directory.
    fn names(&self, directory: &str) -> Vec<String>;
}

/// This machine.
#[derive(Clone, Copy, Debug)]
pub struct Kernel;

impl Tree for Kernel {
    fn text(&self, path: &str) -> Option<String> {
        let mut text = String::new();
        std::fs::File::open(path).ok()?.take(BYTES_MAX).read_to_string(&mut text).ok()?;
        Some(text)
    }

    fn names(&self, directory: &str) -> Vec<String> {
        let Ok(entries) = std::fs::read_dir(directory) else { return Vec::new() };
        entries.flatten().take(NAMES_MAX).filter_map(|entry| entry.file_name().into_string().ok()).collect()
    }
}
