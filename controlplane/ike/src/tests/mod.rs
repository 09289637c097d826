//! Exchanges between two endpoints.

mod decode;
mod establish;
mod golden;
mod known;
mod refuse;
mod rekey;
