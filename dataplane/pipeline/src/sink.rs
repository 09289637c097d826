//! Where results go. What may leave by the outside port is a type of its own that only sealing and IKE can make.

use crate::esp_encap::Sealed;
use crate::media::IkeFrame;
use crate::owner::{HandOver, WorkerIndex};
use core::net::SocketAddr;
use sipsec_net::dp::Event;
use sipsec_net::{DropReason, MediaPort};

/// A frame for the WAN. There is no way from a packet in clear to this but through [`Sealed`].
#[derive(Debug)]
pub enum OutsideFrame<P> {
    Esp(Sealed<P>),
    Ike(IkeFrame<P>),
}

impl<P> OutsideFrame<P> {
    /// The whole Ethernet frame.
    pub fn into_packet(self) -> P {
        match self {
            Self::Esp(f) => f.into_packet(),
            Self::Ike(f) => f.into_packet(),
        }
    }
}

/// The worker, as the pipeline sees it.
pub trait Sink<P> {
    fn transmit_outside(&mut self, frame: OutsideFrame<P>);
    /// An Ethernet frame in clear, for the inside port.
    fn transmit_inside(&mut self, frame: P);
    /// An IKE message (without marker) for the control plane.
    fn punt(&mut self, port: MediaPort, from: SocketAddr, message: &[u8]) -> Result<(), PuntRefused>;
    fn event(&mut self, event: Event);
    /// An empty frame with headroom, for fragments; `None` if there is none.
    fn frame(&mut self) -> Option<P>;
    /// A packet for another worker. Only a pipeline that is one of several hands over.
    fn hand_over(&mut self, to: WorkerIndex, what: HandOver, packet: P) -> Result<(), DropReason>;
}

/// Why an IKE message did not reach the control plane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PuntRefused {
    Full,
    TooLong,
}
