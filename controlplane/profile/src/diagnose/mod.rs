//! What is wrong with a profile, where, and what to write instead. No text made here holds a secret.

mod excerpt;
mod findings;
mod nearest;
mod problem;
mod render;
mod shown;

pub use findings::{Finding, Findings, PROBLEMS_MAX};
pub use nearest::nearest;
pub use problem::{Place, Problem, Problems, Severity, Sink};
pub use render::Style;
pub use shown::{shown, shown_key, shown_raw};
