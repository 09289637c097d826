//! AF_XDP sockets as the dataplane wants them: one UMEM shared by both ports, packets as owned [`Frame`]s that return to
//! the pool when dropped, and a [`Port`] that receives and sends batches. [`memory::MemoryPort`] is the same without a
//! kernel, for tests of what sits above.
//!
//! Everything here belongs to one thread: a frame is in exactly one place at a time (free list, a `Frame`, the fill
//! ring, the kernel, the transmit ring), which is what makes access to its bytes sound without a lock.

mod desc;
pub mod error;
pub mod frame;
pub mod memory;
pub mod open;
mod options;
pub mod pool;
pub mod port;
mod rings;
pub mod socket;
pub mod watch;

pub use error::OpenError;
pub use frame::Frame;
pub use open::{BindMode, Config, Opened, PortSpec, open, open_for};
pub use pool::Pool;
pub use port::{Port, PortStats};
pub use socket::XskPort;
pub use watch::SocketWatch;
