//! Options of a DHCPv4 message: gathered from all fields that carry them and concatenated (RFC 3396), then read.

use super::lease::Route;
use crate::Ignored;
use crate::sip_data::{ENTERPRISE_NTT, SipData, VendorData};
use crate::tlv::Reader;
use std::collections::BTreeMap;
use std::net::Ipv4Addr;

pub const PAD: u8 = 0;
pub const SUBNET_MASK: u8 = 1;
pub const ROUTER: u8 = 3;
pub const DNS: u8 = 6;
pub const HOST_NAME: u8 = 12;
pub const INTERFACE_MTU: u8 = 26;
pub const REQUESTED_ADDRESS: u8 = 50;
pub const LEASE_TIME: u8 = 51;
pub const OVERLOAD: u8 = 52;
pub const MESSAGE_TYPE: u8 = 53;
pub const SERVER_ID: u8 = 54;
pub const PARAMETER_LIST: u8 = 55;
pub const MAX_SIZE: u8 = 57;
pub const RENEWAL_TIME: u8 = 58;
pub const REBINDING_TIME: u8 = 59;
pub const CLIENT_ID: u8 = 61;
pub const SIP_SERVERS: u8 = 120;
pub const CLASSLESS_ROUTES: u8 = 121;
pub const VENDOR_CLASS: u8 = 124;
pub const VENDOR_OPTIONS: u8 = 125;
pub const END: u8 = 255;

/// Most routes and name servers that are kept.
const ROUTES_MAX: usize = 64;
const DNS_MAX: usize = 8;

/// What the client asks for (option 55).
pub const REQUESTED: &[u8] = &[
    SUBNET_MASK,
    // RFC 3442: 121 is asked for before 3.
    CLASSLESS_ROUTES,
    ROUTER,
    DNS,
    INTERFACE_MTU,
    LEASE_TIME,
    RENEWAL_TIME,
    REBINDING_TIME,
    SIP_SERVERS,
    VENDOR_OPTIONS,
];

/// The values of all options, each the concatenation of its instances in order (RFC 3396 §7).
#[derive(Debug, Default)]
pub struct Options(BTreeMap<u8, Vec<u8>>);

impl Options {
    /// Reads the options field; if option 52 says so, then `file` and `sname` (RFC 3396 §5: in this order).
    pub fn read(field: &[u8], file: &[u8], sname: &[u8]) -> Result<Self, Ignored> {
        let mut options = Self::default();
        options.gather(field)?;
        let overload = options.u8(OVERLOAD).unwrap_or(0);
        if overload & 1 != 0 {
            options.gather(file)?;
        }
        if overload & 2 != 0 {
            options.gather(sname)?;
        }
        Ok(options)
    }

    /// The end option may be absent (the field then ends the list); an option that is cut short may not be.
    fn gather(&mut self, bytes: &[u8]) -> Result<(), Ignored> {
        let mut reader = Reader::new(bytes);
        while !reader.is_empty() {
            match reader.u8()? {
                PAD => {}
                END => break,
                code => {
                    let len = usize::from(reader.u8()?);
                    self.0.entry(code).or_default().extend_from_slice(reader.take(len)?);
                }
            }
        }
        Ok(())
    }

    pub fn get(&self, code: u8) -> Option<&[u8]> {
        self.0.get(&code).map(Vec::as_slice)
    }

    pub fn u8(&self, code: u8) -> Option<u8> {
        self.array(code).map(u8::from_be_bytes)
    }

    pub fn u16(&self, code: u8) -> Option<u16> {
        self.array(code).map(u16::from_be_bytes)
    }

    pub fn u32(&self, code: u8) -> Option<u32> {
        self.array(code).map(u32::from_be_bytes)
    }

    pub fn address(&self, code: u8) -> Option<Ipv4Addr> {
        self.array::<4>(code).map(Ipv4Addr::from)
    }

    fn array<const N: usize>(&self, code: u8) -> Option<[u8; N]> {
        self.get(code)?.try_into().ok()
    }

    fn addresses(&self, code: u8) -> impl Iterator<Item = Ipv4Addr> + '_ {
        self.get(code).unwrap_or_default().as_chunks::<4>().0.iter().map(|b| Ipv4Addr::from(*b))
    }

    pub fn dns(&self) -> Vec<Ipv4Addr> {
        self.addresses(DNS).take(DNS_MAX).collect()
    }

    /// Length of the subnet mask; a mask with holes counts as absent.
    pub fn prefix_len(&self) -> Option<u8> {
        let mask = self.u32(SUBNET_MASK)?;
        let len = mask.leading_ones();
        (mask.checked_shl(len).unwrap_or(0) == 0).then_some(len as u8)
    }

    /// RFC 3442: with option 121 the client ignores option 3. A 121 that cannot be read counts as absent.
    pub fn routes(&self) -> Vec<Route> {
        self.get(CLASSLESS_ROUTES).and_then(|bytes| classless(bytes).ok()).unwrap_or_else(|| {
            let default = |gateway| Route { destination: Ipv4Addr::UNSPECIFIED, prefix_len: 0, gateway };
            self.addresses(ROUTER).next().map(default).into_iter().collect()
        })
    }

    /// SIP servers and vendor data. What cannot be read is left out.
    pub fn sip(&self) -> SipData {
        let mut sip = SipData::default();
        if let Some(bytes) = self.get(SIP_SERVERS)
            && sip.servers.read_v4(bytes).is_err()
        {
            sip.servers = crate::SipServers::default();
        }
        if let Some(bytes) = self.get(VENDOR_OPTIONS) {
            // RFC 3925 §4: blocks of enterprise number, length and data; those of one enterprise belong together.
            let _ = vendor_blocks(bytes, &mut sip.vendor);
        }
        sip
    }
}

fn classless(bytes: &[u8]) -> Result<Vec<Route>, Ignored> {
    let mut reader = Reader::new(bytes);
    let mut routes = Vec::new();
    while !reader.is_empty() {
        let prefix_len = reader.u8()?;
        if prefix_len > 32 {
            return Err(Ignored::Malformed);
        }
        // Only the significant octets of the destination are there.
        let mut octets = [0; 4];
        let significant = reader.take(usize::from(prefix_len.div_ceil(8)))?;
        octets[..significant.len()].copy_from_slice(significant);
        let mask = u32::MAX.checked_shl(32 - u32::from(prefix_len)).unwrap_or(0);
        let destination = Ipv4Addr::from_bits(u32::from_be_bytes(octets) & mask);
        let gateway = Ipv4Addr::from(reader.array::<4>()?);
        if routes.len() < ROUTES_MAX {
            routes.push(Route { destination, prefix_len, gateway });
        }
    }
    Ok(routes)
}

fn vendor_blocks(bytes: &[u8], vendor: &mut VendorData) -> Result<(), Ignored> {
    let mut reader = Reader::new(bytes);
    let mut ours = Vec::new();
    let mut whole = Ok(());
    while !reader.is_empty() && whole.is_ok() {
        whole = (|| {
            let enterprise = reader.u32()?;
            let len = usize::from(reader.u8()?);
            let block = reader.take(len)?;
            if enterprise == ENTERPRISE_NTT {
                ours.extend_from_slice(block);
            }
            Ok(())
        })();
    }
    let mut reader = Reader::new(&ours);
    while !reader.is_empty() {
        let code = reader.u8()?;
        let len = usize::from(reader.u8()?);
        vendor.take(u16::from(code), reader.take(len)?);
    }
    whole
}
