//! What the packets of a batch will need is asked of memory before the first of them is worked on: with thousands of tunnels
//! it lies in no cache. Headers are peeked at, not parsed; a wrong guess costs time alone.

use super::Pipeline;
use crate::batch::{BATCH_MAX, Places, Route};
use crate::esp_decap::OpenBatch;
use crate::packet::Packet;
use arrayvec::ArrayVec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use sipsec_net::MediaPort;
use sipsec_net::eth;

/// Ethernet header, IPv4 without options.
const V4_DESTINATION_AT: usize = eth::HEADER_LEN + 16;
const V6_DESTINATION_AT: usize = eth::HEADER_LEN + 24;
const V4_UDP_PORT_AT: usize = eth::HEADER_LEN + 20 + 2;
const V6_UDP_PORT_AT: usize = eth::HEADER_LEN + 40 + 2;

impl<P: Packet> Pipeline<P> {
    /// Tunnel, SA and media port of each packet, one after the other for all.
    #[inline]
    pub(super) fn look_ahead_inside(&mut self, places: &mut Places<P>) {
        let (mut last, mut route) = (None, Route::Unknown);
        let mut tunnels: ArrayVec<u32, BATCH_MAX> = ArrayVec::new();
        let mut routes: ArrayVec<Route, BATCH_MAX> = ArrayVec::new();
        for packet in places.iter() {
            let address = destination(packet.data());
            if address != last {
                last = address;
                route = address.map_or(Route::Unknown, |a| Route::Found(self.route(&a)));
                if let Route::Found(answer) = route
                    && let Some(tunnel) = answer.tunnel()
                {
                    self.tunnels.prefetch_out(tunnel);
                    tunnels.push(tunnel);
                }
            }
            routes.push(route);
        }
        if tunnels.iter().any(|tunnel| self.nat.looks_ahead(*tunnel)) {
            self.look_ahead_translation(places, &routes);
        }
        places.set_routes(routes);
        // One flow alone is in the cache after its first packet.
        if tunnels.len() > 1 {
            self.look_ahead_outbound(&tunnels);
        }
    }

    fn look_ahead_translation(&self, places: &Places<P>, routes: &[Route]) {
        let packets = places.iter().zip(routes).filter_map(|(packet, route)| match route {
            Route::Found(answer) => Some((answer.tunnel()?, packet.data().get(eth::HEADER_LEN..)?)),
            Route::Unknown => None,
        });
        self.nat.look_ahead_out(packets.filter(|(tunnel, _)| self.nat.looks_ahead(*tunnel)));
    }

    /// Translations of the packets that have been opened.
    #[inline]
    pub(super) fn look_ahead_opened(&self, opening: &OpenBatch<P>) {
        if self.nat.is_large() {
            let packets = opening.plain(&self.sad);
            self.nat.look_ahead_in(packets.filter(|(tunnel, _)| self.nat.looks_ahead(*tunnel)));
        }
    }

    fn look_ahead_outbound(&self, tunnels: &[u32]) {
        let sa = |tunnel: &u32| self.tunnels.get(*tunnel)?.outbound;
        let sas: ArrayVec<u32, BATCH_MAX> = tunnels.iter().filter_map(sa).collect();
        sas.iter().for_each(|sa| self.sad.prefetch_outbound(*sa));
        for sa in sas.iter().filter_map(|sa| self.sad.outbound(*sa)) {
            self.media.prefetch_out(sa.common.media);
        }
    }

    /// Media port, SA and tunnel of each packet, one after the other for all.
    #[inline]
    pub(super) fn look_ahead_outside(&mut self, places: &Places<P>) {
        let mut last = None;
        let mut media: ArrayVec<u32, BATCH_MAX> = ArrayVec::new();
        for packet in places.iter() {
            let port = udp_port(packet.data());
            if port == last {
                continue;
            }
            last = port;
            if let Some(index) = port.and_then(|p| self.media.find(p)) {
                self.media.prefetch_in(index);
                media.push(index);
            }
        }
        if media.len() > 1 {
            self.look_ahead_inbound(&media);
        }
    }

    fn look_ahead_inbound(&self, media: &[u32]) {
        for m in media.iter().filter_map(|index| self.media.get(*index)) {
            self.sad.prefetch_inbound(m.inbound_hint);
            self.tunnels.prefetch_in(m.tunnel);
        }
        for m in media.iter().filter_map(|index| self.media.get(*index)) {
            self.sad.prefetch_window(m.inbound_hint);
        }
    }
}

#[inline]
fn destination(frame: &[u8]) -> Option<IpAddr> {
    match u16::from_be_bytes(*frame.get(eth::HEADER_LEN - 2..)?.first_chunk()?) {
        eth::IPV4 => Some(Ipv4Addr::from_octets(*frame.get(V4_DESTINATION_AT..)?.first_chunk()?).into()),
        eth::IPV6 => Some(Ipv6Addr::from_octets(*frame.get(V6_DESTINATION_AT..)?.first_chunk()?).into()),
        _ => None,
    }
}

#[inline]
fn udp_port(frame: &[u8]) -> Option<MediaPort> {
    let at = match u16::from_be_bytes(*frame.get(eth::HEADER_LEN - 2..)?.first_chunk()?) {
        eth::IPV4 => V4_UDP_PORT_AT,
        eth::IPV6 => V6_UDP_PORT_AT,
        _ => return None,
    };
    Some(MediaPort(u16::from_be_bytes(*frame.get(at..)?.first_chunk()?)))
}
