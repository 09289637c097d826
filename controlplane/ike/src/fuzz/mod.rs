//! What the fuzzers run and the tests replay (`bench/fuzz`): arbitrary bytes, and what must hold for all of them.

mod decode;
mod endpoint;
mod forge;
mod parties;

pub use decode::{certificate, message, payload};
pub use endpoint::endpoint;
