//! Which offloads this process has switched off, in a file of the runtime directory. A process that is killed cannot put them
//! back; the next one reads the file, and does.

use std::fmt::Write as _;
use std::io::{ErrorKind, Read as _};
use std::path::{Path, PathBuf};
use tracing::warn;

const NAME: &str = "offloads";
/// More than a file of this process ever has.
const BYTES_MAX: u64 = 64 * 1024;

#[derive(Debug)]
pub struct Record(PathBuf);

impl Record {
    #[must_use]
    pub fn new(runtime_dir: &Path) -> Self {
        Self(runtime_dir.join(NAME))
    }

    /// What an earlier process has left: the index of a device and the name of a feature.
    #[must_use]
    pub fn read(&self) -> Vec<(u32, String)> {
        let mut text = String::new();
        let read =
            std::fs::File::open(&self.0).and_then(|file| file.take(BYTES_MAX).read_to_string(&mut text));
        match read {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => return Vec::new(),
            Err(error) => warn!(path = %self.0.display(), %error, "offloads of an earlier run stay off"),
        }
        let entry = |line: &str| {
            let (index, feature) = line.split_once(' ')?;
            Some((index.parse().ok()?, feature.to_owned()))
        };
        text.lines().filter_map(entry).collect()
    }

    pub fn write<'a>(&self, off: impl Iterator<Item = (u32, &'a str)>) {
        let mut text = String::new();
        for (index, feature) in off {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{index} {feature}");
        }
        if let Err(error) = std::fs::write(&self.0, text) {
            warn!(path = %self.0.display(), %error, "offloads stay off if this process is killed");
        }
    }

    /// Everything was put back.
    pub fn remove(&self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_damage_is_passed_over() {
        let dir = std::env::temp_dir().join(format!("sipsec-offloads-{}", std::process::id()));
        std::fs::create_dir_all(&dir).expect("made");
        let record = Record::new(&dir);
        assert!(record.read().is_empty());
        record.write([(3, "rx-lro"), (4, "rx-gro")].into_iter());
        assert_eq!(record.read(), [(3, "rx-lro".to_owned()), (4, "rx-gro".to_owned())]);
        std::fs::write(dir.join(NAME), "x rx-lro\n7\n8 rx-gro\n").expect("written");
        assert_eq!(record.read(), [(8, "rx-gro".to_owned())]);
        record.remove();
        assert!(record.read().is_empty());
        std::fs::remove_dir_all(dir).expect("removed");
    }
}
