//! Exchanges between two endpoints.

mod establish;
