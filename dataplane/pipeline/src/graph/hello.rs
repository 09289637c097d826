//! Hellos of routing protocols (OSPF, RIP, BGP between link-local addresses): the host itself sends them over the sVTI, to the
//! other end of the tunnel and no further, so the rule for forwarding does not hold for them. They pass tunnels that have the
//! option and an SA. They never ask for a call, and they do not keep one: a tunnel that carries nothing else is idle.

use super::Pipeline;
use crate::config::InsideMode;
use crate::packet::Packet;
use crate::parse::Info;
use sipsec_net::DropReason;

impl<P: Packet> Pipeline<P> {
    /// The tunnel of a packet that may not be forwarded: the one by whose device it came, or to which a route leads, or else the
    /// only one with the option.
    pub(super) fn hello_tunnel(&mut self, info: &Info, by_device: Option<u32>) -> Result<u32, DropReason> {
        if self.config.inside.mode == InsideMode::Router || !info.is_link_scope() {
            return Err(DropReason::NotUnicast);
        }
        let route = by_device.or_else(|| self.route(&info.destination).tunnel());
        match (route, &self.hello_tunnels[..]) {
            (Some(tunnel), _) | (None, &[tunnel]) => Ok(tunnel),
            (None, _) => Err(DropReason::NotUnicast),
        }
    }

    /// Whether this tunnel takes it.
    pub(super) fn hello_out(&self, info: &mut Info, tunnel: u32) -> Result<(), DropReason> {
        let t = self.tunnels.get(tunnel).ok_or(DropReason::TunnelUnknown)?;
        if !t.spec.routing_hellos {
            return Err(DropReason::NotUnicast);
        }
        if t.outbound.is_none() {
            return Err(DropReason::HelloWithoutSa);
        }
        info.hello = true;
        Ok(())
    }

    /// The same at the other end. Its source has no route back (a link-local one never has), and needs none: the packet goes to
    /// this host alone.
    pub(super) fn hello_in(&self, info: &mut Info, tunnel: u32) -> Result<(), DropReason> {
        let allowed = self.tunnels.get(tunnel).is_some_and(|t| t.spec.routing_hellos);
        if !allowed || self.config.inside.mode == InsideMode::Router || !info.is_link_scope() {
            return Err(DropReason::NotUnicast);
        }
        info.hello = true;
        Ok(())
    }
}
