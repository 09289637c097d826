//! Which engine for which cipher and packet size, by measurement on this machine.

use super::Timing;
use crate::sys;
use sipsec_net::dp::EspCipher;
use sipsec_pipeline::{AeadEngine, AeadError, AeadKey, ICV_LEN, Job, Nonce};
use std::time::Duration;

/// Packet sizes that stand for voice, ordinary and full-size traffic; each is a class of its own.
pub const SIZES: [usize; 3] = [64, 512, 1420];
/// Largest ESP text of the classes but the last.
const CLASS_MAX: [usize; SIZES.len() - 1] = [256, 1024];
/// What engines are asked for: an implicit IV is not theirs.
pub const CIPHERS: [EspCipher; 11] = [
    EspCipher::Aes128Gcm16,
    EspCipher::Aes256Gcm16,
    EspCipher::ChaCha20Poly1305,
    EspCipher::Aes128CbcSha1,
    EspCipher::Aes256CbcSha1,
    EspCipher::Aes128CbcSha256,
    EspCipher::Aes256CbcSha256,
    EspCipher::Aes128CbcSha384,
    EspCipher::Aes256CbcSha384,
    EspCipher::Aes128CbcSha512,
    EspCipher::Aes256CbcSha512,
];
/// Rounds of which the fastest counts: with other work on the machine most are too slow, and none is too fast. Engines take
/// turns, so that a slow moment meets all of them.
const ROUNDS: u32 = 24;
/// Packets of one round, as many as a small batch.
const PACKETS: usize = 16;
/// An engine that wipes its keys is taken if it needs at most so much of the fastest one's time.
const WIPING_MAX_PERCENT: u32 = 110;

fn class(data_len: usize) -> usize {
    let text = data_len.saturating_sub(ICV_LEN);
    CLASS_MAX.iter().position(|max| text <= *max).unwrap_or(CLASS_MAX.len())
}

/// Engine data for a text of about `size` bytes: with the IV of AES-CBC, in whole blocks, and with the ICV.
fn data_len(cipher: EspCipher, size: usize) -> usize {
    let layout = cipher.layout();
    let iv_len = if cipher.is_aead() { 0 } else { layout.iv_len() };
    iv_len + size.next_multiple_of(layout.block_len()) + layout.icv_len()
}

/// Times every engine that has the cipher: engine and the fastest round of each size, per packet.
pub fn time(engines: &[Box<dyn AeadEngine>], cipher: EspCipher) -> Result<Vec<(usize, Timing)>, AeadError> {
    let secret = vec![7; cipher.key_len()];
    let mut keys = Vec::new();
    for (index, engine) in engines.iter().enumerate() {
        match engine.new_key(cipher, &secret) {
            Err(AeadError::UnsupportedCipher) => {}
            key => keys.push((index, key?, [Duration::MAX; SIZES.len()])),
        }
    }
    let mut sequence = 0u64;
    let mut buffers: [Vec<u8>; PACKETS] = Default::default();
    for _ in 0..ROUNDS {
        for (class, size) in SIZES.iter().enumerate() {
            buffers.iter_mut().for_each(|b| b.resize(data_len(cipher, *size), 0));
            for (_, key, best) in &mut keys {
                let nonces: [Nonce; PACKETS] = std::array::from_fn(|i| nonce(sequence + i as u64));
                sequence += PACKETS as u64;
                let mut jobs: Vec<Job<'_>> = buffers
                    .iter_mut()
                    .zip(&nonces)
                    .map(|(buffer, nonce)| Job::new(nonce, &[0; 8], buffer))
                    .collect();
                let start = sys::now();
                key.seal_batch(&mut jobs);
                let elapsed = sys::now().saturating_duration_since(start) / PACKETS as u32;
                if !jobs.iter().all(Job::is_done) {
                    return Err(AeadError::Seal);
                }
                best[class] = best[class].min(elapsed);
            }
        }
    }
    let timing = |(index, _, seal): (usize, Box<dyn AeadKey>, _)| {
        (index, Timing { engine: engines[index].name().into(), cipher, seal })
    };
    Ok(keys.into_iter().map(timing).collect())
}

fn nonce(sequence: u64) -> Nonce {
    let mut nonce = [0; 12];
    nonce[4..].copy_from_slice(&sequence.to_be_bytes());
    Nonce::new(nonce)
}

/// The best engine of each size class among those timed.
pub fn best(
    engines: &[Box<dyn AeadEngine>],
    cipher: EspCipher,
    timings: &[(usize, Timing)],
) -> [usize; SIZES.len()] {
    std::array::from_fn(|class| {
        let time = |t: &&(usize, Timing)| t.1.seal[class];
        let fastest = timings.iter().min_by_key(time);
        let limit = fastest.map_or(Duration::MAX, |f| time(&f) * WIPING_MAX_PERCENT / 100);
        let wiping = timings.iter().filter(|t| engines[t.0].wipes_keys(cipher) && time(t) <= limit);
        wiping.min_by_key(time).or(fastest).map_or(0, |(index, _)| *index)
    })
}

/// Several engines as one.
pub struct Chosen {
    engines: Vec<Box<dyn AeadEngine>>,
    /// The engine of each cipher and size class, in the order of [`CIPHERS`] and [`SIZES`].
    of: [[usize; SIZES.len()]; CIPHERS.len()],
    name: String,
}

impl Chosen {
    pub fn new(engines: Vec<Box<dyn AeadEngine>>, of: [[usize; SIZES.len()]; CIPHERS.len()]) -> Self {
        // The engines of AES-GCM, on which most peers agree; the others are in the log.
        let mut names: Vec<&str> = Vec::new();
        for (cipher, classes) in CIPHERS.iter().zip(&of) {
            let named = matches!(cipher, EspCipher::Aes128Gcm16 | EspCipher::Aes256Gcm16);
            for &index in classes.iter().filter(|_| named) {
                let name = engines[index].name();
                if !names.contains(&name) {
                    names.push(name);
                }
            }
        }
        let name = names.join("+");
        Self { engines, of, name }
    }

    fn of(&self, cipher: EspCipher) -> [usize; SIZES.len()] {
        self.of[CIPHERS.iter().position(|c| *c == cipher).unwrap_or_default()]
    }

    /// The engine of each size class, in the order of [`SIZES`].
    pub fn names(&self, cipher: EspCipher) -> [&str; SIZES.len()] {
        self.of(cipher).map(|index| self.engines[index].name())
    }
}

impl AeadEngine for Chosen {
    fn name(&self) -> &str {
        &self.name
    }

    fn new_key(&self, cipher: EspCipher, key: &[u8]) -> Result<Box<dyn AeadKey>, AeadError> {
        let of = self.of(cipher);
        if of.iter().all(|index| *index == of[0]) {
            return self.engines[of[0]].new_key(cipher, key);
        }
        let mut made: Vec<usize> = Vec::new();
        let mut keys = Vec::new();
        let mut class = [0; SIZES.len()];
        for (slot, index) in class.iter_mut().zip(of) {
            *slot = match made.iter().position(|m| *m == index) {
                Some(at) => at,
                None => {
                    keys.push(self.engines[index].new_key(cipher, key)?);
                    made.push(index);
                    made.len() - 1
                }
            };
        }
        Ok(Box::new(ByClass { keys, class }))
    }

    fn wipes_keys(&self, cipher: EspCipher) -> bool {
        self.of(cipher).iter().all(|index| self.engines[*index].wipes_keys(cipher))
    }
}

/// One key in the form of each engine that is the best for some size.
struct ByClass {
    keys: Vec<Box<dyn AeadKey>>,
    /// Which of `keys` for each class.
    class: [usize; SIZES.len()],
}

impl ByClass {
    fn key(&mut self, data_len: usize) -> &mut dyn AeadKey {
        &mut *self.keys[self.class[class(data_len)]]
    }

    /// Runs of jobs that belong to one engine, in order.
    fn runs(&mut self, mut jobs: &mut [Job<'_>], run: fn(&mut dyn AeadKey, &mut [Job<'_>])) {
        while let [first, ..] = &mut *jobs {
            let at = self.class[class(first.parts().2.len())];
            let same = |job: &mut Job<'_>| self.class[class(job.parts().2.len())] == at;
            let len = jobs.iter_mut().map(same).take_while(|same| *same).count();
            let (these, rest) = jobs.split_at_mut(len);
            run(&mut *self.keys[at], these);
            jobs = rest;
        }
    }
}

impl AeadKey for ByClass {
    fn seal_in_place(&mut self, nonce: &Nonce, aad: &[u8], data: &mut [u8]) -> Result<(), AeadError> {
        self.key(data.len()).seal_in_place(nonce, aad, data)
    }

    fn open_in_place(&mut self, nonce: &Nonce, aad: &[u8], data: &mut [u8]) -> Result<(), AeadError> {
        self.key(data.len()).open_in_place(nonce, aad, data)
    }

    fn seal_batch(&mut self, jobs: &mut [Job<'_>]) {
        self.runs(jobs, |key, jobs| key.seal_batch(jobs));
    }

    fn open_batch(&mut self, jobs: &mut [Job<'_>]) {
        self.runs(jobs, |key, jobs| key.open_batch(jobs));
    }

    fn prefetch(&self, text_len: usize) {
        self.keys[self.class[class(text_len + ICV_LEN)]].prefetch(text_len);
    }
}
