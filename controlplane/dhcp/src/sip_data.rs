//! What DHCP says of a SIP line.

use crate::Ignored;
use crate::labels;
use crate::tlv::Reader;
use std::net::IpAddr;

/// Most servers and names of one kind that are kept.
pub const SERVERS_MAX: usize = 8;
/// Most additional numbers that are kept.
pub const NUMBERS_MAX: usize = 16;
/// Longest telephone number in digits (E.164 has 15; extensions and prefixes need more).
const NUMBER_DIGITS_MAX: usize = 32;
/// IANA enterprise number of NTT, whose vendor options carry the line's number and domain.
pub const ENTERPRISE_NTT: u32 = 210;

/// SIP servers of DHCPv4 option 120 (RFC 3361) or of DHCPv6 options 21 and 22 (RFC 3319).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SipServers {
    pub addresses: Vec<IpAddr>,
    pub names: Vec<String>,
}

/// Vendor data of the line. Sub-option numbers are those of enterprise 210.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VendorData {
    /// 201: the client's hardware address, as the server sees it.
    pub mac: Option<[u8; 6]>,
    /// 202: telephone number, or extension behind a home gateway.
    pub number: Option<String>,
    /// 203: additional numbers.
    pub additional_numbers: Vec<String>,
    /// 204: SIP domain.
    pub sip_domain: Option<String>,
    /// 210: host name for firmware updates.
    pub update_host: Option<String>,
    /// Sub-options that were there and could not be read.
    pub unreadable: Vec<u16>,
}

/// All of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SipData {
    pub servers: SipServers,
    pub vendor: VendorData,
}

impl SipServers {
    /// Option 120, concatenated. RFC 3361 §3: the first octet is the encoding, 0 for names and 1 for addresses.
    pub(crate) fn read_v4(&mut self, bytes: &[u8]) -> Result<(), Ignored> {
        let mut reader = Reader::new(bytes);
        match reader.u8()? {
            0 => self.names = labels::names(&bytes[1..], SERVERS_MAX)?,
            1 if bytes.len() >= 5 && (bytes.len() - 1).is_multiple_of(4) => {
                while !reader.is_empty() {
                    let address = IpAddr::from(reader.array::<4>()?);
                    if self.addresses.len() < SERVERS_MAX && !self.addresses.contains(&address) {
                        self.addresses.push(address);
                    }
                }
            }
            _ => return Err(Ignored::Malformed),
        }
        Ok(())
    }

    /// DHCPv6 option 22: addresses (RFC 3319 §3.2).
    pub(crate) fn read_v6_addresses(&mut self, bytes: &[u8]) -> Result<(), Ignored> {
        if bytes.is_empty() || !bytes.len().is_multiple_of(16) {
            return Err(Ignored::Malformed);
        }
        let mut reader = Reader::new(bytes);
        while !reader.is_empty() {
            let address = IpAddr::from(reader.array::<16>()?);
            if self.addresses.len() < SERVERS_MAX && !self.addresses.contains(&address) {
                self.addresses.push(address);
            }
        }
        Ok(())
    }

    /// DHCPv6 option 21: names (RFC 3319 §3.1).
    pub(crate) fn read_v6_names(&mut self, bytes: &[u8]) -> Result<(), Ignored> {
        self.names = labels::names(bytes, SERVERS_MAX)?;
        Ok(())
    }
}

impl VendorData {
    /// One sub-option. What cannot be read is remembered by its number, and costs nothing else.
    pub(crate) fn take(&mut self, code: u16, bytes: &[u8]) {
        let read = match code {
            201 => bytes.try_into().ok().map(|mac| self.mac = Some(mac)),
            202 => number(bytes).map(|number| self.number = Some(number)),
            203 => number(bytes).map(|number| {
                if self.additional_numbers.len() < NUMBERS_MAX && !self.additional_numbers.contains(&number) {
                    self.additional_numbers.push(number);
                }
            }),
            204 => domain(bytes).map(|domain| self.sip_domain = Some(domain)),
            210 => domain(bytes).map(|host| self.update_host = Some(host)),
            _ => Some(()),
        };
        if read.is_none() && self.unreadable.len() < NUMBERS_MAX && !self.unreadable.contains(&code) {
            self.unreadable.push(code);
        }
    }
}

/// Digits, with a zero byte at the end from some servers.
fn number(bytes: &[u8]) -> Option<String> {
    let digits = bytes.strip_suffix(&[0]).unwrap_or(bytes);
    let fits = (1..=NUMBER_DIGITS_MAX).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit);
    fits.then(|| digits.iter().map(|b| char::from(*b)).collect())
}

fn domain(bytes: &[u8]) -> Option<String> {
    labels::names(bytes, 1).ok()?.into_iter().next()
}
