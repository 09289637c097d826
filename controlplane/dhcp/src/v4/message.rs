//! The BOOTP header around the options (RFC 2131 §2).

use super::options::{self, Options};
use crate::Ignored;
use crate::tlv::Reader;
use std::net::Ipv4Addr;

const BOOT_REQUEST: u8 = 1;
const BOOT_REPLY: u8 = 2;
const ETHERNET: u8 = 1;
const MAGIC: [u8; 4] = [99, 130, 83, 99];
/// Some relays and servers drop shorter messages, since BOOTP's had this length (RFC 1542 §2.1).
const LEN_MIN: usize = 300;
/// Largest message that the client takes (option 57): one Ethernet frame.
pub const SIZE_MAX: u16 = 1472;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    Discover = 1,
    Offer = 2,
    Request = 3,
    Decline = 4,
    Ack = 5,
    Nak = 6,
    Release = 7,
    Inform = 8,
}

impl Kind {
    const fn of_server(value: u8) -> Option<Self> {
        match value {
            2 => Some(Self::Offer),
            5 => Some(Self::Ack),
            6 => Some(Self::Nak),
            _ => None,
        }
    }
}

/// A server's message.
#[derive(Debug)]
pub struct Reply {
    pub kind: Kind,
    pub xid: u32,
    pub address: Ipv4Addr,
    pub options: Options,
}

impl Reply {
    /// Reads a reply for `mac`.
    pub fn read(bytes: &[u8], mac: [u8; 6]) -> Result<Self, Ignored> {
        let mut reader = Reader::new(bytes);
        let [op, htype, hlen, _hops] = reader.array()?;
        let xid = reader.u32()?;
        let _secs_flags = reader.u32()?;
        let _ciaddr = reader.u32()?;
        let address = Ipv4Addr::from(reader.array::<4>()?);
        let _siaddr_giaddr = reader.array::<8>()?;
        let chaddr = reader.array::<16>()?;
        let sname = reader.take(64)?;
        let file = reader.take(128)?;
        if op != BOOT_REPLY || reader.array()? != MAGIC {
            return Err(Ignored::Malformed);
        }
        if htype != ETHERNET || hlen != 6 || chaddr[..6] != mac {
            return Err(Ignored::NotOurs);
        }
        let options = Options::read(reader.take(bytes.len() - 240)?, file, sname)?;
        let kind = options.u8(options::MESSAGE_TYPE).and_then(Kind::of_server).ok_or(Ignored::Malformed)?;
        Ok(Self { kind, xid, address, options })
    }
}

/// A client's message in the making.
#[derive(Debug)]
pub struct Request {
    bytes: Vec<u8>,
}

impl Request {
    /// `broadcast` asks the server not to send to an address that the host does not have yet.
    pub fn new(kind: Kind, xid: u32, secs: u16, broadcast: bool, ciaddr: Ipv4Addr, mac: [u8; 6]) -> Self {
        let mut bytes = vec![BOOT_REQUEST, ETHERNET, 6, 0];
        bytes.extend_from_slice(&xid.to_be_bytes());
        bytes.extend_from_slice(&secs.to_be_bytes());
        bytes.extend_from_slice(&if broadcast { [0x80, 0] } else { [0, 0] });
        bytes.extend_from_slice(&ciaddr.octets());
        bytes.resize(28, 0);
        bytes.extend_from_slice(&mac);
        bytes.resize(236, 0);
        bytes.extend_from_slice(&MAGIC);
        let mut request = Self { bytes };
        request.option(options::MESSAGE_TYPE, &[kind as u8]);
        request
    }

    /// Appends an option; one of more than 255 bytes is split (RFC 3396 §6).
    pub fn option(&mut self, code: u8, value: &[u8]) {
        let mut rest = value;
        loop {
            let (part, tail) = rest.split_at(rest.len().min(255));
            self.bytes.push(code);
            self.bytes.push(part.len() as u8);
            self.bytes.extend_from_slice(part);
            rest = tail;
            if rest.is_empty() {
                break;
            }
        }
    }

    pub fn finish(mut self) -> Vec<u8> {
        self.bytes.push(options::END);
        self.bytes.resize(self.bytes.len().max(LEN_MIN), options::PAD);
        self.bytes
    }
}
