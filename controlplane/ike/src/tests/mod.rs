//! Exchanges between two endpoints.

mod by_hand;
mod certificate;
mod crash;
mod decode;
mod ending;
mod errors;
mod establish;
mod followup;
mod followup_child;
mod front;
mod golden;
mod handover;
mod hybrid;
mod interleavings;
mod key_change;
mod known;
mod policy;
mod ppk;
mod reauth;
mod refuse;
mod refused;
mod rekey;
mod selectors;
mod stale;
mod window;
mod wycheproof;
