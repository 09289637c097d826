//! What the journal has of a call: what SIP needs to hang it up, and what a person needs to ask the carrier for it.

use serde::{Deserialize, Serialize};
use sipsec_net::TelNumber;
use sipsec_sip::DialogRecord;
use std::net::SocketAddr;

/// Version of the encoding. [`SIGNALLING_ALONE`] is the same without the media, [`ONE_CARRIER`] that without the carrier's
/// name, [`UDP_ALONE`] that around a SIP record of calls over UDP. The version before that was a SIP record alone, with
/// [`SIP_ALONE`] as its first byte.
const VERSION: u8 = 6;
const SIGNALLING_ALONE: u8 = 5;
const ONE_CARRIER: u8 = 4;
const UDP_ALONE: u8 = 3;
const SIP_ALONE: u8 = 2;
/// So many telephone numbers of a record that cannot be read are told.
const NUMBERS_MAX: usize = 4;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallRecord {
    pub local: Option<TelNumber>,
    pub remote: Option<TelNumber>,
    /// When the call was placed or received, in seconds since 1970; `None` if the clock was not known.
    pub began_unix_s: Option<u64>,
    /// The name of the carrier over which it was made; empty if an earlier release wrote it, which had one alone.
    pub carrier: String,
    /// Where IKE and ESP of an answered call are; `None` before SDP is agreed on.
    pub media: Option<MediaRecord>,
    pub dialog: DialogRecord,
}

/// What SDP agreed on, as far as the media port can be opened again with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MediaRecord {
    pub local: SocketAddr,
    pub remote: SocketAddr,
    pub rate_kbps: u32,
}

#[derive(Serialize, Deserialize)]
struct Encoded {
    local: String,
    remote: String,
    began_unix_s: u64,
    dialog: Vec<u8>,
}

/// A record that this release cannot use. It stays in the journal: the release that wrote it can hang the call up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable {
    /// Its first byte; `None` if it is empty.
    pub version: Option<u8>,
    /// Telephone numbers of SIP URIs in it.
    pub numbers: Vec<TelNumber>,
}

impl CallRecord {
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let text = |n: &Option<TelNumber>| n.as_ref().map(ToString::to_string).unwrap_or_default();
        let encoded = Encoded {
            local: text(&self.local),
            remote: text(&self.remote),
            began_unix_s: self.began_unix_s.unwrap_or(0),
            dialog: self.dialog.to_bytes(),
        };
        // Strings and numbers into memory: nothing that can fail. What SIP needs is enough to hang up.
        let whole = postcard::to_extend(&encoded, vec![VERSION]);
        let whole = whole.and_then(|bytes| postcard::to_extend(&self.carrier, bytes));
        whole.and_then(|bytes| postcard::to_extend(&self.media, bytes)).unwrap_or(encoded.dialog)
    }

    /// # Errors
    /// If another release wrote it, or it is damaged.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Unreadable> {
        let unreadable = || Unreadable { version: bytes.first().copied(), numbers: numbers(bytes) };
        match bytes {
            [version @ (VERSION | SIGNALLING_ALONE | ONE_CARRIER | UDP_ALONE), rest @ ..] => {
                let (e, rest) = postcard::take_from_bytes::<Encoded>(rest).map_err(|_| unreadable())?;
                let (carrier, rest) = match version {
                    &(VERSION | SIGNALLING_ALONE) => {
                        postcard::take_from_bytes::<String>(rest).map_err(|_| unreadable())?
                    }
                    _ => (String::new(), rest),
                };
                let (media, rest) = match version {
                    &VERSION => postcard::take_from_bytes(rest).map_err(|_| unreadable())?,
                    _ => (None, rest),
                };
                let dialog = DialogRecord::from_bytes(&e.dialog).map_err(|_| unreadable())?;
                if !rest.is_empty() {
                    return Err(unreadable());
                }
                Ok(Self {
                    local: e.local.parse().ok(),
                    remote: e.remote.parse().ok(),
                    began_unix_s: Some(e.began_unix_s).filter(|s| *s > 0),
                    carrier,
                    media,
                    dialog,
                })
            }
            [SIP_ALONE, ..] => {
                let dialog = DialogRecord::from_bytes(bytes).map_err(|_| unreadable())?;
                let (local, remote) = (dialog.local_number(), dialog.remote_number());
                Ok(Self { local, remote, began_unix_s: None, carrier: String::new(), media: None, dialog })
            }
            _ => Err(unreadable()),
        }
    }
}

/// The user parts of SIP URIs, wherever they stand.
fn numbers(bytes: &[u8]) -> Vec<TelNumber> {
    let text = String::from_utf8_lossy(bytes);
    let mut found = Vec::new();
    for uri in text.split("sip:").skip(1) {
        let user = uri.split_once('@').map(|(user, _)| user);
        if let Some(number) = user.and_then(|u| u.parse().ok())
            && !found.contains(&number)
            && found.len() < NUMBERS_MAX
        {
            found.push(number);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A SIP record as the release before wrote it.
    const OLD: &[u8] =
        b"\x02\x01c\x0f<sip:1@d>;tag=a\x0f<sip:2@d>;tag=b\x01\xac\x02\x01\x0a<sip:p;lr>\x07sip:2@h\
        \x00\xc0\x00\x02\x01\xc4\x27\x00\x011";

    fn number(s: &str) -> TelNumber {
        s.parse().expect("a number")
    }

    #[test]
    fn the_bytes_are_golden_and_the_versions_before_are_read() {
        let old = CallRecord::from_bytes(OLD).expect("a SIP record alone");
        assert_eq!((old.local, old.remote, old.began_unix_s), (Some(number("1")), Some(number("2")), None));
        let new = CallRecord { began_unix_s: Some(300), ..old };
        let wrapped = |version: u8, dialog: &[u8]| {
            [
                &[version],
                b"\x011\x012\xac\x02".as_slice(),
                &[u8::try_from(dialog.len()).expect("short")],
                dialog,
            ]
            .concat()
        };
        assert_eq!(CallRecord::from_bytes(&wrapped(3, OLD)), Ok(new.clone()), "calls over UDP alone");
        assert_eq!(
            CallRecord::from_bytes(&wrapped(4, &new.dialog.to_bytes())),
            Ok(new.clone()),
            "one carrier"
        );
        let new = CallRecord { carrier: "east".to_owned(), ..new };
        let before = [wrapped(5, &new.dialog.to_bytes()), b"\x04east".to_vec()].concat();
        assert_eq!(CallRecord::from_bytes(&before), Ok(new.clone()), "signalling alone");
        let whole = |media: &[u8]| [&[VERSION], &before[1..], media].concat();
        assert_eq!(new.to_bytes(), whole(&[0]), "not answered");
        let media = MediaRecord {
            local: "192.0.2.1:50000".parse().expect("an address"),
            remote: "[2001:db8::9]:4500".parse().expect("an address"),
            rate_kbps: 1000,
        };
        let new = CallRecord { media: Some(media), ..new };
        let golden = whole(
            b"\x01\x00\xc0\x00\x02\x01\xd0\x86\x03\x01\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x09\x94\x23\xe8\x07",
        );
        assert_eq!(new.to_bytes(), golden);
        assert_eq!(CallRecord::from_bytes(&golden), Ok(new));
    }

    #[test]
    fn of_what_cannot_be_read_the_version_and_the_numbers_are_told() {
        let mut later = OLD.to_vec();
        later[0] = 9;
        let Err(unreadable) = CallRecord::from_bytes(&later) else { panic!("another version") };
        assert_eq!((unreadable.version, unreadable.numbers), (Some(9), vec![number("1"), number("2")]));
        assert_eq!(CallRecord::from_bytes(&[]), Err(Unreadable { version: None, numbers: vec![] }));
        let golden = CallRecord::from_bytes(OLD).expect("readable").to_bytes();
        for cut in 1..golden.len() {
            assert!(CallRecord::from_bytes(&golden[..cut]).is_err(), "{cut}");
        }
        assert!(CallRecord::from_bytes(&[golden, vec![0]].concat()).is_err());
    }
}
