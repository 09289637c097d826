//! Looks after the devices, and the addresses of this host in router mode.

use crate::boot::{Booted, INSIDE, InsideDevice, OUTSIDE};
use crate::device;
use crate::error::BootError;
use crate::local;
use crate::netlink::{LinkEvents, Netlink};
use crate::tun;
use sipsec_pipeline::Local;
use sipsec_profile::Head;
use std::io;
use std::num::NonZeroU8;
use std::time::{Duration, Instant};
use tracing::{info, warn};

/// How often the log hears of the same trouble.
const WARN_EVERY: Duration = Duration::from_secs(60);

/// The devices to which the sockets are bound. One that is removed and made again (a modem that reconnects, an
/// administrator) has the same name and none of our sockets: only a new start helps.
pub(super) struct Watch {
    netlink: Netlink,
    pub(super) events: LinkEvents,
    pub(super) devices: [(String, u32); 2],
    /// The sVTI's name and the MTU that it was given, unless in router mode.
    pub(super) svti: Option<(String, u32)>,
    is_tun: bool,
    workers: NonZeroU8,
    /// What the worker knows of the WAN.
    outside_mtu: u32,
    /// Router mode: the LAN device, and what the worker knows to be the host's own.
    lan: Option<(u32, Local)>,
    /// When the log last heard that the kernel does not answer.
    warned: Option<Instant>,
}

/// What a look around has found.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Seen {
    /// A device that is not there any more, or is another of that name.
    pub(super) gone: Option<String>,
    /// What the host owns now, if that is not what the worker was told last.
    pub(super) local: Option<Local>,
    /// The WAN's MTU, if it has changed.
    pub(super) outside_mtu: Option<u32>,
}

impl Watch {
    pub(super) fn new(booted: &Booted, profile: &Head) -> Result<Self, BootError> {
        let inside = match &booted.inside {
            InsideDevice::Host(pair) => (pair.ours_name.clone(), pair.ours.index),
            InsideDevice::Tun(tun) => (profile.dataplane.inside.device().to_owned(), tun.link.index),
            InsideDevice::Router(link) => (profile.dataplane.inside.device().to_owned(), link.index),
        };
        let netlink =
            Netlink::open().map_err(|error| BootError::Io { what: "cannot open netlink", error })?;
        let outside = (profile.dataplane.outside.device.clone(), booted.outside.index);
        let lan = match &booted.inside {
            InsideDevice::Host(_) | InsideDevice::Tun(_) => None,
            InsideDevice::Router(link) => Some((link.index, Local::default())),
        };
        let events =
            LinkEvents::open().map_err(|error| BootError::Io { what: "cannot watch the devices", error })?;
        let (mtu, is_tun) = match &booted.inside {
            InsideDevice::Host(pair) => (pair.kernel.mtu, false),
            InsideDevice::Tun(tun) => (tun.link.mtu, true),
            InsideDevice::Router(link) => (link.mtu, false),
        };
        let svti = profile.dataplane.inside.svti().map(|device| (device.to_owned(), mtu));
        let outside_mtu = booted.outside.mtu;
        let workers = profile.dataplane.worker.workers();
        Ok(Self {
            netlink,
            events,
            devices: [outside, inside],
            svti,
            is_tun,
            workers,
            outside_mtu,
            lan,
            warned: None,
        })
    }

    /// Only a device that has gone is the end: a kernel that cannot answer now (no memory, no buffers) is asked again, and
    /// calls go on meanwhile.
    pub(super) fn look(&mut self) -> Seen {
        self.try_to_look().unwrap_or_else(|error| {
            if self.warned.is_none_or(|at| at.elapsed() >= WARN_EVERY) {
                self.warned = Some(Instant::now());
                warn!(%error, "cannot look after the devices and addresses of this host; trying again");
            }
            Seen::default()
        })
    }

    fn try_to_look(&mut self) -> io::Result<Seen> {
        let mut seen = Seen::default();
        for (at, (device, index)) in self.devices.iter().enumerate() {
            let Some(link) = self.netlink.link(device)?.filter(|link| link.index == *index) else {
                return Ok(Seen { gone: Some(device.clone()), ..Seen::default() });
            };
            if at == OUTSIDE && link.mtu != self.outside_mtu {
                self.outside_mtu = link.mtu;
                seen.outside_mtu = Some(link.mtu);
            }
            if at == INSIDE && self.svti.is_some() && !self.is_tun && !link.up {
                self.netlink.link_up(*index, link.mtu, true)?;
            }
        }
        if let Some((device, mtu)) = &self.svti
            && let Some(link) = self.netlink.link(device)?
            && !link.up
        {
            // Its routes went when it went down, and with them what keeps the tunnels' packets from the default route.
            warn!(device, "the sVTI was down; it is up again, because its packets would leave in clear");
            self.netlink.link_up(link.index, *mtu, true)?;
        }
        let Some((index, known)) = &mut self.lan else { return Ok(seen) };
        let local = local::local(&self.netlink.addresses()?, *index);
        if local != *known {
            known.clone_from(&local);
            seen.local = Some(local);
        }
        Ok(seen)
    }

    /// Makes the sVTI again that was removed, so that there is one for the control plane's routes until the next start takes it
    /// over.
    pub(super) fn remake_svti(&mut self) {
        let Some((device, mtu)) = &self.svti else { return };
        let made = if self.is_tun {
            // It stays when its queues are closed here; the next start opens others.
            tun::ensure_tun(&mut self.netlink, device, *mtu, self.workers).map(drop)
        } else {
            device::ensure_pair(&mut self.netlink, device, *mtu, self.workers.get().into()).map(drop)
        };
        match made {
            Ok(()) => info!(device, "the sVTI is made again"),
            Err(error) => warn!(device, %error, "the sVTI is not made again"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_that_refuses_to_answer_ends_nothing_but_a_device_that_has_gone_does() {
        let mut netlink = Netlink::open().expect("netlink");
        let found = netlink.link("lo").expect("an answer").expect("every host has it");
        let (lo, mtu) = (found.index, found.mtu);
        let watch = |device: &str, index| Watch {
            netlink: Netlink::open().expect("netlink"),
            events: LinkEvents::open().expect("netlink"),
            devices: [("lo".into(), lo), (device.into(), index)],
            svti: None,
            is_tun: false,
            workers: NonZeroU8::MIN,
            outside_mtu: mtu,
            lan: None,
            warned: None,
        };
        let mut well = watch("lo", lo);
        assert_eq!((well.look(), well.warned), (Seen::default(), None));
        // No name of a device: the kernel answers with an error.
        let mut refused = watch("a-name-that-is-far-too-long", 7);
        assert!(refused.try_to_look().is_err());
        assert_eq!(refused.look(), Seen::default());
        let warned = refused.warned.expect("told");
        assert_eq!(refused.look(), Seen::default());
        assert_eq!(refused.warned, Some(warned), "not again within the minute");
        for (device, index) in [("sipsec-none", 7), ("lo", lo + 1)] {
            assert_eq!(watch(device, index).look().gone.as_deref(), Some(device));
        }
        let mut changed = watch("lo", lo);
        changed.outside_mtu = 1280;
        assert_eq!(changed.look().outside_mtu, Some(mtu));
        assert_eq!(changed.look(), Seen::default(), "told once");
    }
}
