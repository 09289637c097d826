//! Digital signatures (RFC 7427, RFC 8420). RFC 8247 §3.2: no SHA-1, RSA of at least 2048 bits.

/// Hash functions by their number in SIGNATURE_HASH_ALGORITHMS (RFC 7427 §7).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum SignatureHash {
    Sha256,
    Sha384,
    Sha512,
    /// RFC 8420 §2: the signature algorithm hashes by itself.
    Identity,
}

impl SignatureHash {
    pub const ALL: [Self; 4] = [Self::Sha256, Self::Sha384, Self::Sha512, Self::Identity];

    #[must_use]
    pub const fn number(self) -> u16 {
        match self {
            Self::Sha256 => 2,
            Self::Sha384 => 3,
            Self::Sha512 => 4,
            Self::Identity => 5,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Scheme {
    RsaPkcs1(HashAlg),
    /// MGF1 with the same hash, salt as long as it.
    RsaPss(HashAlg),
    /// The curve is that of the key.
    Ecdsa(HashAlg),
    Ed25519,
}

/// The hash functions that RSA and ECDSA are used with.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum HashAlg {
    Sha256,
    Sha384,
    Sha512,
}

impl HashAlg {
    pub const ALL: [Self; 3] = [Self::Sha256, Self::Sha384, Self::Sha512];

    #[must_use]
    pub const fn signature_hash(self) -> SignatureHash {
        match self {
            Self::Sha256 => SignatureHash::Sha256,
            Self::Sha384 => SignatureHash::Sha384,
            Self::Sha512 => SignatureHash::Sha512,
        }
    }

    /// Last byte of the object identifiers, each of which is one in a row.
    const fn arc(self) -> [u8; 3] {
        // sha2 (2.16.840.1.101.3.4.2.x), sha2WithRSAEncryption (1.2.840.113549.1.1.x), ecdsa-with-SHA2
        // (1.2.840.10045.4.3.x).
        match self {
            Self::Sha256 => [1, 11, 2],
            Self::Sha384 => [2, 12, 3],
            Self::Sha512 => [3, 13, 4],
        }
    }

    const fn digest_len(self) -> u8 {
        match self {
            Self::Sha256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
    }
}

fn sequence(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let body = parts.concat();
    let len = u8::try_from(body.len()).expect("identifiers are shorter than 128 bytes");
    let mut out = vec![tag, len];
    out.extend_from_slice(&body);
    out
}

const SEQUENCE: u8 = 0x30;
const NULL: [u8; 2] = [5, 0];
const MGF1: [u8; 11] = [6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 8];
const RSASSA_PSS: [u8; 11] = [6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 10];

impl Scheme {
    /// Every scheme of the table.
    pub fn all() -> impl Iterator<Item = Self> {
        let hashed =
            HashAlg::ALL.into_iter().flat_map(|h| [Self::RsaPkcs1(h), Self::RsaPss(h), Self::Ecdsa(h)]);
        hashed.chain([Self::Ed25519])
    }

    #[must_use]
    pub const fn hash(self) -> SignatureHash {
        match self {
            Self::RsaPkcs1(h) | Self::RsaPss(h) | Self::Ecdsa(h) => h.signature_hash(),
            Self::Ed25519 => SignatureHash::Identity,
        }
    }

    /// RFC 7427 appendix A: the AlgorithmIdentifier, in DER, as we send it.
    #[must_use]
    pub fn identifier(self) -> Vec<u8> {
        match self {
            Self::RsaPkcs1(h) => {
                let oid = [6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, h.arc()[1]];
                sequence(SEQUENCE, &[&oid, &NULL])
            }
            Self::RsaPss(h) => pss(h, true, true),
            Self::Ecdsa(h) => sequence(SEQUENCE, &[&[6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, h.arc()[2]]]),
            // RFC 8420 appendix A.
            Self::Ed25519 => sequence(SEQUENCE, &[&[6, 3, 0x2b, 0x65, 0x70]]),
        }
    }

    /// The scheme of an identifier, in any of the forms in use: PSS parameters with or without the NULL of the hash
    /// and the default trailer field.
    #[must_use]
    pub fn from_identifier(der: &[u8]) -> Option<Self> {
        Self::all().find(|s| match s {
            Self::RsaPss(h) => [(true, true), (true, false), (false, true), (false, false)]
                .into_iter()
                .any(|(null, trailer)| pss(*h, null, trailer) == der),
            other => other.identifier() == der,
        })
    }

    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::RsaPkcs1(HashAlg::Sha256) => "rsa-sha256",
            Self::RsaPkcs1(HashAlg::Sha384) => "rsa-sha384",
            Self::RsaPkcs1(HashAlg::Sha512) => "rsa-sha512",
            Self::RsaPss(HashAlg::Sha256) => "rsa-pss-sha256",
            Self::RsaPss(HashAlg::Sha384) => "rsa-pss-sha384",
            Self::RsaPss(HashAlg::Sha512) => "rsa-pss-sha512",
            Self::Ecdsa(HashAlg::Sha256) => "ecdsa-sha256",
            Self::Ecdsa(HashAlg::Sha384) => "ecdsa-sha384",
            Self::Ecdsa(HashAlg::Sha512) => "ecdsa-sha512",
            Self::Ed25519 => "ed25519",
        }
    }
}

/// RFC 7427 §A.4.
fn pss(h: HashAlg, null: bool, trailer: bool) -> Vec<u8> {
    let oid = [6, 9, 0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, h.arc()[0]];
    let hash = sequence(SEQUENCE, &[&oid, if null { &NULL } else { &[] }]);
    let mgf = sequence(SEQUENCE, &[&MGF1, &hash]);
    let salt = [2, 1, h.digest_len()];
    let (hash, mgf, salt) = (sequence(0xa0, &[&hash]), sequence(0xa1, &[&mgf]), sequence(0xa2, &[&salt]));
    let trailer = if trailer { sequence(0xa3, &[&[2, 1, 1]]) } else { Vec::new() };
    sequence(SEQUENCE, &[&RSASSA_PSS, &sequence(SEQUENCE, &[&hash, &mgf, &salt, &trailer])])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(s: &str) -> Vec<u8> {
        let s: String = s.split_whitespace().collect();
        (0..s.len()).step_by(2).map(|i| u8::from_str_radix(&s[i..i + 2], 16).expect("hex")).collect()
    }

    #[test]
    fn identifiers_of_the_rfc() {
        let known = [
            (Scheme::RsaPkcs1(HashAlg::Sha256), "300d 0609 2a86 4886 f70d 0101 0b05 00"),
            (Scheme::RsaPkcs1(HashAlg::Sha384), "300d 0609 2a86 4886 f70d 0101 0c05 00"),
            (Scheme::RsaPkcs1(HashAlg::Sha512), "300d 0609 2a86 4886 f70d 0101 0d05 00"),
            (Scheme::Ecdsa(HashAlg::Sha256), "300a 0608 2a86 48ce 3d04 0302"),
            (Scheme::Ecdsa(HashAlg::Sha384), "300a 0608 2a86 48ce 3d04 0303"),
            (Scheme::Ecdsa(HashAlg::Sha512), "300a 0608 2a86 48ce 3d04 0304"),
            (
                Scheme::RsaPss(HashAlg::Sha256),
                "3046 0609 2a86 4886 f70d 0101 0a30 39a0 0f30 0d06 0960 8648 0165 0304 0201 0500 a11c 301a 0609
                 2a86 4886 f70d 0101 0830 0d06 0960 8648 0165 0304 0201 0500 a203 0201 20a3 0302 0101",
            ),
            (Scheme::Ed25519, "3005 0603 2b65 70"),
        ];
        for (scheme, der) in known {
            assert_eq!(scheme.identifier(), hex(der), "{}", scheme.name());
        }
        for scheme in Scheme::all() {
            assert_eq!(Scheme::from_identifier(&scheme.identifier()), Some(scheme));
        }
        // sha1WithRSAEncryption, and PSS with default (SHA-1) parameters.
        assert_eq!(Scheme::from_identifier(&hex("300d 0609 2a86 4886 f70d 0101 0505 00")), None);
        assert_eq!(Scheme::from_identifier(&hex("300d 0609 2a86 4886 f70d 0101 0a30 00")), None);
    }
}
