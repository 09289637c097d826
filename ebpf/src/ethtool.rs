//! Features of a device (offloads), by the names that `ethtool -k` shows.

use std::io;
use std::os::fd::OwnedFd;

const GSTRINGS: u32 = 0x1b;
const GSSET_INFO: u32 = 0x37;
const GFEATURES: u32 = 0x3a;
const SFEATURES: u32 = 0x3b;
/// The string set that holds the names of features.
const SET_FEATURES: u32 = 4;
const NAME_LEN: usize = 32;
/// More features than any kernel has.
const FEATURES_MAX: usize = 1024;

/// Requests in the network namespace in which it was opened.
#[derive(Debug)]
pub struct Ethtool(OwnedFd);

impl Ethtool {
    pub fn open() -> io::Result<Self> {
        use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
        Ok(Self(socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?))
    }

    pub fn device_name(&self, index: u32) -> io::Result<String> {
        Ok(rustix::net::netdevice::index_to_name(&self.0, index)?)
    }

    pub fn features(&self, device: &str) -> io::Result<Features> {
        let names = self.feature_names(device)?;
        let blocks = names.len().div_ceil(32);
        // struct ethtool_gfeatures: command and size; per block available, requested, active, never changed.
        let mut request = vec![0; 2 + 4 * blocks];
        request[..2].copy_from_slice(&[GFEATURES, blocks as u32]);
        self.run(device, &mut request)?;
        let active = request[2..].chunks_exact(4).map(|block| block[2]).collect();
        Ok(Features { names, active })
    }

    /// Asks the kernel to switch a feature of this device, whose `features` were read before; whether it did shows when they are
    /// read again.
    pub fn switch(&self, device: &str, features: &Features, name: &str, on: bool) -> io::Result<()> {
        let bit = features.bit(name).ok_or(io::ErrorKind::NotFound)?;
        let blocks = features.active.len();
        // struct ethtool_sfeatures: command and size; per block which bits are meant, and their values.
        let mut request = vec![0; 2 + 2 * blocks];
        request[..2].copy_from_slice(&[SFEATURES, blocks as u32]);
        let block = &mut request[2 + 2 * (bit / 32)..][..2];
        block[0] = 1 << (bit % 32);
        block[1] = if on { block[0] } else { 0 };
        self.run(device, &mut request)
    }

    fn feature_names(&self, device: &str) -> io::Result<Vec<String>> {
        // struct ethtool_sset_info: command, reserved, a mask of 64 bits (little-endian, as the BPF object is), one length per
        // bit of the answer's mask.
        let mut request = vec![0; 5];
        request[0] = GSSET_INFO;
        request[2] = 1 << SET_FEATURES;
        self.run(device, &mut request)?;
        if request[2] == 0 {
            return Ok(Vec::new());
        }
        let count = (request[4] as usize).min(FEATURES_MAX);
        // struct ethtool_gstrings: command, set, length, names.
        let mut request = vec![0; 3 + count * NAME_LEN / 4];
        request[..3].copy_from_slice(&[GSTRINGS, SET_FEATURES, count as u32]);
        self.run(device, &mut request)?;
        let bytes: Vec<u8> = request[3..].iter().flat_map(|word| word.to_ne_bytes()).collect();
        let name = |raw: &[u8]| {
            let end = raw.iter().position(|b| *b == 0).unwrap_or(raw.len());
            String::from_utf8_lossy(&raw[..end]).into_owned()
        };
        Ok(bytes.chunks_exact(NAME_LEN).map(name).collect())
    }

    fn run(&self, device: &str, request: &mut [u32]) -> io::Result<()> {
        // SAFETY: each caller sized the request for the count in it.
        unsafe { sipsec_abi::ethtool::run(&self.0, device, request) }
    }
}

/// The features of one device, as they were when they were read.
#[derive(Debug)]
pub struct Features {
    /// In the order of the kernel's bits.
    names: Vec<String>,
    active: Vec<u32>,
}

impl Features {
    /// `None` if the kernel knows no such feature.
    #[must_use]
    pub fn is_on(&self, name: &str) -> Option<bool> {
        let bit = self.bit(name)?;
        Some(self.active.get(bit / 32)? & 1 << (bit % 32) != 0)
    }

    fn bit(&self, name: &str) -> Option<usize> {
        self.names.iter().position(|n| n == name)
    }
}
