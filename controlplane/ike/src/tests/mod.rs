//! Exchanges between two endpoints.

mod certificate;
mod decode;
mod ending;
mod establish;
mod golden;
mod hybrid;
mod interleavings;
mod known;
mod policy;
mod ppk;
mod refuse;
mod rekey;
mod stale;
mod window;
mod wycheproof;
