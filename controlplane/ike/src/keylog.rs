//! Keys in the table formats of tshark, so that a capture from the lab can be decrypted and its ICVs checked.
//! An additional key exchange (RFC 9370) changes the keys of an IKE SA, so that it has two rows; tshark knows one for a
//! pair of SPIs, and opens what was sealed with that. Emitted only when [`crate::EndpointConfig::lab_key_log`] is set.

use crate::algorithm::{Encr, Integ};
use crate::ctx::Ctx;
use crate::exchange::SaKeys;
use crate::output::{ChildSaKeys, Event};
use core::fmt;
use core::net::IpAddr;
use sipsec_net::dp::{EspCipher, EspHmac};

/// Which table of a Wireshark profile a line belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum KeyLogTable {
    /// `ikev2_decryption_table`
    Ikev2,
    /// `esp_sa`
    EspSa,
}

/// One line. The text holds keys in clear: write it to the table's file, nowhere else.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyLogEntry {
    pub table: KeyLogTable,
    pub line: String,
}

impl fmt::Debug for KeyLogEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyLogEntry({:?})", self.table)
    }
}

fn hex(bytes: &[u8]) -> String {
    use core::fmt::Write;
    let mut out = String::with_capacity(bytes.len() * 2);
    for b in bytes {
        let _ = write!(out, "{b:02x}");
    }
    out
}

pub(crate) fn ike(ctx: &mut Ctx, sa: &SaKeys) {
    if !ctx.config.lab_key_log {
        return;
    }
    let encr = match sa.suite.encr {
        Encr::Aes128Gcm16 => "AES-GCM-128 with 16 octet ICV [RFC5282]",
        Encr::Aes256Gcm16 => "AES-GCM-256 with 16 octet ICV [RFC5282]",
        Encr::Aes128Cbc => "AES-CBC-128 [RFC3602]",
        Encr::Aes256Cbc => "AES-CBC-256 [RFC3602]",
        Encr::ChaCha20Poly1305 => "ChaCha20-Poly1305 [RFC7634]",
    };
    let integ = match sa.suite.integ {
        None => "NONE [RFC4306]",
        Some(Integ::HmacSha1_96) => "HMAC_SHA1_96 [RFC2404]",
        Some(Integ::HmacSha256_128) => "HMAC_SHA2_256_128 [RFC4868]",
        Some(Integ::HmacSha384_192) => "HMAC_SHA2_384_192 [RFC4868]",
        Some(Integ::HmacSha512_256) => "HMAC_SHA2_512_256 [RFC4868]",
    };
    let k = &sa.keys;
    let line = format!(
        "{:016x},{:016x},{},{},\"{encr}\",\"{}\",\"{}\",\"{integ}\"",
        sa.spi_i,
        sa.spi_r,
        hex(k.ei.expose()),
        hex(k.er.expose()),
        hex(k.ai.expose()),
        hex(k.ar.expose()),
    );
    ctx.event(Event::KeyLog(KeyLogEntry { table: KeyLogTable::Ikev2, line }));
}

pub(crate) fn esp(ctx: &mut Ctx, inbound: &ChildSaKeys, outbound: &ChildSaKeys) {
    if !ctx.config.lab_key_log {
        return;
    }
    let (local, remote) = (ctx.config.local.ip(), ctx.config.remote.ip());
    for (keys, from, to) in [(inbound, remote, local), (outbound, local, remote)] {
        let family = if matches!(from, IpAddr::V4(_)) { "IPv4" } else { "IPv6" };
        let encr = match keys.cipher {
            EspCipher::Aes128Gcm16 | EspCipher::Aes256Gcm16 => "AES-GCM with 16 octet ICV [RFC4106]",
            EspCipher::ChaCha20Poly1305 => "ChaCha20 with Poly1305 [RFC7634]",
            // tshark has no implicit IV.
            EspCipher::Aes128Gcm16Iiv | EspCipher::Aes256Gcm16Iiv | EspCipher::ChaCha20Poly1305Iiv => return,
            _ => "AES-CBC [RFC3602]",
        };
        let integ = match keys.cipher.hmac() {
            None => "NULL",
            Some(EspHmac::Sha1) => "HMAC-SHA-1-96 [RFC2404]",
            Some(EspHmac::Sha256) => "HMAC-SHA-256-128 [RFC4868]",
            Some(EspHmac::Sha384) => "HMAC-SHA-384-192 [RFC4868]",
            Some(EspHmac::Sha512) => "HMAC-SHA-512-256 [RFC4868]",
        };
        // An AEAD's key is its whole key material.
        let encr_len =
            if keys.cipher.is_aead() { keys.keymat.len() } else { keys.cipher.encryption_key_len() };
        let (encr_key, integ_key) = keys.keymat.expose().split_at(encr_len);
        let integ_key = if integ_key.is_empty() { String::new() } else { format!("0x{}", hex(integ_key)) };
        let line = format!(
            "\"{family}\",\"{from}\",\"{to}\",\"0x{:08x}\",\"{encr}\",\"0x{}\",\"{integ}\",\"{integ_key}\"",
            keys.spi.get(),
            hex(encr_key),
        );
        ctx.event(Event::KeyLog(KeyLogEntry { table: KeyLogTable::EspSa, line }));
    }
}
