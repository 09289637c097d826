//! The one table of algorithms: every place that names, offers, chooses, shows or runs an algorithm asks these types.
//! `tests/policy.rs` holds it against RFC 8247 (IKE) and RFC 8221 (ESP): what those want is here, and what we leave
//! out on purpose stands there with its reason. What they warn of is in the `LEGACY` lists, which only `cisco()` offers.

mod encr;
mod esp;
mod group;
mod integ;
mod prf;
mod proposal;
mod signature;

pub use encr::Encr;
pub use esp::{EspEncr, EspProposal, EspSuite, esp_integ};
pub use group::DhGroup;
pub use integ::Integ;
pub use prf::Prf;
pub use proposal::{IkeProposal, IkeSuite, ProposalError, words};
pub use signature::{HashAlg, Scheme, SignatureHash};
