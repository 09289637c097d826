//! Exchanges between two endpoints.

mod certificate;
mod decode;
mod establish;
mod golden;
mod hybrid;
mod known;
mod policy;
mod refuse;
mod rekey;
