//! Exchanges between two endpoints.

mod certificate;
mod decode;
mod establish;
mod golden;
mod hybrid;
mod interleavings;
mod known;
mod policy;
mod ppk;
mod refuse;
mod rekey;
mod window;
mod wycheproof;
