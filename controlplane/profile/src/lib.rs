//! The profile of a gateway: one YAML file, read whole, checked whole, with every problem reported at once.
//!
//! ```text
//!  bytes ─ read ─> Document (values and their places) ─ schema ─> Profile ─ check ─> findings ─ diagnose ─> text, JSON
//!                                                        ^    └── write ──> YAML
//!                                         ios, … ────────┘
//! ```
//! The crate is pure: callers read files and lend what the machine knows through [`Surroundings`]. No profile text makes
//! it panic, and none takes more than bounded memory and time ([`read`] names the bounds).
#![forbid(unsafe_code)]

pub mod change;
pub mod check;
pub mod diagnose;
pub mod ios;
pub mod model;
pub mod read;
pub mod schema;
pub mod surroundings;
pub mod write;

pub use diagnose::{Finding, Findings, Place, Problem, Severity, Style};
pub use model::{Head, Profile};
pub use read::{Examined, KeyPath, control_socket_of, examine, head};
pub use surroundings::{Nothing, Surroundings};
