//! What the clients keep across restarts: the DUID, since a line's extension is bound to it, and the last address.

use crate::files::{self, replace_later};
use serde::{Deserialize, Serialize};
use sipsec_dhcp::v6::Duid;
use std::io;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Content {
    #[serde(default)]
    duid: Vec<u8>,
    #[serde(default)]
    address: Option<Ipv4Addr>,
}

/// A small JSON file.
#[derive(Debug)]
pub struct Store {
    path: PathBuf,
    content: Content,
}

impl Store {
    /// Reads the file, if there is one.
    ///
    /// # Errors
    /// If it is there and cannot be read or understood. Nothing is overwritten then: the file may hold the only copy of
    /// the DUID.
    pub fn open(path: &Path) -> io::Result<Self> {
        let content = match files::read(path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| {
                let text = format!(
                    "{}: {error}; move it away to begin with a new DUID, which may cost the line's extension",
                    path.display()
                );
                io::Error::new(io::ErrorKind::InvalidData, text)
            })?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Content::default(),
            Err(error) => return Err(error),
        };
        Ok(Self { path: path.to_owned(), content })
    }

    /// The kept DUID; without one, that of the hardware address, kept from now on.
    pub fn duid(&mut self, mac: [u8; 6]) -> Duid {
        if let Some(duid) = Duid::from_bytes(self.content.duid.clone()) {
            return duid;
        }
        let duid = Duid::link_layer(mac);
        self.content.duid = duid.as_bytes().to_vec();
        self.write();
        duid
    }

    #[must_use]
    pub const fn address(&self) -> Option<Ipv4Addr> {
        self.content.address
    }

    pub fn set_address(&mut self, address: Option<Ipv4Addr>) {
        if self.content.address != address {
            self.content.address = address;
            self.write();
        }
    }

    fn write(&self) {
        match serde_json::to_vec(&self.content) {
            Ok(bytes) => {
                replace_later(&self.path, bytes, 0o600, "the DHCP client's state cannot be written");
            }
            Err(error) => tracing::error!(%error, "the DHCP client's state has no JSON form"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn what_is_kept_is_read_again_and_a_broken_file_is_left_alone() {
        let directory = std::env::temp_dir().join(format!("sipsec-dhcp-store-{}", std::process::id()));
        fs::create_dir_all(&directory).expect("a directory");
        let path = directory.join("dhcp.json");
        let mut store = Store::open(&path).expect("no file is no error");
        let duid = store.duid([2, 0, 0, 0, 0, 1]);
        store.set_address(Some(Ipv4Addr::new(192, 0, 2, 7)));
        let mut again = Store::open(&path).expect("readable");
        // Another network card: the DUID stays.
        assert_eq!(again.duid([2, 0, 0, 0, 0, 99]), duid);
        assert_eq!(again.address(), Some(Ipv4Addr::new(192, 0, 2, 7)));
        assert!(files::flush(std::time::Duration::from_secs(30)));
        fs::write(&path, b"{\"duid\": [0, 3").expect("written");
        let error = Store::open(&path).expect_err("broken").to_string();
        assert!(error.contains("dhcp.json") && error.contains("extension"), "{error}");
        fs::remove_dir_all(&directory).expect("removed");
    }
}
