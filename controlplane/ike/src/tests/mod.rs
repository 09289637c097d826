//! Exchanges between two endpoints.

mod establish;
mod refuse;
mod rekey;
