//! The one table of algorithms: every place that names, offers, chooses, shows or runs an algorithm asks these types.
//! `tests/policy.rs` holds it against RFC 8247 (IKE) and RFC 8221 (ESP): what those want is here, what they warn of is
//! not, and what we leave out on purpose stands there with its reason.

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
pub use proposal::{EspProposal, EspSuite, IkeProposal, IkeSuite, ProposalError, words};
pub use signature::{HashAlg, Scheme, SignatureHash};
