//! The engines: each passes known answers at start, those that share a cipher are timed for it at three packet sizes, and the
//! best of each is taken unless the profile names one.

mod aes_cbc;
mod aes_gcm;
mod choice;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod graviola;
#[cfg(target_arch = "x86_64")]
mod ipsec_mb;
mod known_answers;
mod less_safe_key;

use crate::error::BootError;
use choice::{CIPHERS, Chosen, SIZES};
use sipsec_net::dp::EspCipher;
use sipsec_pipeline::AeadEngine;
use sipsec_profile::model as profile;
use std::fmt;
use std::time::Duration;

/// The chosen engine and why.
pub struct Selection {
    pub engine: Box<dyn AeadEngine>,
    /// Time to seal one packet, for each cipher and each engine that has it.
    pub timings: Vec<Timing>,
    /// What is used, in words: one line for each cipher.
    pub choices: Vec<String>,
    /// Why an engine that is not part of the build is not there.
    pub missing: Option<String>,
}

impl fmt::Debug for Selection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Selection")
            .field("engine", &self.engine.name())
            .field("timings", &self.timings)
            .finish_non_exhaustive()
    }
}

/// The fastest of several rounds.
#[derive(Clone, Debug)]
pub struct Timing {
    pub engine: String,
    pub cipher: EspCipher,
    /// Times for [`SIZES`], in order.
    pub seal: [Duration; SIZES.len()],
}

impl fmt::Display for Timing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.engine, cipher_name(self.cipher))?;
        for (size, time) in SIZES.iter().zip(self.seal) {
            write!(f, " {size}B={}ns", time.as_nanos())?;
        }
        Ok(())
    }
}

const fn cipher_name(cipher: EspCipher) -> &'static str {
    match cipher.with_explicit_iv() {
        EspCipher::Aes128Gcm16 => "aes-128-gcm",
        EspCipher::Aes256Gcm16 => "aes-256-gcm",
        EspCipher::Aes128CbcSha1 => "aes-128-cbc-sha1",
        EspCipher::Aes256CbcSha1 => "aes-256-cbc-sha1",
        EspCipher::Aes128CbcSha256 => "aes-128-cbc-sha256",
        EspCipher::Aes256CbcSha256 => "aes-256-cbc-sha256",
        EspCipher::Aes128CbcSha384 => "aes-128-cbc-sha384",
        EspCipher::Aes256CbcSha384 => "aes-256-cbc-sha384",
        EspCipher::Aes128CbcSha512 => "aes-128-cbc-sha512",
        EspCipher::Aes256CbcSha512 => "aes-256-cbc-sha512",
        _ => "chacha20-poly1305",
    }
}

/// The engines of this machine, and why the one that is not part of the build is missing, if it is.
fn engines() -> (Vec<Box<dyn AeadEngine>>, Option<String>) {
    let mut engines: Vec<Box<dyn AeadEngine>> = vec![
        Box::new(aes_gcm::AesGcmEngine),
        Box::new(less_safe_key::RingEngine),
        Box::new(aes_cbc::AesCbcEngine),
        Box::new(less_safe_key::AwsLcEngine),
    ];
    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
    if let Some(engine) = graviola::GraviolaEngine::find() {
        engines.push(Box::new(engine));
    }
    #[cfg(target_arch = "x86_64")]
    let missing = match ipsec_mb::IpsecMbEngine::find() {
        Ok(engine) => {
            engines.push(Box::new(engine));
            None
        }
        Err(error) => Some(error.to_string()),
    };
    #[cfg(not(target_arch = "x86_64"))]
    let missing = Some("ipsec-mb is for x86-64".to_owned());
    (engines, missing)
}

const fn choice_name(choice: profile::Engine) -> Option<&'static str> {
    match choice {
        profile::Engine::Auto => None,
        profile::Engine::Ring => Some("ring"),
        profile::Engine::AesGcm => Some("aes-gcm"),
        profile::Engine::AwsLcRs => Some("aws-lc-rs"),
        profile::Engine::Graviola => Some("graviola"),
        profile::Engine::IpsecMb => Some("ipsec-mb"),
    }
}

/// Tests and times the engines of this machine, and chooses. A named engine that lacks a cipher leaves that cipher to the
/// others: the control plane offers ciphers without knowing engines.
pub fn select(choice: profile::Engine) -> Result<Selection, BootError> {
    let (engines, missing) = engines();
    let named = match choice_name(choice) {
        None => None,
        Some(name) => {
            let why = || missing.clone().unwrap_or_else(|| "not part of this build".into());
            let index = engines.iter().position(|e| e.name() == name);
            Some(index.ok_or_else(|| BootError::EngineMissing { engine: name, why: why() })?)
        }
    };
    for engine in &engines {
        self_test(&engines, &**engine)?;
    }
    let (mut timings, mut of) = (Vec::new(), [[0; SIZES.len()]; CIPHERS.len()]);
    for (classes, cipher) in of.iter_mut().zip(CIPHERS) {
        let failed = |_| BootError::EngineSelfTest { engine: cipher_name(cipher).into() };
        if let [only] = holders(&engines, cipher)[..] {
            *classes = [only; SIZES.len()];
            continue;
        }
        let timed = choice::time(&engines, cipher).map_err(failed)?;
        *classes = match named.filter(|n| timed.iter().any(|(index, _)| index == n)) {
            Some(named) => [named; SIZES.len()],
            None => choice::best(&engines, cipher, &timed),
        };
        timings.extend(timed.into_iter().map(|(_, timing)| timing));
    }
    let chosen = Chosen::new(engines, of);
    let choices = CIPHERS.map(|cipher| describe(&chosen, cipher)).into();
    Ok(Selection { engine: Box::new(chosen), timings, choices, missing })
}

/// `aes-128-gcm: ipsec-mb; keys are wiped`.
fn describe(chosen: &Chosen, cipher: EspCipher) -> String {
    let names = chosen.names(cipher);
    let engines = if names.iter().all(|n| *n == names[0]) {
        names[0].to_owned()
    } else {
        let each = SIZES.iter().zip(names).map(|(size, name)| format!("{name} around {size} bytes"));
        each.collect::<Vec<_>>().join(", ")
    };
    let wiped = if chosen.wipes_keys(cipher) { "keys are wiped" } else { "keys are not wiped when freed" };
    format!("{}: {engines}; {wiped}", cipher_name(cipher))
}

/// The engines that have a cipher.
fn holders(engines: &[Box<dyn AeadEngine>], cipher: EspCipher) -> Vec<usize> {
    let secret = vec![0; cipher.key_len()];
    let has = |index: &usize| engines[*index].new_key(cipher, &secret).is_ok();
    (0..engines.len()).filter(has).collect()
}

/// Vectors, then agreement with the first engine that has the cipher. One that is alone with AES-CBC has its vectors alone.
fn self_test(engines: &[Box<dyn AeadEngine>], engine: &dyn AeadEngine) -> Result<(), BootError> {
    let failed = |_| BootError::EngineSelfTest { engine: engine.name().into() };
    known_answers::vectors(engine).map_err(failed)?;
    for cipher in CIPHERS {
        let secret = vec![0; cipher.key_len()];
        if engine.new_key(cipher, &secret).is_err() {
            continue;
        }
        if let Some(first) = holders(engines, cipher).first()
            && (cipher.is_aead() || engines[*first].name() != engine.name())
        {
            known_answers::agree(engine, &*engines[*first], cipher).map_err(failed)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
