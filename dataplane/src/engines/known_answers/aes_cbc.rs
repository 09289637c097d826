//! AES-CBC with HMAC. The values were computed by OpenSSL 3.0 (`enc -nopad`) and by Python's `hmac`.

use super::refuses;
use sipsec_net::dp::EspCipher;
use sipsec_pipeline::{AeadEngine, AeadError, Nonce};

/// SPI 0x01020304, sequence number 0x0000000700000009.
const NONCE: [u8; 12] = [0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 9];
const AAD: [u8; 8] = [1, 2, 3, 4, 0, 0, 0, 9];
const AAD_ESN: [u8; 12] = [1, 2, 3, 4, 0, 0, 0, 7, 0, 0, 0, 9];
/// 40 bytes of payload, six of padding, pad length and next header.
const PLAIN_LEN: usize = 48;

/// Key material is 5 i + the length of the AES key.
pub fn vectors(engine: &dyn AeadEngine) -> Result<(), AeadError> {
    for vector in &VECTORS {
        let aes_len = vector.cipher.encryption_key_len();
        let secret: Vec<u8> = (0..vector.cipher.key_len()).map(|i| (i * 5 + aes_len) as u8).collect();
        let mut key = match engine.new_key(vector.cipher, &secret) {
            Err(AeadError::UnsupportedCipher) => continue,
            key => key?,
        };
        let mut plain: Vec<u8> = (1..=40).chain(1..=6).collect();
        plain.extend([6, 4]);
        debug_assert_eq!(plain.len(), PLAIN_LEN);
        let encrypted = if aes_len == 16 { ENCRYPTED_128 } else { ENCRYPTED_256 };
        for (aad, icv) in [(&AAD[..], vector.icv), (&AAD_ESN[..], vector.icv_esn)] {
            let nonce = Nonce::new(NONCE);
            let mut data = [&[0; 16], &plain[..], &vec![0; icv.len()]].concat();
            key.seal_in_place(&nonce, aad, &mut data)?;
            if data != [encrypted, icv].concat() {
                return Err(AeadError::Seal);
            }
            refuses(&mut *key, &nonce, aad, &data, icv.len())?;
            key.open_in_place(&nonce, aad, &mut data)?;
            if data[16..][..PLAIN_LEN] != plain {
                return Err(AeadError::Open);
            }
        }
        // No whole blocks, and no text.
        for len in [0, icv_len(vector), 16 + icv_len(vector), 33 + icv_len(vector)] {
            let mut data = vec![0; len];
            let nonce = Nonce::new(NONCE);
            if key.seal_in_place(&nonce, &AAD, &mut data).is_ok()
                || key.open_in_place(&nonce, &AAD, &mut data).is_ok()
            {
                return Err(AeadError::Open);
            }
        }
    }
    Ok(())
}

const fn icv_len(vector: &Vector) -> usize {
    vector.icv.len()
}

struct Vector {
    cipher: EspCipher,
    icv: &'static [u8],
    icv_esn: &'static [u8],
}

/// IV and ciphertext.
const ENCRYPTED_128: &[u8] = b"\x54\xcd\xb1\xe3\x0e\xbf\xf5\x71\x47\x5d\x8d\x31\xb0\xc1\xc3\x06\
\xc9\xc2\x53\x8a\x76\x90\x63\x95\xb6\x8b\x61\xfc\xe7\x86\xed\xd5\
\x22\x1b\xeb\x5c\x68\xbb\xa7\x7e\xe5\x0d\xd9\xc4\x5b\xbf\x8c\x63\
\x18\x7a\x74\x75\x25\xd7\x31\x22\xaf\x35\xf3\x23\x75\x0b\x06\x04";
const ENCRYPTED_256: &[u8] = b"\xb4\xdd\x9e\x49\x91\xd1\xb8\xc3\x44\xd0\x4e\x61\xad\xc2\xf5\x53\
\x13\x91\x85\xfa\x7f\xe3\x8b\x6e\xab\x39\x1b\xe5\xb9\xf7\x42\x83\
\x20\x2f\x48\x8b\x5c\xf4\xe7\x37\x7b\xdb\x9a\xc8\x51\xad\xc3\x2e\
\xf6\x4e\x77\x52\xc5\x2b\x73\x9e\xdd\x35\x01\x4d\x38\xc8\xe9\xcf";

static VECTORS: [Vector; 8] = [
    Vector {
        cipher: EspCipher::Aes128CbcSha1,
        icv: b"\xc9\xec\x1a\x92\x1a\xd0\x38\x21\x2c\x7a\xa2\x29",
        icv_esn: b"\x99\x06\x94\x7d\x44\xc9\x5a\xda\xfc\xc5\x89\x3d",
    },
    Vector {
        cipher: EspCipher::Aes128CbcSha256,
        icv: b"\x6a\x8a\xd8\x47\xe7\x1d\x39\x37\x1b\x5e\xbb\x97\x97\x7a\xfa\x74",
        icv_esn: b"\xe4\x3e\xb6\x54\x4e\x69\x4f\x0e\x6a\xd3\xe9\x3c\xe9\xb5\xc9\x7d",
    },
    Vector {
        cipher: EspCipher::Aes128CbcSha384,
        icv: b"\x16\x53\x42\x85\x93\x64\x69\xb2\xaf\xf7\xf8\x43\x78\xfe\x50\xd0\
\xb8\x99\xd7\x27\xa7\x0b\x94\x0f",
        icv_esn: b"\xb9\xc8\x9a\xe4\x83\x7b\x1f\xfc\x99\xf3\x62\x85\x02\x3a\x31\xa6\
\xa6\xcc\x6b\xab\x7f\x3b\x60\x24",
    },
    Vector {
        cipher: EspCipher::Aes128CbcSha512,
        icv: b"\x3e\x80\x84\xd8\xf2\x92\xe6\xa3\xa9\x0f\x77\xbc\xf1\x85\x1e\x0a\
\x87\xd2\x01\x63\x3a\xef\xd5\x17\x24\x02\x91\x22\xa3\xd0\x17\x76",
        icv_esn: b"\x46\x9d\xbf\xa6\x10\x83\xfc\xf6\x39\xd8\x93\xbd\xe3\xa4\x96\xd0\
\xb7\x69\x99\xd7\xc4\x60\x22\xc2\x6f\x5d\x48\x6b\xff\xe1\x6e\x06",
    },
    Vector {
        cipher: EspCipher::Aes256CbcSha1,
        icv: b"\xcc\x5d\x5d\x86\x48\x03\x0a\x7a\xc2\x96\xa3\x95",
        icv_esn: b"\x06\xda\x35\x43\xd4\x2e\x76\x40\xca\xae\xac\xf3",
    },
    Vector {
        cipher: EspCipher::Aes256CbcSha256,
        icv: b"\xc3\xae\x6f\xd7\x86\x3f\x11\x35\x3a\x6e\xfd\x2a\x16\xfe\xd2\x6e",
        icv_esn: b"\x79\x27\x68\x1a\x1b\x50\x1e\x09\xd3\x78\xbf\xc2\x67\x6b\x58\x30",
    },
    Vector {
        cipher: EspCipher::Aes256CbcSha384,
        icv: b"\x05\x9a\xc3\xed\x8d\x4f\xef\x27\xf3\xfa\x98\x25\xa1\xc3\xa7\x71\
\x27\x64\x8e\xff\x94\xd7\xc1\xe4",
        icv_esn: b"\xab\xa1\x91\x52\x44\x50\x93\x84\xfc\x8b\x12\x68\x9f\x75\x89\xb5\
\x51\x3f\x59\xa7\x70\x5b\xe2\x3d",
    },
    Vector {
        cipher: EspCipher::Aes256CbcSha512,
        icv: b"\x50\x13\x82\x3d\x4d\x4f\xad\x4f\x43\x2f\xd5\xc4\x10\x47\xfc\xb0\
\x27\x68\x9d\xcd\x6f\x2b\x78\xd6\x93\x7e\x66\x19\xbd\x80\xfc\x1b",
        icv_esn: b"\x50\x89\x7b\xe2\xc5\xbe\xef\xb9\xdb\xfd\xca\x1f\x0d\x72\xf0\xbf\
\xda\x1f\x72\xb5\x2d\xb5\x9b\xb0\xf4\x3a\x5f\x7f\x94\x9d\xf2\x20",
    },
];
