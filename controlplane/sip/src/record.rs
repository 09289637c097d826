//! The record of a call: enough to hang it up after a crash.

use crate::message::NameAddr;
use crate::target::Target;
use serde::{Deserialize, Serialize};
use sipsec_net::TelNumber;
use std::net::{IpAddr, SocketAddr};
use thiserror::Error;

/// Version of the encoding. [`UDP_ALONE`] is read as well; any other is refused.
pub const RECORD_VERSION: u8 = 4;
/// The version before, whose calls were made over UDP.
const UDP_ALONE: u8 = 2;

/// How far a call has come. The first two are what records of earlier releases have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Stage {
    /// An INVITE of ours is out: CANCEL.
    Dialled,
    /// There is, or may be, a dialog: BYE.
    Answered,
    /// We ring for the INVITE of a peer: a final response, because the called side has no BYE yet (RFC 3261 §15).
    Offered,
    /// Our 200 may have been sent: a final response, which counts if it was not, and BYE, which counts if it was.
    Accepted,
}

/// A call, as far as CANCEL, ACK, BYE and the refusal of an INVITE need it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DialogRecord {
    pub(crate) call_id: String,
    /// From of our requests, with our tag.
    pub(crate) local: String,
    /// To of our requests; with the peer's tag once there is a dialog.
    pub(crate) remote: String,
    pub(crate) stage: Stage,
    /// Of our last request; of the INVITE of a peer that has no final response.
    pub(crate) cseq: u32,
    pub(crate) route_set: Vec<String>,
    pub(crate) remote_target: String,
    pub(crate) target: Target,
    /// Via of the INVITE that we sent, for its CANCEL; all those of a peer's INVITE that may need a final response, as its
    /// responses have them; else empty.
    pub(crate) via: String,
    /// The local number, whose credentials may be asked for.
    pub(crate) line: String,
}

/// Version [`UDP_ALONE`].
#[derive(Serialize, Deserialize)]
struct UdpRecord {
    call_id: String,
    local: String,
    remote: String,
    answered: bool,
    cseq: u32,
    route_set: Vec<String>,
    remote_target: String,
    proxy: SocketAddr,
    via: String,
    line: String,
}

impl From<UdpRecord> for DialogRecord {
    fn from(r: UdpRecord) -> Self {
        Self {
            call_id: r.call_id,
            local: r.local,
            remote: r.remote,
            stage: if r.answered { Stage::Answered } else { Stage::Dialled },
            cseq: r.cseq,
            route_set: r.route_set,
            remote_target: r.remote_target,
            target: Target::udp(r.proxy),
            via: r.via,
            line: r.line,
        }
    }
}

fn whole<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, RecordError> {
    match postcard::take_from_bytes(bytes) {
        Ok((record, [])) => Ok(record),
        _ => Err(RecordError::Malformed),
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum RecordError {
    #[error("the record has version {0}, this release writes {RECORD_VERSION} and reads {UDP_ALONE} as well")]
    Version(u8),
    #[error("the record is damaged")]
    Malformed,
}

impl DialogRecord {
    /// The Call-ID header field.
    #[must_use]
    pub fn call_id(&self) -> &str {
        &self.call_id
    }

    /// Whether the call may have been answered, and so may be charged.
    #[must_use]
    pub const fn answered(&self) -> bool {
        matches!(self.stage, Stage::Answered | Stage::Accepted)
    }

    /// The server through which the call was made.
    #[must_use]
    pub const fn server(&self) -> IpAddr {
        self.target.addr.ip()
    }

    /// Our number.
    #[must_use]
    pub fn local_number(&self) -> Option<TelNumber> {
        self.line.parse().ok()
    }

    /// The other side's number, as far as its From or To tells it.
    #[must_use]
    pub fn remote_number(&self) -> Option<TelNumber> {
        let uri = NameAddr::parse(&self.remote)?.uri;
        let (_, rest) = uri.split_once(':')?;
        rest.split(['@', ';']).next()?.parse().ok()
    }

    /// # Panics
    /// Never: the encoding of plain strings and numbers into memory does not fail.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        postcard::to_extend(self, vec![RECORD_VERSION]).expect("encodes into memory")
    }

    /// # Errors
    /// If another release wrote it, or it is damaged.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, RecordError> {
        match bytes {
            [RECORD_VERSION, rest @ ..] => whole(rest),
            [UDP_ALONE, rest @ ..] => whole::<UdpRecord>(rest).map(Self::from),
            [v, ..] => Err(RecordError::Version(*v)),
            [] => Err(RecordError::Malformed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::Transport;

    fn record() -> DialogRecord {
        DialogRecord {
            call_id: "c".into(),
            local: "<sip:1@d>;tag=a".into(),
            remote: "<sip:2@d>;tag=b".into(),
            stage: Stage::Answered,
            cseq: 300,
            route_set: vec!["<sip:p;lr>".into()],
            remote_target: "sip:2@h".into(),
            target: Target::udp("192.0.2.1:5060".parse().expect("address")),
            via: String::new(),
            line: "1".into(),
        }
    }

    /// The bytes are a promise to the next release: changing them changes the version.
    #[test]
    fn the_bytes_are_golden() {
        let golden =
            b"\x04\x01c\x0f<sip:1@d>;tag=a\x0f<sip:2@d>;tag=b\x01\xac\x02\x01\x0a<sip:p;lr>\x07sip:2@h\
            \x00\x00\xc0\x00\x02\x01\xc4\x27\x00\x00\x011";
        assert_eq!(record().to_bytes(), golden);
        assert_eq!(DialogRecord::from_bytes(golden), Ok(record()));
        let target = Target { transport: Transport::Tls, name: Some("p.example".into()), ..record().target };
        let tls = DialogRecord { target, ..record() };
        assert_eq!(DialogRecord::from_bytes(&tls.to_bytes()), Ok(tls));
    }

    /// One byte, in which earlier releases had whether the call was answered.
    #[test]
    fn the_stage_is_a_byte() {
        for (stage, byte) in
            [(Stage::Dialled, 0), (Stage::Answered, 1), (Stage::Offered, 2), (Stage::Accepted, 3)]
        {
            let record = DialogRecord { stage, ..record() };
            let bytes = record.to_bytes();
            assert_eq!(bytes[35], byte);
            assert_eq!(DialogRecord::from_bytes(&bytes), Ok(record));
        }
    }

    /// As the release before wrote it: hung up over UDP.
    #[test]
    fn the_version_before_is_read() {
        let golden =
            b"\x02\x01c\x0f<sip:1@d>;tag=a\x0f<sip:2@d>;tag=b\x01\xac\x02\x01\x0a<sip:p;lr>\x07sip:2@h\
            \x00\xc0\x00\x02\x01\xc4\x27\x00\x011";
        assert_eq!(DialogRecord::from_bytes(golden), Ok(record()));
        for cut in 1..golden.len() {
            assert_eq!(DialogRecord::from_bytes(&golden[..cut]), Err(RecordError::Malformed));
        }
    }

    #[test]
    fn a_record_names_its_call() {
        let r = record();
        assert_eq!((r.call_id(), r.answered()), ("c", true));
        let numbers = (r.local_number(), r.remote_number());
        assert_eq!(numbers, (Some("1".parse().expect("valid")), Some("2".parse().expect("valid"))));
        let anonymous = DialogRecord { remote: "<sip:anonymous@anonymous.invalid>".into(), ..r };
        assert_eq!(anonymous.remote_number(), None);
    }

    #[test]
    fn damage_is_noticed() {
        let bytes = record().to_bytes();
        for cut in 1..bytes.len() {
            assert_eq!(DialogRecord::from_bytes(&bytes[..cut]), Err(RecordError::Malformed));
        }
        assert_eq!(DialogRecord::from_bytes(&[bytes, vec![0]].concat()), Err(RecordError::Malformed));
        assert_eq!(DialogRecord::from_bytes(&[1, 2, 3]), Err(RecordError::Version(1)));
        assert_eq!(DialogRecord::from_bytes(&[]), Err(RecordError::Malformed));
    }
}
