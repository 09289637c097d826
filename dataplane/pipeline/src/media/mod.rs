//! The media ports of live calls, each with its rate and its outer headers: what IKE and ESP inside know as loopback:4500 is,
//! outside, the address and port of SDP. The entry goes with the call.

pub(crate) mod ike_frame;
mod outer_parse;
mod outer_template;
mod punt_police;
pub(crate) mod rebuilt_frame;

pub use ike_frame::IkeFrame;
pub(crate) use outer_parse::Outer;
pub(crate) use outer_template::{Identifications, OuterHeader};
use punt_police::PuntPolice;

use crate::class_queues::Queues;
use crate::config::OutsidePort;
use crate::police::Policer;
use crate::shaper::Shaper;
use crate::slab::{Occupant, Slab};
use crate::sys::LINE;
use core::mem::offset_of;
use sipsec_net::dp::{MediaBinding, PeerSource};
use sipsec_net::esp::Layout;
use sipsec_net::qos::Police;
use sipsec_net::{Instant, MediaPort, SaId};

/// One live call's port, in the order of use: a packet out needs what stands before `binding`, a packet in that and the
/// addresses of `binding`. With thousands of calls each cache line comes from far away.
#[derive(Debug)]
#[repr(C, align(64))]
pub(crate) struct Media {
    pub shaper: Shaper,
    pub outer: OuterHeader,
    /// Number of the SA whose packet came last.
    pub inbound_hint: u32,
    pub tunnel: u32,
    /// Its own in the table.
    number: u32,
    pub queues: Queues,
    pub binding: MediaBinding,
    pub policer: Policer,
    /// Of the path behind the WAN, if it is known to be less, by an ICMP error and by probes of the control plane.
    pub path_mtu: Option<u16>,
    pub probed_mtu: Option<u16>,
    /// Ports of the peer besides that of SDP; `None` for none.
    pub source: Option<PeerSource>,
    /// The SAs that it carries: four at most (a rekey).
    pub sas: Vec<SaId>,
    /// When a wrong source was last reported.
    pub wrong_source_at: Option<Instant>,
    pub punts: PuntPolice,
}

const LINES_OUT: usize = 2;
const LINES_IN: usize = 4;

const _: () = assert!(offset_of!(Media, binding) <= LINES_OUT * LINE);

impl Occupant for Media {
    #[inline]
    fn number(&self) -> u32 {
        self.number
    }
}

impl Media {
    /// Whether packets from this port of the peer's address are taken.
    #[inline]
    pub(crate) fn admits(&self, port: u16) -> bool {
        port == self.binding.remote.port()
            || match self.source {
                None => false,
                Some(PeerSource::Unproven) => true,
                Some(PeerSource::Port(known)) => known == port,
            }
    }

    /// ESP whose ICV held came from this port. `true` if that decides.
    pub(crate) fn prove(&mut self, port: u16) -> bool {
        let decides = self.source == Some(PeerSource::Unproven);
        if decides {
            self.source = Some(PeerSource::Port(port));
        }
        decides
    }

    /// Largest inner packet that fits the WAN and the path behind it in an SA of this layout.
    pub(crate) fn inner_max(&self, port: &OutsidePort, layout: Layout) -> u16 {
        layout.inner_mtu(self.outer_max(port).into(), self.binding.outside_local.is_ipv6()) as u16
    }
}

#[derive(Debug)]
pub(crate) struct MediaTable {
    slab: Slab<Media>,
    /// Number of each UDP port's entry, [`CLOSED`] if it has none: asked for every packet.
    by_port: Box<[u32]>,
}

const CLOSED: u32 = u32::MAX;

impl MediaTable {
    pub(crate) fn new(max: u32) -> Self {
        Self { slab: Slab::new(max), by_port: vec![CLOSED; usize::from(u16::MAX) + 1].into() }
    }

    /// Validated: the port is free and there is room.
    pub(crate) fn open(
        &mut self,
        port: &OutsidePort,
        binding: MediaBinding,
        tunnel: u32,
        queues: Queues,
        police: Police,
    ) {
        let outer = OuterHeader::new(port, &binding);
        let make = |number| Media {
            binding,
            source: None,
            tunnel,
            number,
            outer,
            shaper: Shaper::new(binding.rate),
            queues,
            policer: Policer::new(binding.rate, police),
            path_mtu: None,
            probed_mtu: None,
            sas: Vec::new(),
            wrong_source_at: None,
            punts: PuntPolice::default(),
            inbound_hint: 0,
        };
        let index = self.slab.insert(make).expect("the number of media ports was validated");
        self.by_port[usize::from(binding.media_port().0)] = index;
    }

    pub(crate) fn close(&mut self, port: MediaPort) -> Option<Media> {
        let index = core::mem::replace(&mut self.by_port[usize::from(port.0)], CLOSED);
        self.slab.remove(index)
    }

    pub(crate) fn find(&self, port: MediaPort) -> Option<u32> {
        Some(self.by_port[usize::from(port.0)]).filter(|index| *index != CLOSED)
    }

    pub(crate) fn get(&self, index: u32) -> Option<&Media> {
        self.slab.get(index)
    }

    pub(crate) fn get_mut(&mut self, index: u32) -> Option<&mut Media> {
        self.slab.get_mut(index)
    }

    /// A packet is sent by this port soon.
    #[inline]
    pub(crate) fn prefetch_out(&self, index: u32) {
        self.slab.prefetch::<LINES_OUT>(index);
    }

    /// A packet that came in by this port is looked at soon.
    #[inline]
    pub(crate) fn prefetch_in(&self, index: u32) {
        self.slab.prefetch::<LINES_IN>(index);
    }

    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Media> {
        self.slab.iter()
    }

    pub(crate) const fn len(&self) -> u32 {
        self.slab.len()
    }
}
