//! Programs of other people: the carrier, the IKE peer and the judges that are not ours.

pub mod capture;
pub mod charon;
pub mod dnsmasq;
pub mod frr;
pub mod kamailio;
pub mod kea;
pub mod sipp;
pub mod standin;

pub use capture::Capture;
pub use charon::Charon;
pub use dnsmasq::Dnsmasq;
pub use frr::Frr;
pub use kamailio::{Kamailio, Speaks};
pub use kea::Kea;
pub use sipp::Sipp;
pub use standin::StandIn;

use super::error::LabError;
use std::path::{Path, PathBuf};

/// An empty directory for a program's files, removed with its owner. Not below /run: charon has a /run of its own.
#[derive(Debug)]
pub struct Scratch(PathBuf);

impl Scratch {
    pub fn new(name: &str) -> Result<Self, LabError> {
        let dir = std::env::temp_dir().join("sipsec-lab").join(name);
        let what = || dir.display().to_string();
        if dir.exists() {
            std::fs::remove_dir_all(&dir).map_err(LabError::io(what()))?;
        }
        std::fs::create_dir_all(&dir).map_err(LabError::io(what()))?;
        Ok(Self(dir))
    }

    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn write(&self, name: &str, text: &str) -> Result<PathBuf, LabError> {
        let path = self.0.join(name);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).map_err(LabError::io(parent.display().to_string()))?;
        }
        std::fs::write(&path, text).map_err(LabError::io(path.display().to_string()))?;
        Ok(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
