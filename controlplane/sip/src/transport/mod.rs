//! Transports (RFC 3261 §18): flows, the framing of a byte stream, and Via.

pub mod flow;
mod flows;
pub mod framing;
pub mod via;

pub use flow::{Flow, FlowId, Locals, Transport};
pub use flows::Flows;
pub use framing::{FrameError, Framed, Framer};
