//! Messages of one IKE SA: protection, message IDs, retransmission, fragments. Knows nothing of what they mean.

pub(crate) mod backoff;
pub(crate) mod cookie;
pub(crate) mod ike_sa;
mod octets;
pub(crate) mod reassembly;
mod receive;
mod resend;
mod sent;

pub(crate) use backoff::{Backoff, Retry};
pub(crate) use ike_sa::{IkeSa, SaKeys};
pub(crate) use receive::Incoming;
