//! Whether a transaction can be applied, seen from each operation with those before it taken for done.

use super::Keys;
use crate::engine::AeadError;
use crate::graph::Pipeline;
use crate::packet::Packet;
use crate::replay::ReplayWindow;
use crate::sad::{SALT_LEN, SaRef};
use sipsec_net::dp::{Direction, MediaBinding, OPS_MAX, Op, RejectReason, SaSpec, TunnelSpec};
use sipsec_net::{IpPrefix, MediaPort, SaId, Spi, TunnelId, esp, ipv4, udp};

/// RFC 791 §3.2: every host takes 576 bytes; below that fragments become more than [`crate::pmtu`] cuts.
const INNER_MTU_MIN: u16 = 576;

pub(super) fn validate<P: Packet>(pipeline: &Pipeline<P>, ops: &[Op]) -> Result<Keys, (u16, RejectReason)> {
    if ops.len() > OPS_MAX {
        return Err((OPS_MAX as u16, RejectReason::Malformed));
    }
    let mut keys = Vec::with_capacity(ops.len());
    for (op, index) in ops.iter().zip(0u16..) {
        let view = View { pipeline, before: &ops[..usize::from(index)] };
        view.check(op, &mut keys).map_err(|reason| (index, reason))?;
    }
    Ok(keys)
}

/// The tables as the operations before this one leave them.
struct View<'a, P> {
    pipeline: &'a Pipeline<P>,
    before: &'a [Op],
}

/// Of an SA, what other operations depend on.
#[derive(Clone, Copy)]
struct SaFacts {
    tunnel: TunnelId,
    direction: Direction,
    media_port: MediaPort,
}

impl<P: Packet> View<'_, P> {
    fn check(&self, op: &Op, keys: &mut Keys) -> Result<(), RejectReason> {
        match op {
            Op::TunnelAdd(spec) => self.tunnel_add(spec),
            Op::TunnelRemove(t) | Op::TunnelUnbind(t) | Op::ReplayTrigger(t) | Op::FlushTrigger(t) => {
                self.need_tunnel(*t)
            }
            Op::RouteAdd { prefix, tunnel } => {
                self.need_tunnel(*tunnel)?;
                if self.route(*prefix).is_none() {
                    let added = |op: &Op| matches!(op, Op::RouteAdd { .. });
                    let removed = |op: &Op| matches!(op, Op::RouteRemove { .. });
                    self.need_room(self.pipeline.fib.len(), self.pipeline.fib.max(), added, removed)?;
                }
                Ok(())
            }
            Op::RouteRemove { prefix } => self.route(*prefix).map(drop).ok_or(RejectReason::UnknownRoute),
            Op::MediaOpen(binding) => self.media_open(binding),
            Op::MediaClose(port) | Op::NextHop { media_port: port, .. } => {
                self.media(*port).map(drop).ok_or(RejectReason::UnknownMediaPort)
            }
            Op::SaAdd(spec) => self.sa_add(spec, keys),
            Op::SaRemove(_) => Ok(()),
            Op::TunnelBind { tunnel, outbound } => {
                self.need_tunnel(*tunnel)?;
                let sa = self.sa(*outbound).ok_or(RejectReason::UnknownSa)?;
                if sa.direction != Direction::Out {
                    Err(RejectReason::WrongDirection)
                } else if sa.tunnel != *tunnel {
                    Err(RejectReason::UnknownSa)
                } else {
                    Ok(())
                }
            }
        }
    }

    fn tunnel_add(&self, spec: &TunnelSpec) -> Result<(), RejectReason> {
        if self.has_tunnel(spec.tunnel) {
            return Err(RejectReason::DuplicateTunnel);
        }
        // Over IPv4; over IPv6 a call lowers it further.
        let outer = ipv4::HEADER_LEN + udp::HEADER_LEN + esp::packet_len(spec.inner_mtu.into());
        if spec.inner_mtu < INNER_MTU_MIN || outer > self.pipeline.config.outside.mtu.into() {
            return Err(RejectReason::BadMtu);
        }
        let tunnels = &self.pipeline.tunnels;
        let added = |op: &Op| matches!(op, Op::TunnelAdd(_));
        let removed = |op: &Op| matches!(op, Op::TunnelRemove(_));
        self.need_room(tunnels.len(), tunnels.max(), added, removed)
    }

    fn media_open(&self, binding: &MediaBinding) -> Result<(), RejectReason> {
        self.need_tunnel(binding.tunnel)?;
        let port = binding.media_port();
        if self.media(port).is_some() {
            return Err(RejectReason::DuplicateMediaPort);
        }
        if binding.outside_local.is_ipv4() != binding.remote.is_ipv4() {
            return Err(RejectReason::BadAddressFamily);
        }
        if port.0 == 0 || binding.remote.port() == 0 {
            return Err(RejectReason::Malformed);
        }
        if binding.rate.0 == 0 {
            return Err(RejectReason::BadRate);
        }
        let media = &self.pipeline.media;
        let added = |op: &Op| matches!(op, Op::MediaOpen(_));
        let removed = |op: &Op| matches!(op, Op::MediaClose(_));
        self.need_room(media.len(), media.max(), added, removed)
    }

    fn sa_add(&self, spec: &SaSpec, keys: &mut Keys) -> Result<(), RejectReason> {
        self.need_tunnel(spec.tunnel)?;
        if self.media(spec.media_port) != Some(spec.tunnel) {
            return Err(RejectReason::UnknownMediaPort);
        }
        if self.sa(spec.sa).is_some() {
            return Err(RejectReason::DuplicateSa);
        }
        if spec.keymat.len() != spec.cipher.keymat_len() {
            return Err(RejectReason::BadKeyLength);
        }
        if spec.direction == Direction::In {
            if !ReplayWindow::is_size(spec.replay_window) {
                return Err(RejectReason::BadReplayWindow);
            }
            if self.has_spi(spec.media_port, spec.spi) {
                return Err(RejectReason::DuplicateSpi);
            }
        }
        let sad = &self.pipeline.sad;
        // `SaRemove` may be of none: credited only where there was one.
        let removed = (0..self.before.len()).filter(|&i| {
            let view = View { pipeline: self.pipeline, before: &self.before[..i] };
            matches!(self.before[i], Op::SaRemove(id) if view.sa(id).is_some())
        });
        let added = self.before.iter().filter(|op| matches!(op, Op::SaAdd(_))).count();
        room(sad.len(), sad.max(), added, removed.count())?;
        let key = &spec.keymat.expose()[..spec.keymat.len() - SALT_LEN];
        let key = self.pipeline.engine.new_key(spec.cipher, key).map_err(|e| match e {
            AeadError::KeyLength => RejectReason::BadKeyLength,
            _ => RejectReason::UnsupportedCipher,
        })?;
        keys.push(key);
        Ok(())
    }

    fn need_room(
        &self,
        len: u32,
        max: u32,
        added: fn(&Op) -> bool,
        removed: fn(&Op) -> bool,
    ) -> Result<(), RejectReason> {
        let count = |f: fn(&Op) -> bool| self.before.iter().filter(|op| f(op)).count();
        room(len, max, count(added), count(removed))
    }

    fn need_tunnel(&self, tunnel: TunnelId) -> Result<(), RejectReason> {
        if self.has_tunnel(tunnel) { Ok(()) } else { Err(RejectReason::UnknownTunnel) }
    }

    fn has_tunnel(&self, tunnel: TunnelId) -> bool {
        self.before.iter().fold(self.pipeline.tunnels.find(tunnel).is_some(), |has, op| match op {
            Op::TunnelAdd(spec) if spec.tunnel == tunnel => true,
            Op::TunnelRemove(t) if *t == tunnel => false,
            _ => has,
        })
    }

    fn tunnel_id(&self, index: u32) -> Option<TunnelId> {
        self.pipeline.tunnels.get(index).map(|t| t.spec.tunnel)
    }

    fn route(&self, prefix: IpPrefix) -> Option<TunnelId> {
        let now = self.pipeline.fib.get(prefix).and_then(|i| self.tunnel_id(i));
        self.before.iter().fold(now, |route, op| match op {
            Op::RouteAdd { prefix: p, tunnel } if *p == prefix => Some(*tunnel),
            Op::RouteRemove { prefix: p } if *p == prefix => None,
            Op::TunnelRemove(t) if route == Some(*t) => None,
            _ => route,
        })
    }

    /// Whose call a media port carries.
    fn media(&self, port: MediaPort) -> Option<TunnelId> {
        let media = &self.pipeline.media;
        let now = media.find(port).and_then(|i| media.get(i)).map(|m| m.binding.tunnel);
        self.before.iter().fold(now, |tunnel, op| match op {
            Op::MediaOpen(b) if b.media_port() == port => Some(b.tunnel),
            Op::MediaClose(p) if *p == port => None,
            Op::TunnelRemove(t) if tunnel == Some(*t) => None,
            _ => tunnel,
        })
    }

    fn sa(&self, id: SaId) -> Option<SaFacts> {
        let sad = &self.pipeline.sad;
        let now = sad.find(id).and_then(|reference| {
            let sa = sad.common(reference)?;
            let direction = match reference {
                SaRef::In(_) => Direction::In,
                SaRef::Out(_) => Direction::Out,
            };
            Some(SaFacts { tunnel: self.tunnel_id(sa.tunnel)?, direction, media_port: sa.media_port })
        });
        self.before.iter().fold(now, |sa, op| match op {
            Op::SaAdd(s) if s.sa == id => {
                Some(SaFacts { tunnel: s.tunnel, direction: s.direction, media_port: s.media_port })
            }
            _ => sa.filter(|sa| !removes(op, id, sa)),
        })
    }

    /// Whether an inbound SA of this port has this SPI.
    fn has_spi(&self, port: MediaPort, spi: Spi) -> bool {
        let sad = &self.pipeline.sad;
        let holder = sad.has_spi(port, spi).then(|| {
            let mut all = sad.iter().filter(|(r, _)| matches!(r, SaRef::In(_)));
            all.find(|(_, sa)| sa.media_port == port && sa.spi == spi).map(|(_, sa)| sa.id)
        });
        let added = self.before.iter().filter_map(|op| match op {
            Op::SaAdd(s) if s.direction == Direction::In && s.media_port == port && s.spi == spi => {
                Some(s.sa)
            }
            _ => None,
        });
        holder.flatten().into_iter().chain(added).any(|id| self.sa(id).is_some())
    }
}

/// What goes along with something else is not credited: near its bound a table may be called full for a transaction that
/// first removes a whole tunnel.
fn room(len: u32, max: u32, added: usize, removed: usize) -> Result<(), RejectReason> {
    let len = (len as usize + added).saturating_sub(removed);
    if len < max as usize { Ok(()) } else { Err(RejectReason::TableFull) }
}

fn removes(op: &Op, id: SaId, sa: &SaFacts) -> bool {
    match op {
        Op::SaRemove(s) => *s == id,
        Op::MediaClose(port) => *port == sa.media_port,
        Op::TunnelRemove(t) => *t == sa.tunnel,
        _ => false,
    }
}
