//! What an engine must compute before it is used: vectors, then all lengths that matter against an engine that passed them,
//! with a wrong ICV and a damaged text refused.

mod aes_cbc;

use sipsec_net::dp::EspCipher;
use sipsec_pipeline::{AeadEngine, AeadError, AeadKey, ICV_LEN, Job, Nonce};

/// Every length to here: all partial blocks, alone and behind the 16 blocks that wide engines take at once.
const LEN_DENSE: usize = 18 * 16;
/// From there to here in steps that meet every partial block: two rounds of the widest engine, of 32 blocks.
const LEN_SPARSE: usize = 2 * 32 * 16 + 16;
const STEP: usize = 13;
/// And these.
const LENS: [usize; 4] = [1422, 2047, 4096, 9018];
/// ESP's additional data, without and with ESN.
const AADS: [usize; 2] = [8, 12];

/// The vectors of every cipher that the engine has.
pub fn vectors(engine: &dyn AeadEngine) -> Result<(), AeadError> {
    aes_cbc::vectors(engine)?;
    for vector in &VECTORS {
        let mut key = match engine.new_key(vector.cipher, vector.key) {
            Err(AeadError::UnsupportedCipher) => continue,
            key => key?,
        };
        let nonce = Nonce::new(vector.nonce);
        let mut data = [vector.plain, &[0; ICV_LEN]].concat();
        key.seal_in_place(&nonce, vector.aad, &mut data)?;
        if data != [vector.sealed, &vector.tag].concat() {
            return Err(AeadError::Seal);
        }
        refuses(&mut *key, &nonce, vector.aad, &data, ICV_LEN)?;
        key.open_in_place(&nonce, vector.aad, &mut data)?;
        if data[..vector.plain.len()] != *vector.plain {
            return Err(AeadError::Open);
        }
    }
    Ok(())
}

/// Whether two engines agree on everything that ESP may ask of `cipher`. Both have it.
pub fn agree(engine: &dyn AeadEngine, with: &dyn AeadEngine, cipher: EspCipher) -> Result<(), AeadError> {
    let secret: Vec<u8> = (0..cipher.key_len()).map(|i| (i * 7 + 1) as u8).collect();
    let (mut key, mut other) = (engine.new_key(cipher, &secret)?, with.new_key(cipher, &secret)?);
    let text: Vec<u8> = (0..LENS[LENS.len() - 1] + 32).map(|i| (i * 31 + i / 256) as u8).collect();
    let aad: Vec<u8> = (0..12).map(|i| 0xa0 + i).collect();
    let (mut data, mut expected) = (Vec::new(), Vec::new());
    // The text of AES-CBC is whole blocks behind an IV, the first of which is room for the IV.
    let icv_len = cipher.layout().icv_len();
    let (text_at, unit) = if cipher.is_aead() { (0, 1) } else { (16, 16) };
    let mut last = 0;
    for len in (0..=LEN_DENSE).chain((LEN_DENSE..LEN_SPARSE).step_by(STEP)).chain(LENS) {
        let len = (text_at + len).next_multiple_of(unit).max(2 * text_at);
        if core::mem::replace(&mut last, len) == len && unit > 1 {
            continue;
        }
        let aad = &aad[..AADS[len / unit % AADS.len()]];
        let mut nonce = [0x5a; 12];
        nonce[4..].copy_from_slice(&(len as u64 + 1).to_be_bytes());
        let nonce = Nonce::new(nonce);
        for buffer in [&mut data, &mut expected] {
            buffer.clear();
            buffer.extend_from_slice(&text[..len]);
            buffer.resize(len + icv_len, 0);
        }
        // As the pipeline asks: in a batch.
        let mut jobs = [Job::new(&nonce, aad, &mut data)];
        key.seal_batch(&mut jobs);
        let done = jobs.iter().all(Job::is_done);
        other.seal_in_place(&nonce, aad, &mut expected)?;
        if !done || data != expected {
            return Err(AeadError::Seal);
        }
        if len % 64 < 2 {
            refuses(&mut *key, &nonce, aad, &data, icv_len)?;
        }
        let mut jobs = [Job::new(&nonce, aad, &mut data)];
        key.open_batch(&mut jobs);
        if !jobs.iter().all(Job::is_done) || data[text_at..len] != text[text_at..len] {
            return Err(AeadError::Open);
        }
    }
    Ok(())
}

/// One bit of the ICV, of the text and of the additional data.
fn refuses(
    key: &mut dyn AeadKey,
    nonce: &Nonce,
    aad: &[u8],
    sealed: &[u8],
    icv_len: usize,
) -> Result<(), AeadError> {
    let opens = |data: &mut [u8], aad: &[u8], key: &mut dyn AeadKey| {
        let alone = key.open_in_place(nonce, aad, &mut data.to_vec()).is_ok();
        let mut jobs = [Job::new(nonce, aad, data)];
        key.open_batch(&mut jobs);
        alone || jobs.iter().any(Job::is_done)
    };
    for at in [0, sealed.len() - icv_len, sealed.len() - 1] {
        let mut data = sealed.to_vec();
        data[at] ^= 1;
        if opens(&mut data, aad, key) {
            return Err(AeadError::Open);
        }
    }
    let mut other = aad.to_vec();
    other[0] ^= 0x80;
    if opens(&mut sealed.to_vec(), &other, key) { Err(AeadError::Open) } else { Ok(()) }
}

/// McGrew and Viega, "The Galois/Counter Mode of Operation", appendix B, test cases 4 and 16; RFC 8439 §2.8.2.
struct Vector {
    cipher: EspCipher,
    key: &'static [u8],
    nonce: [u8; 12],
    aad: &'static [u8],
    plain: &'static [u8],
    sealed: &'static [u8],
    tag: [u8; 16],
}

const KEY: [u8; 32] = *b"\xfe\xff\xe9\x92\x86\x65\x73\x1c\x6d\x6a\x8f\x94\x67\x30\x83\x08\
\xfe\xff\xe9\x92\x86\x65\x73\x1c\x6d\x6a\x8f\x94\x67\x30\x83\x08";
const NONCE: [u8; 12] = *b"\xca\xfe\xba\xbe\xfa\xce\xdb\xad\xde\xca\xf8\x88";
const AAD: [u8; 20] = *b"\xfe\xed\xfa\xce\xde\xad\xbe\xef\xfe\xed\xfa\xce\xde\xad\xbe\xef\xab\xad\xda\xd2";
const PLAIN: [u8; 60] = *b"\xd9\x31\x32\x25\xf8\x84\x06\xe5\xa5\x59\x09\xc5\xaf\xf5\x26\x9a\
\x86\xa7\xa9\x53\x15\x34\xf7\xda\x2e\x4c\x30\x3d\x8a\x31\x8a\x72\
\x1c\x3c\x0c\x95\x95\x68\x09\x53\x2f\xcf\x0e\x24\x49\xa6\xb5\x25\
\xb1\x6a\xed\xf5\xaa\x0d\xe6\x57\xba\x63\x7b\x39";

static VECTORS: [Vector; 3] = [
    Vector {
        cipher: EspCipher::Aes128Gcm16,
        key: KEY.first_chunk::<16>().expect("32 bytes").as_slice(),
        nonce: NONCE,
        aad: &AAD,
        plain: &PLAIN,
        sealed: b"\x42\x83\x1e\xc2\x21\x77\x74\x24\x4b\x72\x21\xb7\x84\xd0\xd4\x9c\
\xe3\xaa\x21\x2f\x2c\x02\xa4\xe0\x35\xc1\x7e\x23\x29\xac\xa1\x2e\
\x21\xd5\x14\xb2\x54\x66\x93\x1c\x7d\x8f\x6a\x5a\xac\x84\xaa\x05\
\x1b\xa3\x0b\x39\x6a\x0a\xac\x97\x3d\x58\xe0\x91",
        tag: *b"\x5b\xc9\x4f\xbc\x32\x21\xa5\xdb\x94\xfa\xe9\x5a\xe7\x12\x1a\x47",
    },
    Vector {
        cipher: EspCipher::Aes256Gcm16,
        key: &KEY,
        nonce: NONCE,
        aad: &AAD,
        plain: &PLAIN,
        sealed: b"\x52\x2d\xc1\xf0\x99\x56\x7d\x07\xf4\x7f\x37\xa3\x2a\x84\x42\x7d\
\x64\x3a\x8c\xdc\xbf\xe5\xc0\xc9\x75\x98\xa2\xbd\x25\x55\xd1\xaa\
\x8c\xb0\x8e\x48\x59\x0d\xbb\x3d\xa7\xb0\x8b\x10\x56\x82\x88\x38\
\xc5\xf6\x1e\x63\x93\xba\x7a\x0a\xbc\xc9\xf6\x62",
        tag: *b"\x76\xfc\x6e\xce\x0f\x4e\x17\x68\xcd\xdf\x88\x53\xbb\x2d\x55\x1b",
    },
    Vector {
        cipher: EspCipher::ChaCha20Poly1305,
        key: b"\x80\x81\x82\x83\x84\x85\x86\x87\x88\x89\x8a\x8b\x8c\x8d\x8e\x8f\
\x90\x91\x92\x93\x94\x95\x96\x97\x98\x99\x9a\x9b\x9c\x9d\x9e\x9f",
        nonce: *b"\x07\x00\x00\x00\x40\x41\x42\x43\x44\x45\x46\x47",
        aad: b"\x50\x51\x52\x53\xc0\xc1\xc2\xc3\xc4\xc5\xc6\xc7",
        plain: b"Ladies and Gentlemen of the class of '99: If I could offer y\
ou only one tip for the future, sunscreen would be it.",
        sealed: b"\xd3\x1a\x8d\x34\x64\x8e\x60\xdb\x7b\x86\xaf\xbc\x53\xef\x7e\xc2\
\xa4\xad\xed\x51\x29\x6e\x08\xfe\xa9\xe2\xb5\xa7\x36\xee\x62\xd6\
\x3d\xbe\xa4\x5e\x8c\xa9\x67\x12\x82\xfa\xfb\x69\xda\x92\x72\x8b\
\x1a\x71\xde\x0a\x9e\x06\x0b\x29\x05\xd6\xa5\xb6\x7e\xcd\x3b\x36\
\x92\xdd\xbd\x7f\x2d\x77\x8b\x8c\x98\x03\xae\xe3\x28\x09\x1b\x58\
\xfa\xb3\x24\xe4\xfa\xd6\x75\x94\x55\x85\x80\x8b\x48\x31\xd7\xbc\
\x3f\xf4\xde\xf0\x8e\x4b\x7a\x9d\xe5\x76\xd2\x65\x86\xce\xc6\x4b\
\x61\x16",
        tag: *b"\x1a\xe1\x0b\x59\x4f\x09\xe2\x6a\x7e\x90\x2e\xcb\xd0\x60\x06\x91",
    },
];
