//! The one table of algorithms: every place that names, offers, chooses, shows or runs an algorithm asks these types.
//! Validated against RFC 8247 (IKE) and RFC 8221 (ESP): nothing below their SHOULD is here.

mod encr;
mod group;
mod integ;
mod prf;
mod proposal;
mod signature;

pub use encr::Encr;
pub use group::DhGroup;
pub use integ::Integ;
pub use prf::Prf;
pub use proposal::{EspProposal, EspSuite, IkeProposal, IkeSuite, ProposalError};
pub use signature::{HashAlg, Scheme, SignatureHash};
