//! Segmentation offload between the kernel's stack and a pipeline that works on single packets.
//!
//! ```text
//!  kernel ─▶ virtio header, one frame of up to 64 KiB ─▶ Cut ─▶ frames that the tunnel carries
//!  kernel ◀─ virtio header, one frame of up to 64 KiB ◀─ Merger ◀─ frames that came through tunnels in one batch
//! ```
//! A large packet passes the kernel once where its segments would pass one by one; that is most of what a TCP stream costs there.
//! Frames are Ethernet frames, as the device has them. Nothing here allocates after it is made.

mod cut;
mod layout;
mod merge;
pub mod virtio;

pub use cut::{Cut, Malformed};
pub use merge::{Merged, Merger, PACKETS_MAX, PARTS_MAX};
pub use virtio::VirtioHeader;

/// The longest frame that the kernel hands over: an IP packet of 65,535 bytes behind an Ethernet header with two tags.
pub const FRAME_MAX: usize =
    u16::MAX as usize + sipsec_net::eth::HEADER_LEN + sipsec_net::eth::TAGS_MAX * sipsec_net::eth::TAG_LEN;
