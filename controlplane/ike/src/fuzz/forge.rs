//! Messages that a peer with keys could send: those of an honest one, changed inside, and others made up.

use super::endpoint::fix_len;
use crate::algorithm::{Encr, EspProposal, IkeProposal, Integ};
use crate::crypto::cipher::Cipher;
use crate::keylog::{KeyLogEntry, KeyLogTable};
use crate::negotiate::{esp, ike};
use crate::output::ChildSaKeys;
use crate::secret::Secret;
use crate::wire::header::HEADER_LEN;
use crate::wire::notify::PROTOCOL_ESP;
use crate::wire::payload::Payloads;
use crate::wire::skf::{SKF_FIELDS_LEN, SkfFields};
use crate::wire::{Chain, Exchange, Header, NotifyType, PayloadType};
use arbitrary::{Result, Unstructured};
use sipsec_net::Spi;
use sipsec_net::dp::Selector;
use sipsec_net::entropy::TestEntropy;

/// Notifications with a meaning to us, and some without.
const NOTIFIES: [u16; 28] = [
    1, 7, 9, 11, 14, 17, 24, 34, 35, 38, 43, 44, 16384, 16388, 16390, 16393, 16394, 16407, 16430, 16431,
    16435, 16436, 16437, 16438, 47, 16441, 4, 16419,
];
const EXCHANGES: [Exchange; 6] = [
    Exchange::IKE_SA_INIT,
    Exchange::IKE_AUTH,
    Exchange::CREATE_CHILD_SA,
    Exchange::INFORMATIONAL,
    Exchange::IKE_INTERMEDIATE,
    Exchange::IKE_FOLLOWUP_KE,
];

/// The ciphers of one IKE SA: of its initiator and of its responder.
pub(super) struct Keys {
    spi_i: u64,
    spi_r: u64,
    of_i: Cipher,
    of_r: Cipher,
}

/// Everything learned so far.
#[derive(Default)]
pub(super) struct Seen {
    /// An SA has more than one set of keys after IKE_INTERMEDIATE (RFC 9370 §2.2.2); the last counts.
    keys: Vec<Keys>,
    lines: Vec<String>,
    spis: Vec<u32>,
}

fn unhex(s: &str) -> Secret {
    let digit = |c: &u8| (*c as char).to_digit(16).unwrap_or_default() as u8;
    Secret::new(s.as_bytes().as_chunks().0.iter().map(|[a, b]| digit(a) << 4 | digit(b)).collect())
}

impl Seen {
    pub fn note(&mut self, entry: &KeyLogEntry) {
        if entry.table != KeyLogTable::Ikev2 {
            return;
        }
        let fields: Vec<&str> = entry.line.split([',', '"']).filter(|f| !f.is_empty()).collect();
        let [spi_i, spi_r, ei, er, encr, rest @ ..] = &fields[..] else { return };
        let spi = |s: &str| u64::from_str_radix(s, 16).expect("hexadecimal");
        let (spi_i, spi_r) = (spi(spi_i), spi(spi_r));
        // Both ends report it.
        if self.lines.contains(&entry.line) {
            return;
        }
        self.lines.push(entry.line.clone());
        let cipher = |key: &str, integ: Option<&str>| match integ {
            None => Cipher::new(Encr::Aes256Gcm16, &unhex(key), None),
            Some(i) => Cipher::new(Encr::Aes128Cbc, &unhex(key), Some((Integ::HmacSha256_128, &unhex(i)))),
        };
        let integ = |i: usize| encr.contains("CBC").then(|| rest[i]);
        let (of_i, of_r) = (cipher(ei, integ(0)), cipher(er, integ(1)));
        self.keys.push(Keys { spi_i, spi_r, of_i, of_r });
    }

    pub fn note_child(&mut self, inbound: &ChildSaKeys, outbound: &ChildSaKeys) {
        self.spis.extend([inbound.spi.get(), outbound.spi.get()]);
    }

    fn of(&mut self, header: &Header) -> Option<&mut Cipher> {
        let k = self.keys.iter_mut().rev().find(|k| k.spi_i == header.spi_i && k.spi_r == header.spi_r)?;
        Some(if header.from_initiator { &mut k.of_i } else { &mut k.of_r })
    }

    /// The message with other contents under the same keys.
    pub fn rewrite(&mut self, u: &mut Unstructured<'_>, bytes: &[u8]) -> Result<Option<Vec<u8>>> {
        let Ok(header) = Header::parse(bytes) else { return Ok(None) };
        let raw = Payloads::new(header.first, &bytes[HEADER_LEN..]).last();
        let Some(Ok(raw)) = raw.filter(|r| r.as_ref().is_ok_and(|r| is_encrypted(r.kind))) else {
            return Ok(None);
        };
        let skip = if raw.kind == PayloadType::SKF { SKF_FIELDS_LEN } else { 0 };
        let (before, sealed) = bytes.split_at(bytes.len() - raw.body.len() + skip);
        let Some(cipher) = self.of(&header) else { return Ok(None) };
        let Ok(plaintext) = cipher.open(before, sealed) else { return Ok(None) };
        let (next, plaintext) = change(u, raw.next, &plaintext)?;
        let fields = (skip > 0).then(|| SkfFields::parse(raw.body).ok()).flatten();
        Ok(Some(seal(cipher, header, next, fields, &plaintext)))
    }

    /// A message of one side under keys of its own: where to, and its datagrams.
    pub fn forge(&mut self, u: &mut Unstructured<'_>) -> Result<Option<(usize, Vec<Vec<u8>>)>> {
        if self.keys.is_empty() {
            return Ok(None);
        }
        let to = usize::from(u.arbitrary::<bool>()?);
        let at = u.choose_index(self.keys.len())?;
        let (spi_i, spi_r) = (self.keys[at].spi_i, self.keys[at].spi_r);
        let exchange = if u.ratio(1, 16)? { Exchange(u.arbitrary()?) } else { *u.choose(&EXCHANGES)? };
        let (response, id) = (u.ratio(1, 4)?, u.int_in_range(0..=12)?);
        // Mostly the first SA, in which the first side is the initiator.
        let from_initiator = (to == 1) ^ u.ratio(1, 8)?;
        let mut chain = Chain::new();
        for _ in 0..u.int_in_range(0..=8)? {
            self.payload(u, &mut chain)?;
        }
        let (first, plaintext) = chain.finish();
        let header = Header { spi_i, spi_r, first: PayloadType::SK, exchange, from_initiator, response, id };
        let total = if u.ratio(1, 8)? { u.int_in_range(1..=70)? } else { 1 };
        let Some(cipher) = self.of(&header) else { return Ok(None) };
        if total == 1 {
            return Ok(Some((to, vec![seal(cipher, header, first, None, &plaintext)])));
        }
        let header = Header { first: PayloadType::SKF, ..header };
        let chunk = plaintext.len().div_ceil(usize::from(total)).max(1);
        let mut out = Vec::new();
        for (number, part) in (1..=total).zip(plaintext.chunks(chunk).chain(std::iter::repeat(&[][..]))) {
            if !u.ratio(1, 16)? {
                let fields = SkfFields { number, total };
                let next = if number == 1 { first } else { PayloadType::NONE };
                out.push(seal(cipher, header, next, Some(fields), part));
            }
        }
        Ok(Some((to, out)))
    }

    fn spi(&self, u: &mut Unstructured<'_>) -> Result<u32> {
        if self.spis.is_empty() || u.ratio(1, 8)? { u.arbitrary() } else { u.choose(&self.spis).copied() }
    }

    fn payload(&self, u: &mut Unstructured<'_>, chain: &mut Chain) -> Result<()> {
        match u.int_in_range(0..=13)? {
            0 | 1 => {
                let kind = if u.ratio(1, 8)? { u.arbitrary()? } else { *u.choose(&NOTIFIES)? };
                let len = u.int_in_range(0..=8)?;
                chain.notify(NotifyType(kind), u.bytes(len)?);
            }
            2 => {
                let spi = self.spi(u)?.to_be_bytes();
                let kind = *u.choose(&[NotifyType::REKEY_SA, NotifyType::CHILD_SA_NOT_FOUND])?;
                chain.notify_spi(PROTOCOL_ESP, &spi, kind, &[]);
            }
            3 => {
                chain.delete_ike();
            }
            4 => {
                let mut spis = Vec::new();
                for _ in 0..u.int_in_range(0..=4)? {
                    spis.push(self.spi(u)?);
                }
                chain.delete_esp(&spis);
            }
            5 | 6 => {
                let word =
                    u.choose(&["aes256gcm16-aes128gcm16-x25519-ecp256", "aes256gcm16-x25519-ke1_mlkem768"])?;
                let ours: Vec<EspProposal> = vec![word.parse().expect("a proposal")];
                let spi = Spi::new(u.arbitrary()?).unwrap_or(Spi::new(256).expect("not reserved"));
                let phase =
                    if u.arbitrary()? { esp::Phase::Auth } else { esp::Phase::Rekey { sent_group: None } };
                chain.sa(&esp::offer(&ours, spi, phase));
            }
            7 => {
                let ours: Vec<IkeProposal> = ["aes256gcm16-prfsha256-x25519", "aes128-sha256-ecp256"]
                    .map(|p| p.parse().expect("a proposal"))
                    .to_vec();
                let spi: u64 = u.arbitrary()?;
                chain.sa(&ike::offer(&ours, &spi.to_be_bytes()));
            }
            8 => {
                let byte: u8 = u.arbitrary()?;
                chain.nonce(&[byte; 32]);
            }
            9 => {
                let (group, len) =
                    *u.choose(&[(31, 32), (19, 64), (14, 256), (31, 31), (0, 0), (36, 1184), (36, 1088)])?;
                chain.ke(group, &vec![9; len]);
            }
            10 => {
                let kind = *u.choose(&[PayloadType::TSI, PayloadType::TSR])?;
                chain.ts(kind, &[Selector::ANY_V4]);
            }
            11 => {
                chain.ts(PayloadType::TSI, &[Selector::ANY_V4]).ts(PayloadType::TSR, &[Selector::ANY_V4]);
            }
            12 => {
                let len = u.int_in_range(0..=40)?;
                chain.auth(2, u.bytes(len)?);
            }
            _ => {
                let kind =
                    PayloadType(if u.arbitrary()? { u.int_in_range(33..=54)? } else { u.arbitrary()? });
                let len = u.int_in_range(0..=24)?;
                chain.push(kind, u.bytes(len)?);
            }
        }
        Ok(())
    }
}

impl Keys {
    /// Gives a datagram the SPIs of an SA that exists.
    pub fn address(seen: &Seen, u: &mut Unstructured<'_>, bytes: &mut [u8]) -> Result<()> {
        if !seen.keys.is_empty() && bytes.len() >= HEADER_LEN {
            let k = u.choose(&seen.keys)?;
            bytes[..8].copy_from_slice(&k.spi_i.to_be_bytes());
            bytes[8..16].copy_from_slice(&k.spi_r.to_be_bytes());
            bytes[17] = 0x20;
        }
        fix_len(bytes);
        Ok(())
    }
}

fn is_encrypted(kind: PayloadType) -> bool {
    kind == PayloadType::SK || kind == PayloadType::SKF
}

fn seal(
    cipher: &mut Cipher,
    header: Header,
    next: PayloadType,
    fields: Option<SkfFields>,
    part: &[u8],
) -> Vec<u8> {
    let fields = fields.map(SkfFields::encode);
    let fields = fields.as_ref().map_or(&[][..], |f| f);
    let len = 4 + fields.len() + cipher.sealed_len(part.len());
    let mut out = header.encode(HEADER_LEN + len).to_vec();
    out.extend_from_slice(&[next.0, 0]);
    out.extend_from_slice(&u16::try_from(len).unwrap_or(u16::MAX).to_be_bytes());
    out.extend_from_slice(fields);
    cipher.seal(&mut out, part, &mut TestEntropy::new(1));
    out
}

/// Payloads dropped, repeated, moved, retyped, made critical, cut, changed, added.
fn change(u: &mut Unstructured<'_>, first: PayloadType, plaintext: &[u8]) -> Result<(PayloadType, Vec<u8>)> {
    let parsed: core::result::Result<Vec<_>, _> = Payloads::new(first, plaintext).collect();
    let mut list: Vec<(u8, bool, Vec<u8>)> = match parsed {
        Ok(raws) => raws.iter().map(|r| (r.kind.0, r.critical, r.body.to_vec())).collect(),
        // A fragment: no whole payloads.
        Err(_) => {
            let mut bytes = plaintext.to_vec();
            if !bytes.is_empty() {
                let at = u.choose_index(bytes.len())?;
                bytes[at] ^= u.arbitrary::<u8>()?;
            }
            return Ok((first, bytes));
        }
    };
    for _ in 0..u.int_in_range(1..=4)? {
        if list.is_empty() || u.ratio(1, 6)? {
            let kind = if u.arbitrary()? { u.int_in_range(33..=54)? } else { u.arbitrary()? };
            let len = u.int_in_range(0..=24)?;
            list.push((kind, u.arbitrary()?, u.bytes(len)?.to_vec()));
            continue;
        }
        let at = u.choose_index(list.len())?;
        match u.int_in_range(0..=6)? {
            0 => drop(list.remove(at)),
            1 => list.push(list[at].clone()),
            2 => {
                let other = u.choose_index(list.len())?;
                list.swap(at, other);
            }
            3 => list[at].0 = u.int_in_range(33..=54)?,
            4 => list[at].1 ^= true,
            5 => {
                let len = list[at].2.len();
                list[at].2.truncate(u.int_in_range(0..=len)?);
            }
            _ => {
                let body = &mut list[at].2;
                if !body.is_empty() {
                    let at = u.choose_index(body.len())?;
                    body[at] = u.arbitrary()?;
                }
            }
        }
    }
    let mut out = Vec::new();
    for (i, (_, critical, body)) in list.iter().enumerate() {
        let next = list.get(i + 1).map_or(0, |n| n.0);
        out.extend_from_slice(&[next, if *critical { 0x80 } else { 0 }]);
        out.extend_from_slice(&u16::try_from(body.len() + 4).unwrap_or(u16::MAX).to_be_bytes());
        out.extend_from_slice(body);
    }
    Ok((PayloadType(list.first().map_or(0, |p| p.0)), out))
}
