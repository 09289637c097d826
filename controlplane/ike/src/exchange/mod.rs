//! Messages of one IKE SA: protection, message IDs, retransmission, fragments. Knows nothing of what they mean.

pub(crate) mod backoff;
pub(crate) mod cookie;
pub(crate) mod ike_sa;
pub(crate) mod reassembly;

pub(crate) use backoff::{Backoff, Retry};
pub(crate) use ike_sa::{IkeSa, Incoming, SaKeys};
