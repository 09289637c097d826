//! DHCPv6 messages: four bytes of header, then options of code, length and value (RFC 8415 §8, §21.1).

use super::lease::{Address, Prefix};
use crate::Ignored;
use crate::sip_data::{ENTERPRISE_NTT, SipData};
use crate::tlv::Reader;
use sipsec_net::Instant;
use std::net::Ipv6Addr;
use std::time::Duration;

pub const CLIENT_ID: u16 = 1;
pub const SERVER_ID: u16 = 2;
pub const IA_NA: u16 = 3;
pub const IA_ADDR: u16 = 5;
pub const ORO: u16 = 6;
pub const PREFERENCE: u16 = 7;
pub const ELAPSED: u16 = 8;
pub const STATUS: u16 = 13;
pub const VENDOR_CLASS: u16 = 16;
pub const VENDOR_OPTIONS: u16 = 17;
pub const SIP_NAMES: u16 = 21;
pub const SIP_ADDRESSES: u16 = 22;
pub const DNS: u16 = 23;
pub const IA_PD: u16 = 25;
pub const IA_PREFIX: u16 = 26;
pub const SOL_MAX_RT: u16 = 82;

/// §21.6: what the client asks for.
pub const REQUESTED: &[u16] = &[VENDOR_OPTIONS, SIP_NAMES, SIP_ADDRESSES, DNS, SOL_MAX_RT];

/// Most addresses and prefixes that are kept.
const RESOURCES_MAX: usize = 8;
const DNS_MAX: usize = 8;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    Solicit = 1,
    Advertise = 2,
    Request = 3,
    Renew = 5,
    Rebind = 6,
    Reply = 7,
    Release = 8,
    Decline = 9,
    InformationRequest = 11,
}

/// One identity association of a reply.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Times {
    /// Seconds; 0 leaves the choice to the client (§21.4).
    pub t1: u32,
    pub t2: u32,
}

/// A server's Advertise or Reply.
#[derive(Debug)]
pub struct Answer {
    pub kind: Kind,
    pub xid: [u8; 3],
    pub server: Vec<u8>,
    pub preference: u8,
    /// 0 is success (§21.13). An association's own status makes it empty.
    pub status: u16,
    pub addresses: Vec<Address>,
    pub prefixes: Vec<Prefix>,
    pub times: Vec<Times>,
    pub dns: Vec<Ipv6Addr>,
    pub sip: SipData,
}

impl Answer {
    /// Reads an answer for the client `duid` and its `iaid`. A list of options that is cut short is no answer.
    pub fn read(bytes: &[u8], duid: &[u8], iaid: u32, now: Instant) -> Result<Self, Ignored> {
        let mut reader = Reader::new(bytes);
        let kind = match reader.u8()? {
            2 => Kind::Advertise,
            7 => Kind::Reply,
            _ => return Err(Ignored::Unexpected),
        };
        let xid = reader.array::<3>()?;
        let mut answer = Self {
            kind,
            xid,
            server: Vec::new(),
            preference: 0,
            status: 0,
            addresses: Vec::new(),
            prefixes: Vec::new(),
            times: Vec::new(),
            dns: Vec::new(),
            sip: SipData::default(),
        };
        let mut client = None;
        while !reader.is_empty() {
            let (code, value) = option(&mut reader)?;
            match code {
                CLIENT_ID => client = Some(value),
                SERVER_ID => answer.server = value.to_vec(),
                PREFERENCE => answer.preference = *value.first().ok_or(Ignored::Malformed)?,
                STATUS => answer.status = Reader::new(value).u16()?,
                IA_NA | IA_PD => answer.association(code, value, iaid, now)?,
                DNS => {
                    answer.dns = value.as_chunks::<16>().0.iter().take(DNS_MAX).map(|b| (*b).into()).collect()
                }
                SIP_NAMES => ignore(answer.sip.servers.read_v6_names(value)),
                SIP_ADDRESSES => ignore(answer.sip.servers.read_v6_addresses(value)),
                VENDOR_OPTIONS => ignore(vendor(value, &mut answer.sip)),
                _ => {}
            }
        }
        // §16.3, §16.10: both identifiers must be there, and the client's must be ours.
        if answer.server.is_empty() || answer.server.len() > super::Duid::LEN_MAX {
            return Err(Ignored::Malformed);
        }
        if client != Some(duid) {
            return Err(Ignored::NotOurs);
        }
        Ok(answer)
    }

    fn association(&mut self, code: u16, value: &[u8], iaid: u32, now: Instant) -> Result<(), Ignored> {
        let mut reader = Reader::new(value);
        if reader.u32()? != iaid {
            return Ok(());
        }
        let times = Times { t1: reader.u32()?, t2: reader.u32()? };
        // §21.4: T1 above T2 (both not 0) makes the association invalid.
        if times.t2 != 0 && times.t1 > times.t2 {
            return Ok(());
        }
        let mut found = false;
        while !reader.is_empty() {
            let (inner, value) = option(&mut reader)?;
            let mut value = Reader::new(value);
            match (code, inner) {
                (_, STATUS) if value.u16()? != 0 => return Ok(()),
                (IA_NA, IA_ADDR) => {
                    let address = Ipv6Addr::from(value.array::<16>()?);
                    let Some((preferred_until, valid_until)) = lifetimes(&mut value, now)? else { continue };
                    if !address.is_multicast()
                        && !address.is_unspecified()
                        && self.addresses.len() < RESOURCES_MAX
                    {
                        self.addresses.push(Address { address, preferred_until, valid_until });
                        found = true;
                    }
                }
                (IA_PD, IA_PREFIX) => {
                    let Some((preferred_until, valid_until)) = lifetimes(&mut value, now)? else { continue };
                    let len = value.u8()?;
                    let prefix = Ipv6Addr::from(value.array::<16>()?);
                    if (1..=128).contains(&len) && self.prefixes.len() < RESOURCES_MAX {
                        self.prefixes.push(Prefix { prefix, len, preferred_until, valid_until });
                        found = true;
                    }
                }
                _ => {}
            }
        }
        if found {
            self.times.push(times);
        }
        Ok(())
    }
}

/// An option that nothing depends on and that cannot be read counts as absent.
fn ignore(_: Result<(), Ignored>) {}

/// §21.6, §21.22: preferred above valid makes the address invalid, a valid lifetime of 0 withdraws it.
fn lifetimes(reader: &mut Reader<'_>, now: Instant) -> Result<Option<(Instant, Instant)>, Ignored> {
    let (preferred, valid) = (reader.u32()?, reader.u32()?);
    let until = |s: u32| {
        if s == u32::MAX { Instant::MAX } else { now + Duration::from_secs(u64::from(s)) }
    };
    Ok((valid != 0 && preferred <= valid).then(|| (until(preferred), until(valid))))
}

fn option<'a>(reader: &mut Reader<'a>) -> Result<(u16, &'a [u8]), Ignored> {
    let code = reader.u16()?;
    let len = usize::from(reader.u16()?);
    Ok((code, reader.take(len)?))
}

/// §21.17: the enterprise number, then sub-options of the same form. Options of other enterprises are passed over.
fn vendor(value: &[u8], sip: &mut SipData) -> Result<(), Ignored> {
    let mut reader = Reader::new(value);
    if reader.u32()? != ENTERPRISE_NTT {
        return Ok(());
    }
    while !reader.is_empty() {
        let (code, value) = option(&mut reader)?;
        sip.vendor.take(code, value);
    }
    Ok(())
}

/// A client's message in the making.
#[derive(Debug)]
pub struct Request(Vec<u8>);

impl Request {
    pub fn new(kind: Kind, xid: [u8; 3]) -> Self {
        let mut bytes = vec![kind as u8];
        bytes.extend_from_slice(&xid);
        Self(bytes)
    }

    pub fn option(&mut self, code: u16, value: &[u8]) {
        self.0.extend_from_slice(&code.to_be_bytes());
        // No option of ours comes near 65,535 bytes.
        self.0.extend_from_slice(&(value.len() as u16).to_be_bytes());
        self.0.extend_from_slice(value);
    }

    pub fn finish(self) -> Vec<u8> {
        self.0
    }
}
