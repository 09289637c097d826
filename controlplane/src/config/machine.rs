//! What this machine and the protocol crates know, for the reader of profiles.

use super::includes;
use super::secret::secret;
use crate::clock;
use crate::logging;
use crate::pki::credential::{self, Place};
use crate::pki::files::{self, reason};
use sipsec_ike::CertificateFacts;
use sipsec_ike::algorithm::{EspProposal, IkeProposal, ProposalError, words};
use sipsec_profile::Surroundings;
use sipsec_profile::model::limits::FILE_BYTES_MAX;
use sipsec_profile::model::{CertificateEntry, Secret, SecretError, SecretSource};
use sipsec_profile::surroundings::{
    CertificateFlaw, CertificateKind, CertificatePlace, ProposalFlaw, ProposalFor,
};
use std::net::{IpAddr, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// This machine.
#[derive(Clone, Debug, Default)]
pub struct Machine {
    /// Permission bits of the profile, if it is a file.
    pub profile_mode: Option<u32>,
    /// The directory of the profile, to which paths of CSV files are relative.
    pub base: PathBuf,
    /// The profile is for a process that may read files which this one may not.
    pub is_remote: bool,
    /// This process is the gateway: it has the credentials, and it runs the programs that write secrets. No other does,
    /// because a profile that is only looked at must run nothing.
    pub is_gateway: bool,
    /// The text stands in no file and so includes none.
    pub is_complete: bool,
}

impl Surroundings for Machine {
    fn secret(&self, source: &SecretSource) -> Option<Result<Secret, SecretError>> {
        let here = match source {
            SecretSource::Inline(_) => true,
            SecretSource::File(_) | SecretSource::Env(_) => !self.is_remote,
            SecretSource::Command(_) | SecretSource::Credential(_) => self.is_gateway,
        };
        here.then(|| secret(source))
    }

    fn read(&self, path: &Path) -> Result<Vec<u8>, String> {
        let file = files::open(&self.base.join(path)).map_err(|e| reason(&e))?;
        let bytes = files::bounded(file, FILE_BYTES_MAX).map_err(|e| reason(&e))?;
        bytes.map(|bytes| bytes.to_vec()).ok_or_else(|| format!("it is larger than {FILE_BYTES_MAX} bytes"))
    }

    fn files(&self, pattern: &Path, beside: Option<&Path>) -> Result<Vec<PathBuf>, String> {
        if self.is_complete {
            return Err("a profile that is sent to a gateway has no includes: `sipsec apply` resolves them"
                .to_owned());
        }
        includes::files(&beside.and_then(Path::parent).unwrap_or(&self.base).join(pattern))
    }

    fn mode(&self, path: &Path) -> Option<u32> {
        Some(std::fs::metadata(path).ok()?.permissions().mode() & 0o777)
    }

    fn profile_mode(&self) -> Option<u32> {
        self.profile_mode
    }

    fn certificate(&self, certificate: &CertificateEntry) -> Vec<CertificateFlaw> {
        if self.is_remote {
            return Vec::new();
        }
        let flaw = |(place, flaw): (Place, credential::Flaw)| CertificateFlaw {
            place: match place {
                Place::Certificate => CertificatePlace::Certificate,
                Place::Key => CertificatePlace::Key,
                Place::Ca(n) => CertificatePlace::Ca(n),
                Place::Crl(n) => CertificatePlace::Crl(n),
            },
            severity: flaw.severity(),
            code: flaw.code(),
            message: flaw.to_string(),
            hint: flaw.cure(),
        };
        credential::load(certificate, clock::unix_time_s(), self.is_gateway)
            .flaws
            .into_iter()
            .map(flaw)
            .collect()
    }

    fn certificate_kind(&self, certificate: &CertificateEntry) -> Option<CertificateKind> {
        if self.is_remote {
            return None;
        }
        let chain = files::certificates(&certificate.chain).ok()?;
        let facts = CertificateFacts::of(chain.first()?).ok()?;
        Some(CertificateKind { key: facts.key, is_self_signed: facts.self_issued })
    }

    fn proposal(&self, purpose: ProposalFor, text: &str) -> Result<(), ProposalFlaw> {
        let parsed = match purpose {
            ProposalFor::Ike => text.parse::<IkeProposal>().map(drop),
            ProposalFor::Esp => text.parse::<EspProposal>().map(drop),
        };
        parsed.map_err(|error| ProposalFlaw {
            reason: error.to_string(),
            hint: error.cure(),
            unknown_word: match error {
                ProposalError::UnknownKeyword(word) => Some(word),
                _ => None,
            },
            known_words: words().collect(),
        })
    }

    fn proposals_agree(&self, purpose: ProposalFor, ours: &[String], theirs: &[String]) -> Option<bool> {
        match purpose {
            ProposalFor::Ike => {
                let (ours, theirs) =
                    (parsed(ours, IkeProposal::defaults)?, parsed(theirs, IkeProposal::defaults)?);
                Some(any_pair(&ours, &theirs, |a, b| {
                    shared(&a.encr, &b.encr)
                        && (a.integ.is_empty() && b.integ.is_empty() || shared(&a.integ, &b.integ))
                        && shared(&a.prf, &b.prf)
                        && shared(&a.groups, &b.groups)
                        && (shared(&a.ke1, &b.ke1) || optional(&a.ke1) && optional(&b.ke1))
                }))
            }
            ProposalFor::Esp => {
                let (ours, theirs) =
                    (parsed(ours, EspProposal::defaults)?, parsed(theirs, EspProposal::defaults)?);
                // The key exchanges count when the SA is renewed, so they must agree, too.
                Some(any_pair(&ours, &theirs, |a, b| {
                    shared(&a.encr, &b.encr)
                        && (a.integ.is_empty() && b.integ.is_empty() || shared(&a.integ, &b.integ))
                        && shared(&a.esn, &b.esn)
                        && (a.groups.is_empty() && b.groups.is_empty() || shared(&a.groups, &b.groups))
                        && (shared(&a.ke1, &b.ke1) || optional(&a.ke1) && optional(&b.ke1))
                }))
            }
        }
    }

    fn log_filter(&self, text: &str) -> Result<(), String> {
        logging::filter(text).map(drop).map_err(|error| format!("{error}: {}", logging::EXAMPLES))
    }

    fn has_module(&self, name: &str) -> Option<bool> {
        Some(Path::new("/sys/module").join(name).exists())
    }

    fn has_core(&self, core: u16) -> Option<bool> {
        let allowed = rustix::thread::sched_getaffinity(None).ok()?;
        Some(allowed.is_set(usize::from(core)))
    }

    fn rx_queues(&self, device: &str) -> Option<u32> {
        let queues = std::fs::read_dir(Path::new("/sys/class/net").join(device).join("queues")).ok()?;
        let receives = |name: std::ffi::OsString| name.to_str().is_some_and(|name| name.starts_with("rx-"));
        let count = queues.filter_map(Result::ok).filter(|entry| receives(entry.file_name())).count();
        u32::try_from(count).ok().filter(|count| *count > 0)
    }

    fn directory(&self, path: &Path) -> Result<(), String> {
        // A directory that is missing is made at start, so the nearest one that exists tells.
        match path.ancestors().find_map(|p| std::fs::metadata(p).ok().map(|meta| (p, meta))) {
            Some((there, meta)) if !meta.is_dir() => Err(format!("{} is not a directory", there.display())),
            _ => Ok(()),
        }
    }

    fn is_own_address(&self, ip: IpAddr) -> Option<bool> {
        // bind(2) accepts the addresses of this machine only.
        Some(UdpSocket::bind((ip, 0)).is_ok())
    }
}

fn parsed<T: std::str::FromStr>(written: &[String], defaults: fn() -> Vec<T>) -> Option<Vec<T>> {
    if written.is_empty() { Some(defaults()) } else { written.iter().map(|text| text.parse().ok()).collect() }
}

fn any_pair<T>(ours: &[T], theirs: &[T], agree: impl Fn(&T, &T) -> bool) -> bool {
    ours.iter().any(|a| theirs.iter().any(|b| agree(a, b)))
}

fn shared<T: PartialEq>(a: &[T], b: &[T]) -> bool {
    a.iter().any(|x| b.contains(x))
}

/// RFC 9370: the additional key exchange may be left out.
fn optional<T: PartialEq>(ke1: &[Option<T>]) -> bool {
    ke1.is_empty() || ke1.contains(&None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proposals_agree_if_one_pair_does() {
        let agree = |purpose, a: &[&str], b: &[&str]| {
            let owned = |list: &[&str]| list.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>();
            Machine::default().proposals_agree(purpose, &owned(a), &owned(b))
        };
        let (ike, esp) = (ProposalFor::Ike, ProposalFor::Esp);
        assert_eq!(agree(ike, &[], &[]), Some(true));
        assert_eq!(agree(ike, &["aes256gcm16-prfsha384-ecp384"], &[]), Some(true));
        assert_eq!(
            agree(ike, &["aes256gcm16-prfsha384-ecp384"], &["aes256gcm16-prfsha384-ecp256"]),
            Some(false)
        );
        assert_eq!(agree(ike, &["aes256gcm16-prfsha384-ecp384"], &["aes256-sha256-ecp384"]), Some(false));
        assert_eq!(agree(esp, &["aes256gcm16"], &["aes128gcm16", "aes256gcm16-esn-noesn"]), Some(true));
        assert_eq!(agree(esp, &["aes256gcm16"], &["aes256gcm16-ecp256"]), Some(false));
        let hybrid = ["aes256gcm16-ecp256-ke1_mlkem768", "aes256gcm16-ecp256-ke1_mlkem768-ke1_none"];
        for (ours, want) in [(hybrid[0], false), (hybrid[1], true)] {
            assert_eq!(agree(esp, &[ours], &["aes256gcm16-ecp256"]), Some(want), "{ours}");
            assert_eq!(agree(esp, &[ours], &hybrid), Some(true), "{ours}");
        }
    }

    #[test]
    fn the_machine_knows_itself() {
        let machine = Machine::default();
        assert_eq!(machine.is_own_address("127.0.0.1".parse().expect("address")), Some(true));
        assert_eq!(machine.is_own_address("192.0.2.77".parse().expect("address")), Some(false));
        assert_eq!(machine.has_core(1023), Some(false));
        assert!(machine.directory(Path::new("/nowhere/at/all")).is_ok());
        assert!(machine.directory(Path::new("/dev/null/x")).is_err());
        let here = Machine { base: env!("CARGO_MANIFEST_DIR").into(), ..Machine::default() };
        assert!(here.read(Path::new("Cargo.toml")).is_ok_and(|bytes| bytes.starts_with(b"[package]")));
        assert_eq!(here.read(Path::new("nowhere.csv")), Err("there is no such file".to_owned()));
        assert!(here.read(Path::new("/dev/zero")).is_err(), "a device is not read");
    }
}
