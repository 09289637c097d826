//! Authentication of the IKE_INTERMEDIATE exchange (RFC 9242 §3.3.2).

use crate::crypto::prf::prf;
use crate::exchange::IkeSa;

/// IntAuth_i1 | IntAuth_r1 | IKE_AUTH_MID. `request` and `response` are the messages of exchange `id` as they were before
/// encryption and fragmentation; `sa` still has the keys that protected them. There is one such exchange at most, since
/// we negotiate one additional key exchange.
pub(crate) fn int_auth(sa: &IkeSa, request: &[u8], response: &[u8], id: u32) -> Vec<u8> {
    let of_i = prf(sa.suite.prf, sa.sk_pi.expose(), &[request]);
    let of_r = prf(sa.suite.prf, sa.sk_pr.expose(), &[response]);
    // RFC 9242 §3.2: IKE_AUTH has the Message ID after that of the last IKE_INTERMEDIATE.
    [of_i.expose(), of_r.expose(), &(id + 1).to_be_bytes()].concat()
}
